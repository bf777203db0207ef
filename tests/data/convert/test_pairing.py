"""Where images and masks are looked for, and what is said when they are not there."""

from __future__ import annotations

import os
from pathlib import Path

import convert_to_coco
import pytest
from PIL import Image

from bccd_d2.data.convert.pairing import find_sources, relative_posix


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
