"""Label images of other tools: each format read back, each mistake named."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

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
        ("image,score\na,0.5\n", "line 2: needs image, label"),
        ("image,label,score\na,1,high\n", "line 2: needs image, label"),
        ("image,label,score\na,1,1.5\n", r"outside \[0, 1\]"),
        ("image,label,score\na,1,0.5\na,1,0.5\n", "line 3.*second"),
        ("image,label,score\na,2,0.5\n", "not numbered 1 to 1"),
    ],
)
def test_wrong_scores_are_named(tmp_path, text, message):
    (tmp_path / "scores.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_label_scores(tmp_path / "scores.csv")
    with pytest.raises(FileNotFoundError, match="do not exist"):
        read_label_scores(tmp_path / "none.csv")
