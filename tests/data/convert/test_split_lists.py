"""Lists of names by split: VOC's folder, one list, a table, and what does not fit."""

from __future__ import annotations

import pytest

from bccd_d2.data.convert.formats.files import FormatError
from bccd_d2.data.convert.split_lists import read_split_lists


def test_a_folder_of_lists(tmp_path):
    (tmp_path / "train.txt").write_text("a  1\nb -1\n")  # VOC's lists of one class
    (tmp_path / "valid.txt").write_text("./images/val/c.jpg\n")
    (tmp_path / "trainval.txt").write_text("a\nb\nc\n")
    lists = read_split_lists(tmp_path)
    found = [lists.split_of(name) for name in ("a", "b", "c", "val/c", "d")]
    assert found == ["train", "train", "val", "val", None]
    (unknown,) = lists.unknown(["a", "b"])
    assert unknown.kind == "missing image" and "images/val/c (val)" in unknown.reason


@pytest.mark.parametrize(("name", "rest"), [("train.txt", "val"), ("val.txt", "train")])
def test_one_list_leaves_the_others_over(tmp_path, name, rest):
    (tmp_path / name).write_text("a.png\n")
    lists = read_split_lists(tmp_path / name)
    assert lists.split_of("a") == name.partition(".")[0] and lists.split_of("b") == rest


@pytest.mark.parametrize("text", ["name,split\na.png,train\nb,validation\n", "a train\nb val\n"])
def test_a_table(tmp_path, text):
    (tmp_path / "splits.csv").write_text(text)
    lists = read_split_lists(tmp_path / "splits.csv")
    assert [lists.split_of(n) for n in ("a", "b", "c")] == ["train", "val", None]


def test_what_does_not_fit_is_refused(tmp_path):
    (tmp_path / "x.txt").write_text("a train\nb\n")
    with pytest.raises(FormatError, match="line 2 names no split"):
        read_split_lists(tmp_path / "x.txt")
    with pytest.raises(FormatError, match="holds no train.txt"):
        read_split_lists(tmp_path)
    (tmp_path / "train.txt").write_text("a\n")
    (tmp_path / "test.txt").write_text("a\n")
    with pytest.raises(FormatError, match="puts a into"):
        read_split_lists(tmp_path)
    with pytest.raises(FileNotFoundError):
        read_split_lists(tmp_path / "none")
