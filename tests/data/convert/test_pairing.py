"""Where images and masks are looked for, and what is said when they are not there."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import convert_to_coco
import numpy as np
import pytest
from PIL import Image

from bccd_d2.data.convert.pairing import find_sources, relative_posix
from bccd_d2.io.label_images import find_label_file


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A dataset of one pair in train."""
    for kind in ("original", "mask"):
        (tmp_path / "root/train" / kind).mkdir(parents=True)
        Image.new("L", (8, 8)).save(tmp_path / "root/train" / kind / "good_a.png")
    return tmp_path / "root"


def test_pairs_and_files_without_partner(root: Path) -> None:
    sources = find_sources(root)
    (pair,) = sources.pairs
    assert (pair.stem, pair.source) == ("good_a", "train")
    assert pair.mask == root / "train/mask/good_a.png"
    assert sources.image_root == root
    pair.mask.unlink()
    sources = find_sources(root)
    assert sources.pairs == []
    assert [skip.kind for skip in sources.skips] == ["missing mask"]


@pytest.mark.skipif(os.sep != "/", reason="a Windows path is right there")
@pytest.mark.parametrize("path", [r"C:\data\BCCD Dataset with mask", r"data\bccd"])
def test_windows_path_on_another_system_is_explained(
    path: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert convert_to_coco.main(["--root", path, "--out", str(tmp_path / "out")]) == 2
    message = capsys.readouterr().err
    assert path in message
    assert "looks like a Windows path" in message
    assert not (tmp_path / "out").exists()


def test_missing_root_and_wrong_level(root: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere does not exist"):
        find_sources(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="is a file, not a folder"):
        find_sources(root / "train/mask/good_a.png")
    with pytest.raises(FileNotFoundError, match=r"neither train/original.*did you mean .*root\?"):
        find_sources(root.parent)
    with pytest.raises(FileNotFoundError, match="found: mask, original.*--images and --masks"):
        find_sources(root / "train")
    (tmp_path / "half/train/original").mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match="mask folder .* does not exist"):
        find_sources(tmp_path / "half")
    (tmp_path / "half/train/mask").mkdir()
    with pytest.raises(ValueError, match="holds no images"):
        find_sources(tmp_path / "half")


def test_root_and_plain_folders_exclude_each_other(root: Path) -> None:
    for places in ({}, {"root": root, "images": root}, {"masks": root}):
        with pytest.raises(ValueError, match="either root, or images with or without masks"):
            find_sources(**places)
    with pytest.raises(ValueError, match="holds no masks among its images.*--masks"):
        find_sources(images=root / "train/original")


def test_relative_posix(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert relative_posix(tmp_path / "a" / "b", tmp_path / "c") == "../a/b"
    monkeypatch.setattr(os, "sep", "\\")
    monkeypatch.setattr(os.path, "relpath", lambda path, start: "..\\a\\b")
    assert relative_posix("x", "y") == "../a/b"

    def other_drive(path: str, start: str) -> str:
        raise ValueError("path is on mount 'C:', start on mount 'D:'")

    monkeypatch.setattr(os.path, "relpath", other_drive)
    monkeypatch.setattr(os.path, "abspath", lambda path: f"C:\\{path}")
    assert relative_posix("x", "y") == "C:/x"


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("s0", "s0_mask"),
        ("s0", "s0-mask"),
        ("s0", "s0_masks"),
        ("s0", "s0_cp_masks"),
        ("s0", "s0_seg"),
        ("s0", "s0_labels"),
        ("s0", "s0.label"),
        ("s0", "s0_GT"),
        ("s0", "mask_s0"),
        ("s0_img", "s0_mask"),
        ("a_mask", "a_mask_mask"),
    ],
)
@pytest.mark.parametrize("places", [1, 2])
def test_usual_additions_pair_up(image: str, mask: str, places: int, tmp_path: Path) -> None:
    folders = [tmp_path / "images", tmp_path / ("masks" if places == 2 else "images")]
    for folder, stem in zip(folders, (image, mask), strict=True):
        folder.mkdir(exist_ok=True)
        Image.new("RGB" if stem == image else "L", (8, 8)).save(folder / f"{stem}.png")
    sources = find_sources(images=folders[0], masks=folders[1] if places == 2 else None)
    (pair,) = sources.pairs
    assert (pair.image.stem, pair.mask.stem, sources.skips) == (image, mask, [])
    if image == "s0":
        assert find_label_file(folders[1], "s0").stem == mask


