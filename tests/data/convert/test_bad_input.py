"""Files that go wrong: each is a clear error or a listed skip, and nothing is half-written."""

from __future__ import annotations

import json
import os
import re
import unicodedata
from collections.abc import Callable
from pathlib import Path

import convert_to_coco
import numpy as np
import pytest
from PIL import Image

from bccd_d2.data.convert.run import ConvertOptions, convert
from bccd_d2.io.label_images import read_label_file

SIZE = (50, 70)
PLAIN = ConvertOptions(workers=1, val_fraction=0)


def mask_values(*values: int, dtype: type = np.uint8) -> np.ndarray:
    """(H, W) grey: background, then one 10x10 square a value."""
    mask = np.zeros(SIZE, dtype)
    for index, value in enumerate(values):
        row, column = divmod(index, 5)
        mask[2 + 12 * row : 12 + 12 * row, 2 + 13 * column : 12 + 13 * column] = value
    return mask


def put(root: Path, stem: str, split: str = "train", mask: np.ndarray | None = None) -> Path:
    """Write one image with a mask of two cells (or ``mask``); returns the mask's path."""
    for kind in ("original", "mask"):
        (root / split / kind).mkdir(parents=True, exist_ok=True)
    seed = sum(map(ord, stem + split))
    image = np.random.default_rng(seed).integers(0, 256, (*SIZE, 3)).astype(np.uint8)
    Image.fromarray(image).save(root / split / "original" / f"{stem}.png")
    path = root / split / "mask" / f"{stem}.png"
    if mask is None:
        mask = np.repeat(mask_values(255, 255)[..., None], 3, axis=2)
    Image.fromarray(mask).save(path)
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A dataset of three good pairs in train."""
    for stem in ("good_a", "good_b", "good_c"):
        put(tmp_path / "root", stem)
    return tmp_path / "root"


def cut_short(path: Path, share: float = 0.5) -> None:
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])


def missing_mask(root: Path) -> str:
    put(root, "bad").unlink()
    return "there is no mask of that name"


def missing_image(root: Path) -> str:
    put(root, "bad")
    (root / "train/original/bad.png").unlink()
    return "there is no image of that name"


def other_size(root: Path) -> str:
    put(root, "bad", mask=mask_values(255)[:40])
    return "the mask is 70x40 px, its image bad.png is 70x50"


def truncated_mask(root: Path) -> str:
    cut_short(put(root, "bad"))
    return "it may be cut short"


def truncated_image(root: Path) -> str:
    put(root, "bad")
    cut_short(root / "train/original/bad.png", 0.9)
    return "it may be cut short"


def empty_file(root: Path) -> str:
    put(root, "bad").write_bytes(b"")
    return "unreadable"


def text_file(root: Path) -> str:
    put(root, "bad").write_text("this is no PNG")
    return "unreadable"


def forty_grey_values(root: Path) -> str:
    mask = np.tile((np.arange(70) % 40).astype(np.uint8) * 6, (50, 1))
    put(root, "bad", mask=mask)
    return "has 40 grey values (0 to 234), a binary mask has two.*--threshold 128"


def same_stem_twice(root: Path) -> str:
    put(root, "bad")
    Image.new("RGB", SIZE[::-1]).save(root / "train/original/bad.jpg")
    return "several files share a stem"


def stems_that_differ_in_case(root: Path) -> str:
    put(root, "bad")
    put(root, "Bad")
    if len(list((root / "train/mask").glob("[bB]ad.png"))) < 2:
        pytest.skip("this file system does not tell upper from lower case")
    return "differs in upper and lower case only"


SKIPPED = {
    missing_mask: "missing mask",
    missing_image: "missing image",
    other_size: "size mismatch",
    truncated_mask: "unreadable mask",
    truncated_image: "unreadable image",
    empty_file: "unreadable mask",
    text_file: "unreadable mask",
    forty_grey_values: "not binary",
    same_stem_twice: "same stem",
    stems_that_differ_in_case: "same stem",
}


@pytest.mark.parametrize("spoil", SKIPPED, ids=lambda f: f.__name__)
def test_one_bad_file_is_a_listed_skip(
    spoil: Callable[[Path], str], root: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    reason = spoil(root)
    command = ["--root", str(root), "--out", str(tmp_path / "out"), "--workers", "1"]
    assert convert_to_coco.main([*command, "--val-fraction", "0"]) == 1
    audit = json.loads((tmp_path / "out/audit.json").read_text("utf-8"))
    skipped = audit["findings"]["skipped"]
    assert {skip["kind"] for skip in skipped} == {SKIPPED[spoil]}
    assert all("bad" in skip["file"].lower() for skip in skipped)
    for skip in skipped:
        assert matches(reason, skip["reason"])
    printed = capsys.readouterr().out
    assert f"[{SKIPPED[spoil]}]" in printed
    assert "file(s) skipped" in printed
    content = json.loads((tmp_path / "out/annotations/instances_train.json").read_text())
    stems = [Path(image["file_name"]).stem for image in content["images"]]
    assert stems == ["good_a", "good_b", "good_c"]
    assert len(content["annotations"]) == 6
    assert len(list((tmp_path / "out/labels/train").iterdir())) == 3


def matches(pattern: str, text: str) -> bool:
    """All pieces of ``pattern`` (divided by ".*") occur in ``text``, in order."""
    position = 0
    for piece in pattern.split(".*"):
        position = text.find(piece, position)
        if position < 0:
            return False
    return True


@pytest.mark.parametrize("spoil", SKIPPED, ids=lambda f: f.__name__)
def test_strict_makes_it_an_error_and_writes_nothing(
    spoil: Callable[[Path], str], root: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    spoil(root)
    command = ["--root", str(root), "--out", str(tmp_path / "out"), "--workers", "1", "--strict"]
    assert convert_to_coco.main(command) == 2
    assert f"[{SKIPPED[spoil]}]" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_all_bad_is_an_error(tmp_path: Path) -> None:
    missing_mask(tmp_path / "root")
    with pytest.raises(ValueError, match="(?s)no usable pair.*missing mask"):
        convert(tmp_path / "root", tmp_path / "out", PLAIN)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "said"),
    [("a.txt", "found: 1 of another type (.txt)): give annotations with --boxes or --points"),
     ("", "found: nothing): name another")],
)  # fmt: skip
def test_a_folder_without_masks_is_named_once(root: Path, tmp_path: Path, name, said) -> None:
    (tmp_path / "masks").mkdir()
    if name:
        (tmp_path / "masks" / name).write_text("0 .5 .5 .1 .1")
    with pytest.raises(ValueError, match=re.escape(said)):
        convert(out=tmp_path / "o", options=PLAIN, images=root / "train/original",
                masks=tmp_path / "masks")  # fmt: skip


def test_bad_files_among_many_do_not_stop_the_worker_processes(root: Path, tmp_path: Path) -> None:
    for index in range(9):
        put(root, f"more_{index}")
    for spoil in (truncated_mask,):
        spoil(root)
    report = convert(root, tmp_path / "out", ConvertOptions(workers=2, val_fraction=0))
    assert report.counts["train"]["images"] == 12
    assert [skip.kind for skip in report.skips] == ["unreadable mask"]


# -- masks that are fine, in other pixel formats ------------------------------------------------


def converted(root: Path, out: Path, options: ConvertOptions = PLAIN) -> np.ndarray:
    """Label map of the image "odd", which must not have been skipped."""
    report = convert(root, out, options)
    assert report.skips == []
    return read_label_file(out / "labels/train/odd.png")


def rgba() -> Image.Image:
    return Image.fromarray(mask_values(255, 255)).convert("RGBA")


def sixteen_bit() -> Image.Image:
    return Image.fromarray(mask_values(65535, 65535, dtype=np.uint16))


def palette() -> Image.Image:
    picture = Image.fromarray(mask_values(1, 1)).convert("P")
    picture.putpalette([0, 0, 0, 128, 0, 0] + [0] * 762)
    return picture


@pytest.mark.parametrize("draw", [rgba, sixteen_bit, palette], ids=lambda f: f.__name__)
def test_mask_of_another_pixel_format_gives_the_same_cells(
    draw: Callable[[], Image.Image], root: Path, tmp_path: Path
) -> None:
    draw().save(put(root, "odd"))
    label_map = converted(root, tmp_path / "out")
    np.testing.assert_array_equal(label_map > 0, mask_values(255, 255) > 0)
    assert label_map.max() == 2


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".TIFF", ".PNG"])
def test_mask_of_any_file_format(suffix: str, root: Path, tmp_path: Path) -> None:
    path = put(root, "odd")
    path.unlink()
    Image.fromarray(mask_values(255, 255)).save(path.with_suffix(suffix))
    assert converted(root, tmp_path / "out").max() == 2


@pytest.mark.parametrize("suffix", [".jpg", ".JPEG", ".bmp", ".tif"])
def test_image_of_any_file_format(suffix: str, root: Path, tmp_path: Path) -> None:
    put(root, "odd")
    image = root / "train/original/odd.png"
    Image.open(image).save(image.with_suffix(suffix))
    image.unlink()
    assert converted(root, tmp_path / "out").max() == 2


def test_mask_with_soft_edges_converts_with_a_threshold(root: Path, tmp_path: Path) -> None:
    soft = mask_values(255, 255)
    soft[2:12, 11] = 90
    soft[20:24, 20:26] = 140
    put(root, "odd", mask=soft)
    report = convert(root, tmp_path / "skipped", PLAIN)
    assert "has 4 grey values" in report.skips[0].reason
    options = ConvertOptions(workers=1, val_fraction=0, threshold=128)
    label_map = converted(root, tmp_path / "out", options)
    np.testing.assert_array_equal(label_map > 0, soft >= 128)
    audit = json.loads((tmp_path / "out/audit.json").read_text())
    (grey,) = audit["findings"]["masks_with_more_than_two_grey_values"]
    assert (Path(grey["file"]).stem, grey["grey_values"]) == ("odd", 4)


def test_empty_mask_stays_in_as_an_image_without_cells(root: Path, tmp_path: Path) -> None:
    put(root, "odd", mask=np.zeros(SIZE, np.uint8))
    assert converted(root, tmp_path / "out").max() == 0
    content = json.loads((tmp_path / "out/annotations/instances_train.json").read_text())
    assert len(content["images"]) == 4
    assert len(content["annotations"]) == 6
    text = (tmp_path / "out/audit.txt").read_text()
    assert "images without cells: 1\n  train/original/odd.png" in text


def test_exif_orientation_is_applied_before_sizes_are_compared(tmp_path: Path) -> None:
    put(tmp_path / "root", "a")
    upright = Image.open(tmp_path / "root/train/original/a.png")
    exif = Image.Exif()
    exif[0x0112] = 6  # stored lying on its side
    lying = upright.transpose(Image.Transpose.ROTATE_90)
    (tmp_path / "root/train/original/a.png").unlink()
    lying.save(tmp_path / "root/train/original/a.jpg", exif=exif, quality=95)
    report = convert(tmp_path / "root", tmp_path / "out", PLAIN)
    assert report.skips == []
    assert report.audit["images"][0]["width"] == SIZE[1]


# -- names and places ---------------------------------------------------------------------------


def test_spaces_and_unicode_in_names(tmp_path: Path) -> None:
    root = tmp_path / "BCCD Dataset with mask – Köln"
    put(root, "blood smear (1)")
    put(root, "кровь 血液")
    report = convert(root, tmp_path / "out put é", PLAIN)
    content = json.loads(report.files["train"].read_text("utf-8"))
    names = [image["file_name"] for image in content["images"]]
    assert names == ["train/original/blood smear (1).png", "train/original/кровь 血液.png"]
    for image in content["images"]:
        assert read_label_file(report.out / image["label_file"]).max() == 2
    description = json.loads(report.files["dataset"].read_text("utf-8"))
    assert (report.out / description["image_root"] / names[1]).is_file()


def test_composed_and_decomposed_unicode_pair_up(root: Path, tmp_path: Path) -> None:
    path = put(root, unicodedata.normalize("NFC", "zellé"))
    os.rename(path, path.with_name(unicodedata.normalize("NFD", "zellé") + ".png"))
    report = convert(root, tmp_path / "out", PLAIN)
    assert report.counts["train"]["images"] == 4


def test_same_stem_in_train_and_test_is_legal(root: Path, tmp_path: Path) -> None:
    put(root, "good_a", split="test", mask=mask_values(255, 255, 255))
    report = convert(root, tmp_path / "out", PLAIN)
    assert report.counts["test"] == {"images": 1, "cells": 3, "max_cells": 3}
    assert read_label_file(tmp_path / "out/labels/train/good_a.png").max() == 2
    assert read_label_file(tmp_path / "out/labels/test/good_a.png").max() == 3


def test_hidden_and_other_files_are_passed_over(root: Path, tmp_path: Path) -> None:
    (root / "train/original/._good_a.png").write_bytes(b"macOS leaves these")
    (root / "train/mask/Thumbs.db").write_bytes(b"and Windows these")
    assert convert(root, tmp_path / "out", PLAIN).skips == []


def test_out_that_cannot_be_written(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "file").write_text("in the way")
    for out, message in (("file", "is a file"), ("file/out", "cannot write into")):
        command = ["--root", str(root), "--out", str(tmp_path / out), "--workers", "1"]
        assert convert_to_coco.main(command) == 2
        assert message in capsys.readouterr().err
    assert (tmp_path / "file").read_text() == "in the way"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write all")
def test_out_without_permission(root: Path, tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o555)
    with pytest.raises(OSError, match="cannot write out .*Choose a writable folder"):
        convert(root, tmp_path / "locked/out", PLAIN)
