"""Atomic writing: whole files, no leftovers, clear errors."""

from __future__ import annotations

import json
import os
import stat

import cv2
import numpy as np
import pytest

from bccd_d2.io import atomic as io


def test_json_and_png_read_back_and_leave_no_temporary_files(tmp_path) -> None:
    io.write_json_atomic(tmp_path / "new" / "a.json", {"n": 1})
    assert json.loads((tmp_path / "new" / "a.json").read_text()) == {"n": 1}
    image = np.random.default_rng(0).integers(0, 255, (5, 6, 3), dtype=np.uint8)
    io.write_png_atomic(tmp_path / "new" / "a.png", image)
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / "new" / "a.png"))[..., ::-1], image)
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == ["a.json", "a.png"]


def test_a_failed_write_keeps_the_old_file(tmp_path, monkeypatch) -> None:
    path = io.write_text_atomic(tmp_path / "a.txt", "old")

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(io.os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        io.write_text_atomic(path, "new")
    assert path.read_text() == "old" and len(list(tmp_path.iterdir())) == 1


def test_nan_and_odd_arrays_are_refused(tmp_path) -> None:
    with pytest.raises(ValueError):
        io.write_json_atomic(tmp_path / "a.json", float("nan"))
    with pytest.raises(ValueError, match="uint8"):
        io.write_png_atomic(tmp_path / "a.png", np.zeros((2, 2), np.float32))
    assert not list(tmp_path.iterdir())


def test_unwritable_folder_is_named(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        io.write_text_atomic(tmp_path / "file" / "a.txt", "x")


def test_a_file_made_piece_by_piece_is_whole_or_absent(tmp_path):
    path = tmp_path / "sub" / "a.bin"
    with io.atomic_file(path) as stream:
        stream.write(b"one ")
        assert not path.exists()
        stream.write(b"two")
    assert path.read_bytes() == b"one two"
    with pytest.raises(RuntimeError, match="midway"), io.atomic_file(path) as stream:
        stream.write(b"half")
        raise RuntimeError("midway")
    assert path.read_bytes() == b"one two"
    assert [p.name for p in path.parent.iterdir()] == ["a.bin"]


def test_content_and_name_are_on_the_disk_before_it_is_done(tmp_path, monkeypatch):
    """fsync of the file before the rename, and of the folder after it."""
    done = []
    replace = os.replace
    monkeypatch.setattr(os, "fsync", lambda fd: done.append(stat.S_ISDIR(os.fstat(fd).st_mode)))
    monkeypatch.setattr(os, "replace", lambda a, b: done.append("rename") or replace(a, b))
    io.write_bytes_atomic(tmp_path / "a", b"x")
    assert done == [False, "rename", True]


def test_bytes_of_names_that_are_no_utf8_are_written_as_escapes(tmp_path):
    path = io.write_text_atomic(tmp_path / "a.txt", os.fsdecode(b"a\xff.png"))
    assert path.read_bytes() == rb"a\udcff.png"
