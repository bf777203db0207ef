"""Label maps made clean: one piece a cell, no specks, no holes, numbers without gaps."""

from __future__ import annotations

import cv2
import numpy as np
from skimage.measure import label

from bccd_d2.masks.labels import check_label_map, relabel


def clean_labels(
    label_map: np.ndarray, *, min_area: int = 0, fill_holes: bool = False
) -> np.ndarray:
    """The same cells, each its largest 8-connected piece, numbered 1..N in the old order.

    Args:
        label_map: (H, W) int32.
        min_area: px; cells with less are dropped, after holes are filled.
        fill_holes: see `fill_cell_holes`.

    Raises:
        ValueError: no label map.
    """
    cells = largest_pieces(check_label_map(label_map))
    if fill_holes:
        cells = fill_cell_holes(cells)
    small = np.bincount(cells.ravel(), minlength=1) < min_area
    return relabel(np.where(small[cells], 0, cells))


def largest_pieces(label_map: np.ndarray) -> np.ndarray:
    """(H, W) int32 with only the largest 8-connected piece of each label; the first of equals."""
    if not label_map.any():
        return label_map
    pieces = label(label_map, background=0, connectivity=2)
    count = int(pieces.max(initial=0))
    if count == np.count_nonzero(np.bincount(label_map.ravel(), minlength=1)[1:]):
        return label_map
    areas = np.bincount(pieces.ravel(), minlength=count + 1)
    owner = np.zeros(count + 1, dtype=np.int64)
    owner[pieces.ravel()] = label_map.ravel()
    order = np.lexsort((np.arange(count + 1), -areas, owner))
    first = np.ones(count + 1, dtype=bool)
    first[1:] = owner[order][1:] != owner[order][:-1]
    kept = np.zeros(count + 1, dtype=bool)
    kept[order[first]] = True
    return np.where(kept[pieces], label_map, 0).astype(np.int32)


def fill_cell_holes(label_map: np.ndarray) -> np.ndarray:
    """(H, W) int32 with background that a single cell encloses given to that cell.

    Background is joined by edges; what touches the map's edge or two cells stays background.
    """
    if not label_map.any():
        return label_map
    background = (label_map == 0).view(np.uint8)
    count, regions = cv2.connectedComponents(background, connectivity=4, ltype=cv2.CV_32S)
    lowest = np.full(count, np.iinfo(np.int32).max, dtype=np.int32)
    highest = np.zeros(count, dtype=np.int32)
    for near, far in _neighbours():
        met = (regions[near] > 0) & (label_map[far] > 0)
        region, cell = regions[near][met], label_map[far][met]
        np.minimum.at(lowest, region, cell)
        np.maximum.at(highest, region, cell)
    owner = np.where(lowest == highest, highest, 0)
    for edge in (regions[0], regions[-1], regions[:, 0], regions[:, -1]):
        owner[edge] = 0
    owner[0] = 0
    return label_map + owner[regions] if owner.any() else label_map


def _neighbours() -> list[tuple[tuple[slice, slice], tuple[slice, slice]]]:
    """Windows that lay each pixel beside the one below, above, right and left of it."""
    all_, upper, lower = slice(None), slice(None, -1), slice(1, None)
    pairs = [((upper, all_), (lower, all_)), ((all_, upper), (all_, lower))]
    return pairs + [(far, near) for near, far in pairs]