def test_masks_among_images_are_never_images(tmp_path: Path) -> None:
    for folder, stems in (("images", ("s0", "s0_mask", "s1")), ("masks", ("s0", "s1"))):
        (tmp_path / folder).mkdir()
        for stem in stems:
            Image.new("L", (8, 8)).save(tmp_path / folder / f"{stem}.png")
    sources = find_sources(images=tmp_path / "images", masks=tmp_path / "masks")
    assert [pair.stem for pair in sources.pairs] == ["s0", "s1"] and sources.skips == []
    (left_out,) = sources.left_out
    assert "s0_mask.png: by its name a mask of s0" in left_out


def test_two_files_of_one_stem_are_told_apart_by_their_pixels(tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    mask = np.zeros((40, 50), np.uint8)
    mask[5:20, 5:20] = 255
    Image.fromarray(picture).save(tmp_path / "001.bmp")
    Image.fromarray(mask).save(tmp_path / "001.png")
    Image.fromarray(picture).save(tmp_path / "002.bmp")
    Image.fromarray(picture).save(tmp_path / "002.png")
    sources = find_sources(images=tmp_path, masks=tmp_path)
    (pair,) = sources.pairs
    assert (pair.image.name, pair.mask.name) == ("001.bmp", "001.png")
    (skip,) = sources.skips
    assert skip.kind == "same stem" and "002.bmp" in skip.file


def test_what_is_passed_over_is_listed(root: Path) -> None:
    folder = root / "train/original"
    (folder / "dangling.png").symlink_to(folder / "nowhere.png")
    (folder / "nested").mkdir()
    for name in ("Thumbs.db", ".hidden.png", "slide.czi"):
        (folder / name).write_bytes(b"x")
    sources = find_sources(root)
    assert len(sources.pairs) == 1
    reasons = {Path(skip.file).name: skip.reason for skip in sources.skips}
    assert "leads nowhere" in reasons["dangling.png"] and "not read" in reasons["slide.czi"]
    text = "; ".join(sources.left_out)
    assert "1 hidden" in text and "(.db)" in text and "nested" in text


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_a_name_that_is_no_utf8_is_listed_and_the_rest_done(root: Path, tmp_path: Path) -> None:
    for kind in ("original", "mask"):
        source = root / "train" / kind / "good_a.png"
        data = source.read_bytes()
        with open(os.fsencode(source.parent) + b"/bad\xff.png", "wb") as stream:
            stream.write(data)
    assert convert_to_coco.main(["--root", str(root), "--out", str(tmp_path / "out")]) == 1
    content = json.loads((tmp_path / "out/annotations/instances_train.json").read_text("utf-8"))
    assert [image["file_name"] for image in content["images"]] == ["train/original/good_a.png"]
    skipped = json.loads((tmp_path / "out/audit.json").read_text("utf-8"))["findings"]["skipped"]
    assert all("bad\\xff.png" in skip["file"] for skip in skipped) and len(skipped) == 2


def test_a_folder_as_cellpose_leaves_it(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "s0.png")
    Image.new("L", (8, 8)).save(tmp_path / "s0_cp_masks.png")
    np.save(tmp_path / "s0_seg.npy", np.array({"masks": 0}, dtype=object), allow_pickle=True)
    (pair,) = find_sources(images=tmp_path).pairs
    assert pair.mask.name == find_label_file(tmp_path, "s0").name == "s0_cp_masks.png"
