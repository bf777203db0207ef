"""Label maps at another resolution, with outlines as sharp as a finer foreground allows."""

from __future__ import annotations

import cv2
import numpy as np

from bccd_d2.masks.labels import check_label_map


def resize_label_map(label_map: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(height, width) int32 by nearest neighbours.

    When it shrinks, a cell may vanish; its number then has no pixel.
    """
    if label_map.shape == tuple(size):
        return label_map
    given = label_map.astype(np.float32)  # exact up to 2**24 cells
    return cv2.resize(given, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT).astype(np.int32)


def refine_outlines(label_map: np.ndarray, foreground: np.ndarray) -> np.ndarray:
    """The cells of a coarse label map with the outlines of a finer foreground.

    Within 1.5 coarse pixels of an outline each fine pixel is decided anew: foreground belongs to
    the nearest cell, the rest to none. Deeper inside and further outside nothing changes, so filled
    holes stay filled and no cell creeps along a structure that is none.

    Args:
        label_map: (h, w) int32.
        foreground: (H, W) bool, of the size that is wanted; not smaller than the label map.

    Returns:
        (H, W) int32. Numbers are kept; a cell without a foreground pixel may lose all of its own.
    """
    label_map = check_label_map(label_map)
    size = foreground.shape
    cells = resize_label_map(label_map, size)
    reach = max(*(1.5 * fine / coarse for fine, coarse in zip(size, label_map.shape, strict=True)))
    outside = (cells == 0).view(np.uint8)
    if not outside.any() or outside.all():
        return cells
    near = _distance_and_owner(outside, cells)
    grown = np.where((outside > 0) & (near[0] <= reach) & foreground, near[1], cells)
    depth = cv2.distanceTransform(1 - outside, cv2.DIST_L2, cv2.DIST_MASK_5)
    rim = (outside == 0) & (depth <= reach) & ~foreground
    grown[rim] = 0
    return grown.astype(np.int32)


def _distance_and_owner(outside: np.ndarray, cells: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each pixel the distance to the nearest cell and that cell's number."""
    distance, index = cv2.distanceTransformWithLabels(
        outside, cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    numbers = np.zeros(int(index.max()) + 1, dtype=cells.dtype)
    inside = outside == 0
    numbers[index[inside]] = cells[inside]
    return distance, numbers[index]
