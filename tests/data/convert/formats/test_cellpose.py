"""Cellpose's ``_seg.npy``: pickles of every protocol, read without running what they hold."""

from __future__ import annotations

import pickle
import subprocess
from pathlib import Path

import numpy as np
import pytest

from bccd_d2.data.convert.formats.cellpose import seg_masks
from bccd_d2.data.convert.formats.files import FormatError

from .conftest import HEIGHT, WIDTH


def label_map() -> np.ndarray:
    """Three touching cells with gaps between their numbers."""
    labels = np.zeros((HEIGHT, WIDTH), dtype=np.uint16)
    labels[10:20, 10:20], labels[10:20, 20:30], labels[20:30, 10:30] = 3, 7, 300
    return labels


def save_seg(path: Path, content, **how) -> Path:
    """As Cellpose does: a dict in an array of one object."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, content, **how)
    return path


def cellpose_content(masks: np.ndarray) -> dict:
    return {
        "outlines": masks * 0, "masks": masks, "chan_choose": [0, 0], "diameter": np.float64(30.5),
        "ismanual": np.zeros(3, dtype=bool), "filename": "C:\\data\\a.png",
        "flows": [np.zeros((1, HEIGHT, WIDTH, 3), np.uint8), None, [np.zeros((2, 3), ">f4")]],
        "colors": np.zeros((3, 3), np.uint8), "est_diam": np.float32(3), "zdraw": [None],
        "model_path": 0, "flow_threshold": 0.4, "manual_changes": [],
    }  # fmt: skip


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.uint32, np.int64])
def test_cellpose_seg(run, tmp_path, dtype):
    save_seg(tmp_path / "a_seg.npy", cellpose_content(label_map().astype(dtype)))
    found = run("seg", tmp_path / "a_seg.npy")
    assert [one["area"] for one in found.cells["a.png"]] == [100, 100, 200]


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_cellpose_seg_of_every_pickle_protocol(tmp_path, protocol):
    path = tmp_path / "a_seg.npy"
    array = np.array(cellpose_content(label_map()), dtype=object)
    with path.open("wb") as stream:
        np.lib.format.write_array_header_1_0(
            stream, {"descr": "|O", "fortran_order": False, "shape": ()}
        )
        pickle.dump(array, stream, protocol=protocol)
    assert (seg_masks(path) > 0).sum() == 400
    assert seg_masks(path).max() == 3


class Payload:
    """Runs a command when it is unpickled."""

    def __init__(self, call) -> None:
        self.call = call

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("place", ["top", "value", "array"])
def test_a_pickle_that_runs_code_is_refused(run, tmp_path, place):
    mark = tmp_path / "ran"
    content = cellpose_content(label_map())
    payload = Payload((subprocess.check_call, (["touch", str(mark)],)))
    if place == "value":
        content["filename"] = payload
    if place == "array":
        content["extra"] = np.array([payload], dtype=object)
    given = payload if place == "top" else content
    path = tmp_path / "seg" / "a_seg.npy"
    path.parent.mkdir()
    with path.open("wb") as stream:
        np.lib.format.write_array(stream, np.array(given, dtype=object), allow_pickle=True)
    with pytest.raises(FormatError, match="it names subprocess.check_call"):
        seg_masks(path)
    save_seg(tmp_path / "seg" / "b_seg.npy", cellpose_content(label_map()))
    found = run("seg", path.parent)
    assert list(found.cells) == ["b.png"] and not mark.exists()


@pytest.mark.parametrize(
    "call",
    [
        (np.ndarray, ((10**12,),)), (eval, ("1",)), (getattr, ("", "join")), (np.load, ("x",)),
        (np.dtype, ([("a", "O")],)), (bytearray, (10**12,)),
    ],
)  # fmt: skip
def test_other_names_and_giant_arrays_are_refused(tmp_path, call):
    path = save_seg(tmp_path / "a_seg.npy", {"masks": label_map(), "x": Payload(call)})
    with pytest.raises(FormatError, match="cannot be read"):
        seg_masks(path)


def test_bad_seg_files_are_named(tmp_path):
    plain = save_seg(tmp_path / "a_seg.npy", label_map())
    with pytest.raises(FormatError, match="give it with --labels"):
        seg_masks(plain)
    no_masks = save_seg(tmp_path / "b_seg.npy", {"outlines": 1})
    with pytest.raises(FormatError, match="b_seg.npy: masks is missing"):
        seg_masks(no_masks)
    stack = save_seg(tmp_path / "c_seg.npy", {"masks": np.zeros((3, 4, 5), np.uint8)})
    with pytest.raises(FormatError, match="each plane"):
        seg_masks(stack)
    whole = save_seg(tmp_path / "d_seg.npy", cellpose_content(label_map())).read_bytes()
    for length in (0, 5, 80, 200, len(whole) // 2):
        (tmp_path / "e_seg.npy").write_bytes(whole[:length])
        with pytest.raises(FormatError, match="e_seg.npy"):
            seg_masks(tmp_path / "e_seg.npy")
