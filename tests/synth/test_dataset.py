"""Folders of smears: layout, formats, the same bytes every time, reuse, errors, the tool."""

from __future__ import annotations

import json
import os
import uuid
from pathlib import Path

import cv2
import make_smears
import numpy as np
import pytest
from scipy import ndimage

from bccd_d2.io.label_images import read_label_file
from bccd_d2.synth.dataset import MANIFEST, write_dataset

SIZE = (160, 200)


def contents(root: Path) -> dict[str, bytes]:
    """Every file under ``root`` by its posix path."""
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def write(root: Path, **changes) -> Path:
    """A dataset of two training smears and one test smear."""
    arguments = {"n_train": 2, "n_test": 1, "seed": 3, "size": SIZE, "workers": 1} | changes
    return write_dataset(root, **arguments)


def test_the_layout_is_the_datasets_own(tmp_path):
    files = contents(write(tmp_path / "a folder/with spaces"))
    assert len(files) == 3 * 3 + 1
    for split, count in (("train", 2), ("test", 1)):
        stems = [
            {Path(f).stem for f in files if f.startswith(f"{split}/{kind}/")}
            for kind in ("original", "mask", "labels")
        ]
        assert stems[0] == stems[1] == stems[2] and len(stems[0]) == count
        assert all(str(uuid.UUID(stem)) == stem for stem in stems[0])


def test_masks_are_rgb_of_two_values_and_count_like_the_label_maps(tmp_path):
    root = write(tmp_path)
    masks = sorted(root.glob("*/mask/*.png"))
    assert len(masks) == 3
    for path in masks:
        mask = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        assert mask.shape == (*SIZE, 3) and set(np.unique(mask)) == {0, 255}
        assert np.all(mask == mask[..., :1])
        parts, _ = ndimage.label(mask[..., 0] == 255, structure=np.ones((3, 3)))
        label_map = read_label_file(path.parents[1] / "labels" / path.name)
        kept = np.bincount(parts.ravel())[1:] > 15
        pairs = np.unique(np.stack([parts.ravel(), label_map.ravel()]), axis=1)
        assert kept.all() and pairs.shape[1] == len(kept) + 1 == label_map.max() + 1


@pytest.mark.parametrize("image_format", ["png", "jpg"])
def test_images_have_the_format_asked_for(tmp_path, image_format):
    root = write(tmp_path, image_format=image_format, n_train=1)
    images = list(root.glob("*/original/*"))
    assert {p.suffix for p in images} == {f".{image_format}"}
    assert cv2.imread(str(images[0])).shape == (*SIZE, 3)


def test_mixed_folders_hold_both_formats(tmp_path):
    root = write(tmp_path, image_format="mixed", n_train=12, size=(40, 50), n_cells=3)
    assert {p.suffix for p in root.glob("*/original/*")} == {".png", ".jpg"}


def test_same_seed_same_bytes_however_many_workers(tmp_path):
    alone = contents(write(tmp_path / "alone"))
    assert alone == contents(write(tmp_path / "two", workers=2))
    other = contents(write(tmp_path / "other", seed=4))
    assert not set(alone) & set(other) - {MANIFEST}


def test_more_smears_begin_with_the_same_ones(tmp_path):
    few, many = contents(write(tmp_path / "few")), contents(write(tmp_path / "many", n_train=3))
    assert all(many[name] == data for name, data in few.items() if name != MANIFEST)


def test_a_finished_dataset_is_kept_and_a_damaged_one_mended(tmp_path):
    root = write(tmp_path)
    before = contents(root)
    image = next(root.glob("train/original/*"))
    os.utime(image, (1, 1))
    write(tmp_path)
    assert image.stat().st_mtime == 1
    image.unlink()
    write(tmp_path)
    assert contents(root) == before


def test_another_dataset_in_the_folder_is_refused(tmp_path):
    write(tmp_path)
    with pytest.raises(ValueError, match=r"drawn with other settings.*choose another folder"):
        write(tmp_path, seed=9)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_format": "bmp"}, "image_format must be one of png, jpg, mixed, got 'bmp'"),
        ({"n_train": -1}, "must not be negative"),
        ({"n_cells": 500}, "n_cells must be .* got 500"),
        ({"size": (8, 8)}, "size must be"),
    ],
)
def test_arguments_are_checked_before_anything_is_written(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        write(tmp_path / "new", **changes)
    assert not (tmp_path / "new").exists()


def test_a_file_in_the_way_is_named(tmp_path):
    (tmp_path / "root").write_text("a file")
    with pytest.raises(OSError, match="root"):
        write(tmp_path / "root")


def test_the_tool_draws_what_it_says(tmp_path, capsys):
    arguments = ["--out", str(tmp_path), "--train", "1", "--test", "1", "--size", "120x90"]
    assert make_smears.main([*arguments, "--cells", "5", "--format", "jpg"]) == 0
    assert str(tmp_path) in capsys.readouterr().out
    assert cv2.imread(str(next(tmp_path.glob("test/original/*.jpg")))).shape == (90, 120, 3)
    assert json.loads((tmp_path / MANIFEST).read_text())["settings"]["n_cells"] == 5


@pytest.mark.parametrize("size", ["120", "axb", "8x8"])
def test_the_tool_refuses_a_bad_size(tmp_path, size, capsys):
    call = ["--out", str(tmp_path), "--size", size]
    if size == "8x8":
        assert make_smears.main(call) == 2
    else:
        with pytest.raises(SystemExit, match="2"):
            make_smears.main(call)
    assert "x" in capsys.readouterr().err
