"""Writing as one unit: an old dataset or a new one, never half of either."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bccd_d2.data.convert import run as to_coco
from bccd_d2.data.convert import write as coco_files
from bccd_d2.data.convert.run import ConversionReport, ConvertOptions, convert

PLAIN = ConvertOptions(workers=1, val_fraction=0)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A dataset of three images with two cells each."""
    mask = np.zeros((50, 70), np.uint8)
    mask[2:12, 2:12] = mask[2:12, 20:30] = 255
    for stem in ("good_a", "good_b", "good_c"):
        for kind in ("original", "mask"):
            folder = tmp_path / "root/train" / kind
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(mask).save(folder / f"{stem}.png")
    return tmp_path / "root"


def test_strict_failure_leaves_an_earlier_conversion_alone(root: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    convert(root, out, PLAIN)
    before = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}
    (root / "train/mask/good_a.png").unlink()
    with pytest.raises(ValueError, match="(?s)strict.*missing mask"):
        convert(root, out, ConvertOptions(workers=1, strict=True))
    assert {p: p.read_bytes() for p in out.rglob("*") if p.is_file()} == before


def test_folder_with_something_else_in_it_is_left_alone(root: Path, tmp_path: Path) -> None:
    (tmp_path / "out/labels").mkdir(parents=True)
    (tmp_path / "out/labels/mine.txt").write_text("precious")
    with pytest.raises(ValueError, match="already holds labels, but no dataset.json"):
        convert(root, tmp_path / "out", PLAIN)
    assert (tmp_path / "out/labels/mine.txt").read_text() == "precious"


def fail(*_: object, **__: object) -> ConversionReport:
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("where", ["write_json_atomic", "coco_files.write_split"])
def test_failure_on_the_way_leaves_no_trace(
    where: str, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    convert(root, out, PLAIN)
    before = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}
    owner, name = (coco_files, "write_split") if "." in where else (to_coco, where)
    monkeypatch.setattr(owner, name, fail)
    for target in (out, tmp_path / "fresh"):
        with pytest.raises(OSError, match="No space left"):
            convert(root, target, ConvertOptions(workers=1, min_area=20))
    assert {p: p.read_bytes() for p in out.rglob("*") if p.is_file()} == before
    assert not (tmp_path / "fresh").exists()


@pytest.mark.parametrize("fails_at", range(1, 11))
def test_failing_rename_puts_the_old_dataset_back(
    fails_at: int, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    convert(root, out, PLAIN)
    before = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}
    calls, rename, publish = [], os.replace, coco_files.publish

    def sometimes(source: Path, target: Path) -> None:
        calls.append(target)
        if len(calls) == fails_at:
            raise PermissionError(13, "in use")
        rename(source, target)

    def publish_with_trouble(work: Path, target: Path) -> None:
        monkeypatch.setattr(coco_files.os, "replace", sometimes)
        publish(work, target)

    monkeypatch.setattr(coco_files, "publish", publish_with_trouble)
    with pytest.raises(PermissionError, match="in use"):
        convert(root, out, ConvertOptions(workers=1, val_fraction=0.5))
    assert {p: p.read_bytes() for p in out.rglob("*") if p.is_file()} == before


def test_what_a_killed_run_left_is_cleared_away(root: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / ".convert-killed/labels").mkdir(parents=True)
    (out / "labels/train").mkdir(parents=True)
    convert(root, out, PLAIN)
    assert sorted(p.name for p in out.iterdir()) == sorted(coco_files.PRODUCTS)
