"""Rules of label maps: (H, W) int32, 0 = background, k = cell k.

A label map holds each pixel once, so it is lossless exactly when cells do not overlap.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from scipy import ndimage

from bccd_d2.io.atomic import write_png_atomic


def check_label_map(label_map: np.ndarray) -> np.ndarray:
    """The map as (H, W) int32.

    Raises:
        ValueError: not two-dimensional, not whole numbers, or negative.
    """
    array = np.asarray(label_map)
    if array.ndim != 2 or not (np.issubdtype(array.dtype, np.integer) or array.dtype == bool):
        raise ValueError(
            f"label_map must be (H, W) of integers, got {array.shape} {array.dtype}"
        )
    if array.size and array.min() < 0:
        raise ValueError(f"label_map must not hold negative labels, got {array.min()}")
    return array.astype(np.int32, copy=False)


def relabel(label_map: np.ndarray) -> np.ndarray:
    """The same cells numbered 1..N without gaps, in the order of their old labels."""
    label_map = check_label_map(label_map)
    present = np.bincount(label_map.ravel(), minlength=1) > 0
    present[0] = False
    lookup = np.cumsum(present, dtype=np.int32) * present
    return lookup.astype(np.int32)[label_map]


def cell_areas(label_map: np.ndarray) -> np.ndarray:
    """(N,) int64 pixels a cell, N the largest label; 0 for a label that is not there."""
    return np.bincount(check_label_map(label_map).ravel(), minlength=1)[1:].astype(np.int64)


def cell_boxes(label_map: np.ndarray) -> np.ndarray:
    """(N, 4) int64 tight half-open boxes x0 y0 x1 y1; zeros for a label that is not there."""
    label_map = check_label_map(label_map)
    slices = ndimage.find_objects(label_map) if label_map.size else []
    boxes = np.zeros((len(slices), 4), dtype=np.int64)
    for index, window in enumerate(slices):
        if window is not None:
            rows, columns = window
            boxes[index] = columns.start, rows.start, columns.stop, rows.stop
    return boxes


def touches_border(boxes: np.ndarray, image_size: tuple[int, int], margin: int = 1) -> np.ndarray:
    """(N,) bool: the box comes within ``margin`` px of the image's edge (1 = lies on it)."""
    height, width = image_size
    x0, y0, x1, y1 = np.asarray(boxes).reshape(-1, 4).T
    return (x0 < margin) | (y0 < margin) | (x1 > width - margin) | (y1 > height - margin)


def cell_touches_border(label_map: np.ndarray, margin: int = 1) -> np.ndarray:
    """(N,) bool: the cell has pixels within ``margin`` px of the edge; False where absent."""
    boxes = cell_boxes(label_map)
    return touches_border(boxes, label_map.shape, margin) & (boxes[:, 2] > boxes[:, 0])


def write_label_map(path: str | Path, label_map: np.ndarray) -> Path:
    """Write a 16-bit grey PNG, whole or not at all.

    Raises:
        ValueError: more than 65,535 cells; write a 32-bit TIFF instead.
    """
    label_map = check_label_map(label_map)
    if label_map.size and label_map.max() > np.iinfo(np.uint16).max:
        raise ValueError(f"{path}: {label_map.max()} labels do not fit into 16 bits; use a TIFF")
    return write_png_atomic(path, label_map.astype(np.uint16))


def read_label_map(path: str | Path) -> np.ndarray:
    """Read a grey PNG written by `write_label_map` as (H, W) int32.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is no single-channel image.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"label map {path} does not exist; convert the dataset again")
    pixels = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.ndim != 2:
        raise ValueError(f"label map {path} is not a readable single-channel image")
    return pixels.astype(np.int32)
