"""Cellpose's ``_seg.npy``: a pickled dict, read without running what a pickle could run.

`numpy.load` with ``allow_pickle`` calls any function that the file names. Here the only names that
a file may use are those of numpy arrays, dtypes and scalars, and each stands for a function of this
module that builds a plain array; everything else is refused.
"""

from __future__ import annotations

import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np

from bccd_d2.data.convert.formats.common import ImageShapes
from bccd_d2.data.convert.formats.files import FormatError, files_of, split_of
from bccd_d2.data.convert.pairing import Skip
from bccd_d2.masks.labels import check_label_map, relabel

ENDING = "_seg.npy"
_MODULES = ("numpy", "numpy.core.multiarray", "numpy._core.multiarray", "numpy.core.numeric",
            "numpy._core.numeric")  # fmt: skip
_DTYPE = re.compile(r"[<>=|]?[?bBhHiIlLqQefdFDOSU]\d*|[<>=|]?[biufcUSO]\d+")


def read_seg(path: str | Path) -> tuple[list[ImageShapes], list[Skip]]:
    """The masks of a ``_seg.npy`` file, or of each of a folder, for the image of its name.

    The masks are read when their image's turn comes.

    Raises:
        FileNotFoundError: no such file.
    """
    several = Path(path).is_dir()
    images = []
    for file in files_of(path, ENDING):
        name = file.name[: -len(ENDING)] if file.name.endswith(ENDING) else file.stem
        split = split_of(file.relative_to(path)) if several else None
        images.append(ImageShapes(name, file, split=split, labels=_Masks(file)))
    return images, []


class _Masks:
    """Reads the masks of one file when called; small enough to be sent to a worker process."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __call__(self) -> np.ndarray:
        return seg_masks(self.file)


def seg_masks(path: str | Path) -> np.ndarray:
    """(H, W) int32 label map of a ``_seg.npy`` file, cells numbered 1..N without gaps.

    Raises:
        FileNotFoundError: no such file.
        FormatError: it is something else, holds no masks of one plane, or names foreign code.
    """
    path = Path(path)
    content = _load(path)
    masks = content.get("masks") if isinstance(content, dict) else None
    if not isinstance(masks, np.ndarray):
        raise FormatError(path, "masks", "is missing", "save it again from Cellpose")
    masks = masks[0] if masks.ndim == 3 and len(masks) == 1 else masks
    if masks.ndim != 2:
        raise FormatError(
            path, "masks", f"has the shape {masks.shape}", "save each plane of a stack by itself"
        )
    try:
        return relabel(check_label_map(masks))
    except ValueError as error:
        raise FormatError(path, "masks", str(error), "save it again from Cellpose") from error


def _load(path: Path) -> Any:
    """The object in an npy file."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist")
    try:
        with path.open("rb") as stream:
            version = np.lib.format.read_magic(stream)
            read = getattr(np.lib.format, f"read_array_header_{version[0]}_0")
            _, _, dtype = read(stream)
            if not dtype.hasobject:
                raise ValueError("it is a plain array: give it with --labels")
            content = _ArraysOnly(stream).load()
    except Exception as error:  # a broken pickle raises whatever its last bytes ask for
        raise FormatError(
            path, "", f"cannot be read ({type(error).__name__}: {error})",
            "save it again from Cellpose, or give label images with --labels",
        ) from error
    return content.item() if isinstance(content, np.ndarray) and content.size == 1 else content


class _ArraysOnly(pickle.Unpickler):
    """Unpickles plain containers, numbers, text and numpy arrays, and refuses every other name."""

    def find_class(self, module: str, name: str) -> Any:
        known = {
            "_reconstruct": _reconstruct,
            "ndarray": _ArrayType,
            "dtype": _dtype,
            "scalar": _scalar,
            "_frombuffer": _frombuffer,
        }
        if module in _MODULES and name in known:
            return known[name]
        if (module, name) == ("_codecs", "encode"):  # how protocol 2 spells bytes
            return _latin1
        raise pickle.UnpicklingError(f"it names {module}.{name}, which is not needed for masks")


class _ArrayType:
    """Stands for `numpy.ndarray`, of which only the name is needed."""


def _latin1(text: Any, encoding: Any) -> bytes:
    if not isinstance(text, str) or encoding != "latin1":
        raise pickle.UnpicklingError("bytes of another kind")
    return text.encode("latin1")


def _reconstruct(kind: Any, shape: Any, code: Any) -> np.ndarray:
    """An empty array, which the pickle then fills by ``__setstate__`` from as many bytes."""
    if kind is not _ArrayType or tuple(shape) != (0,):
        raise pickle.UnpicklingError("an array of another kind")
    return np.empty(0, dtype=np.int8)


def _dtype(code: Any, *_: Any) -> np.dtype:
    if not isinstance(code, str) or not _DTYPE.fullmatch(code):
        raise pickle.UnpicklingError(f"a dtype {code!r}")
    return np.dtype(code, False, True)  # a copy: the pickle sets its byte order


def _scalar(dtype: Any, data: Any = None) -> Any:
    if not isinstance(dtype, np.dtype) or dtype.hasobject or not isinstance(data, bytes):
        raise pickle.UnpicklingError("a number of another kind")
    return np.frombuffer(data, dtype, count=1)[0]


def _frombuffer(data: Any, dtype: Any, shape: Any, order: Any) -> np.ndarray:
    if not isinstance(dtype, np.dtype) or dtype.hasobject:
        raise pickle.UnpicklingError("an array of another kind")
    return np.frombuffer(data, dtype).reshape(shape, order="F" if order == "F" else "C")
