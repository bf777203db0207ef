"""Label images that other tools wrote: TIFF, PNG or NPY, found by the image's stem."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tifffile

from bccd_d2.masks.labels import check_label_map, read_label_map, relabel

ENDINGS = (".tif", ".tiff", ".png", ".npy")
SUFFIXES = ("", "_cp_masks", "_masks", "_labels", "_label", "_mask")  # Cellpose writes _cp_masks


def find_label_file(folder: str | Path, stem: str) -> Path:
    """The label image of an image: ``<stem><suffix><ending>``, see `SUFFIXES` and `ENDINGS`.

    Raises:
        FileNotFoundError: there is none.
        ValueError: there are several.
    """
    folder = Path(folder)
    candidates = [folder / f"{stem}{suffix}{ending}" for suffix in SUFFIXES for ending in ENDINGS]
    found = [path for path in candidates if path.is_file()]
    if not found:
        raise FileNotFoundError(
            f"no label image of {stem} in {folder}; looked for {stem}.tif, .tiff, .png and .npy, "
            f"also with {', '.join(SUFFIXES[1:])} after the stem"
        )
    if len(found) > 1:
        raise ValueError(f"several label images of {stem}: {', '.join(map(str, found))}; keep one")
    return found[0]


def read_label_file(path: str | Path) -> np.ndarray:
    """(H, W) int32 label map, cells numbered 1..N without gaps.

    Axes of length 1 are dropped; whole numbers kept as floats are taken.

    Raises:
        FileNotFoundError: no such file.
        ValueError: unreadable, in colour, or not of whole numbers at least 0.
    """
    path = Path(path)
    if path.suffix.lower() == ".png":
        return relabel(read_label_map(path))
    if not path.is_file():
        raise FileNotFoundError(f"label image {path} does not exist")
    try:
        if path.suffix.lower() == ".npy":
            array = np.load(path, allow_pickle=False)
        else:
            array = tifffile.imread(path)
    except Exception as error:  # tifffile raises struct.error, TypeError, ... on broken files
        raise ValueError(f"label image {path} is unreadable ({error})") from error
    array = np.squeeze(array)
    if np.issubdtype(array.dtype, np.floating) and np.array_equal(array, np.rint(array)):
        array = array.astype(np.int64)
    try:
        return relabel(check_label_map(array))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
