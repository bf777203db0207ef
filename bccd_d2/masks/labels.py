"""What a label map tells of its cells: numbers, areas, boxes; the rules are `io.label_images`'."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import ndimage

from bccd_d2.io.label_images import check_label_map, compact_labels


def relabel(label_map: np.ndarray) -> np.ndarray:
    """The same cells numbered 1..N without gaps, in the order of their old labels."""
    return compact_labels(check_label_map(label_map))


def cell_areas(label_map: np.ndarray) -> np.ndarray:
    """(N,) int64 pixels a cell, N the largest label; 0 for a label that is not there."""
    return np.bincount(check_label_map(label_map).ravel(), minlength=1)[1:].astype(np.int64)


def disc_diameter(area: Any) -> Any:
    """px, float64: across the disc of an area, a number or an array of them; 0 of no area."""
    return 2 * np.sqrt(np.asarray(area) / np.pi)


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


def share_left(areas: np.ndarray, cut: np.ndarray, whole: float) -> np.ndarray:
    """(N,) float64 in (0, 1]: area over ``whole``, at most 1; 1 for cells that are not cut.

    Args:
        areas: (N,) px.
        cut: (N,) bool, by the image's edge.
        whole: px above 0.
    """
    return np.where(cut, np.minimum(areas / whole, 1), 1.0)


def cell_touches_border(label_map: np.ndarray, margin: int = 1) -> np.ndarray:
    """(N,) bool: the cell has pixels within ``margin`` px of the edge; False where absent."""
    boxes = cell_boxes(label_map)
    return touches_border(boxes, label_map.shape, margin) & (boxes[:, 2] > boxes[:, 0])
