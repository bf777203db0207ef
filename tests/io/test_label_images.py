"""Label images of other tools: each format read back, each mistake named."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import tifffile
from PIL import Image

from bccd_d2.io.label_images import (
    find_label_file,
    read_label_file,
    read_label_scores,
    write_label_map,
)

MAP = np.array([[0, 1, 1], [7, 7, 0]], dtype=np.int32)
WANTED = np.array([[0, 1, 1], [2, 2, 0]], dtype=np.int32)


def test_each_format_is_read_back(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", MAP.astype(np.uint32)[None], photometric="minisblack")
    write_label_map(tmp_path / "b_cp_masks.png", MAP)
    np.save(tmp_path / "c.npy", MAP.astype(np.float32))
    for stem in "abc":
        found = read_label_file(find_label_file(tmp_path, stem))
        assert found.dtype == np.int32 and np.array_equal(found, WANTED)


def test_mistakes_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no label image of x"):
        find_label_file(tmp_path, "x")
    np.save(tmp_path / "x.npy", MAP / 2)
    np.save(tmp_path / "x_masks.npy", MAP)
    with pytest.raises(ValueError, match="several"):
        find_label_file(tmp_path, "x")
    with pytest.raises(ValueError, match="x.npy.*integers"):
        read_label_file(tmp_path / "x.npy")
    tifffile.imwrite(tmp_path / "rgb.tif", np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(ValueError, match=r"rgb.tif.*\(H, W\)"):
        read_label_file(tmp_path / "rgb.tif")
    Image.fromarray(MAP.astype(np.uint8)).save(tmp_path / "lossy.jpg")
    with pytest.raises(ValueError, match=r"lossy.jpg: is a JPEG, which changes the numbers"):
        read_label_file(tmp_path / "lossy.jpg")
    (tmp_path / "cut.tif").write_bytes(b"II*\0")
    with pytest.raises(ValueError, match="cut.tif"):
        read_label_file(tmp_path / "cut.tif")
    with pytest.raises(FileNotFoundError, match="none.npy"):
        read_label_file(tmp_path / "none.npy")


def test_scores_come_back_in_the_order_of_labels(tmp_path):
    path = tmp_path / "scores.csv"
    path.write_text("image,label,score\na,2,0.5\na,1,0.25\nb,1,1\n")
    scores = read_label_scores(path)
    assert list(scores) == ["a", "b"] and scores["a"].dtype == np.float32
    assert scores["a"].tolist() == [0.25, 0.5] and scores["b"].tolist() == [1.0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image,score\na,0.5\n", "line 2 lacks label.*needs image, label"),
        ("image,label,score\na,1,high\n", "line 2: score must be a finite number.*needs image"),
        ("image,label,score\na,1,1.5\n", r"outside \[0, 1\]"),
        ("image,label,score\na,1,0.5\na,1,0.5\n", "label 1 of a.*second"),
        ("image,label,score\na,2,0.5\n", "not numbered 1 to 1"),
    ],
)
def test_wrong_scores_are_named(tmp_path, text, message):
    (tmp_path / "scores.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_label_scores(tmp_path / "scores.csv")
    with pytest.raises(FileNotFoundError, match="do not exist"):
        read_label_scores(tmp_path / "none.csv")


@pytest.mark.parametrize(
    "dtype", ["uint8", "int8", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64"]
)
@pytest.mark.parametrize("suffix", [".npy", ".tif"])
def test_any_type_of_number_is_right(tmp_path, dtype, suffix):
    values = MAP.astype(dtype)
    if np.dtype(dtype).itemsize >= 4:
        values = values * np.dtype(dtype).type(2**20 + 1)
    if suffix == ".npy":
        np.save(tmp_path / "a.npy", values)
    else:
        tifffile.imwrite(tmp_path / "a.tif", values)
    path = tmp_path / f"a{suffix}"
    np.testing.assert_array_equal(read_label_file(path), WANTED)


def test_the_largest_label_takes_no_memory(tmp_path):
    tracemalloc.start()
    values = MAP.astype(np.uint64)
    values[0, 1:] = 2**63 + 5
    np.save(tmp_path / "a.npy", values)
    values = MAP.copy()
    values[0, 1:] = 2**31 - 1
    tifffile.imwrite(tmp_path / "b.tif", values)
    for name in ("a.npy", "b.tif"):
        np.testing.assert_array_equal(read_label_file(tmp_path / name), [[0, 2, 2], [1, 1, 0]])
    assert tracemalloc.get_traced_memory()[1] < 50e6
    tracemalloc.stop()


def test_what_is_no_label_image_is_named(tmp_path):
    np.save(tmp_path / "x_seg.npy", np.array({"masks": 1}, dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match=r"x_seg.npy.*Python objects.*--save_tif"):
        read_label_file(tmp_path / "x_seg.npy")
    np.save(tmp_path / "x.npy", -MAP)
    with pytest.raises(ValueError, match=r"x.npy.*negative labels, got -7"):
        read_label_file(tmp_path / "x.npy")
    tifffile.imwrite(tmp_path / "x.tif", np.stack([MAP, MAP]), photometric="minisblack")
    with pytest.raises(ValueError, match=r"x.tif.*it has 2 pages"):
        read_label_file(tmp_path / "x.tif")
    np.save(tmp_path / "vague.npy", MAP.astype(np.float32) * 2**25)
    with pytest.raises(ValueError, match=r"vague.npy.*not exact in float32"):
        read_label_file(tmp_path / "vague.npy")
    (tmp_path / "cut.npy").write_bytes((tmp_path / "x.npy").read_bytes()[:-8])
    with pytest.raises(ValueError, match="cut.npy is unreadable"):
        read_label_file(tmp_path / "cut.npy")


def test_the_image_beside_its_label_image_is_passed_over(tmp_path):
    Image.new("RGB", (4, 4), (9, 80, 200)).save(tmp_path / "x.png")
    np.save(tmp_path / "x_masks.npy", MAP)
    assert find_label_file(tmp_path, "x").name == "x_masks.npy"
