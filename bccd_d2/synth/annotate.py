"""Draw masks the way the dataset's annotators did.

They filled every cell, parted touching cells by a black line of 1 to 4 px, and left out some of the
cells that the image's border cuts. Platelets, debris and ghosts are background.
"""

from __future__ import annotations

import cv2
import numpy as np

from bccd_d2.masks import labels

_MIN_CELL = 30  # px; the dataset's counts begin at 16
_FEW = 10  # an image keeps at least so many cells, if it has them


def part_cells(label_map: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The same cells with a background line of 1 to 4 px wherever two meet.

    No two cells of the result touch, not even by a corner, so labelling its foreground with
    8-connectivity gives the cells back. Widths vary from pair to pair: the cell with the lower
    label gives up 1 or 2 px along the line, the other 0 to 2.
    """
    packed = label_map.astype(np.uint16)
    count = int(packed.max(initial=0))
    gives_low = np.append(0, rng.integers(1, 3, count))[label_map]
    gives_high = np.append(0, rng.integers(0, 3, count))[label_map]
    holes_high = np.where(packed == 0, np.uint16(65535), packed)
    square = np.ones((3, 3), np.uint8)
    diamond = np.zeros((5, 5), np.uint8)
    diamond[np.add.outer(np.abs(np.arange(-2, 3)), np.abs(np.arange(-2, 3))) <= 2] = 1
    cut = cv2.dilate(packed, square) > packed
    cut |= (gives_low == 2) & (cv2.dilate(packed, diamond) > packed)
    cut |= (gives_high >= 1) & (cv2.erode(holes_high, square) < packed)
    cut |= (gives_high == 2) & (cv2.erode(holes_high, diamond) < packed)
    return np.where(cut, 0, label_map).astype(np.int32)


def leave_out_border_cells(
    label_map: np.ndarray, full_areas: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """The map without some of the cells cut by the border, mostly those of which little shows.

    Args:
        full_areas: (N,) px each cell would cover in an endless image.
    """
    shown = labels.cell_areas(label_map) / np.maximum(full_areas, 1)
    chance = np.where(shown < 0.35, 0.85, 0.1)
    cut_off = labels.cell_touches_border(label_map)
    out = np.flatnonzero(cut_off & (rng.random(len(shown)) < chance))
    spare = max(0, np.count_nonzero(shown) - _FEW)
    keep = np.ones(len(shown) + 1, dtype=bool)
    keep[out[:spare] + 1] = False
    return np.where(keep[label_map], label_map, 0)


def annotate(
    label_map: np.ndarray, full_areas: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """(H, W) int32 cells 1..M as an annotator would draw them.

    Each is one 8-connected component of the foreground, and each component one cell: parts that an
    overlapping neighbour cuts off, and cells of fewer than 30 px, are left out.

    Args:
        label_map: (H, W) int32, cells 1..N.
        full_areas: (N,) px each cell would cover in an endless image.
    """
    parted = part_cells(leave_out_border_cells(label_map, full_areas, rng), rng)
    foreground = (parted > 0).astype(np.uint8)
    count, parts, stats, _ = cv2.connectedComponentsWithStats(foreground, connectivity=8)
    owner = np.zeros(count, dtype=np.int64)
    owner[parts.ravel()] = parted.ravel()
    owner[0] = 0
    areas = stats[:, cv2.CC_STAT_AREA].astype(np.int64)
    largest_first = np.lexsort((np.arange(count), -areas))
    _, first = np.unique(owner[largest_first], return_index=True)
    kept = np.zeros(count, dtype=bool)
    kept[largest_first[first]] = True
    kept &= (areas >= _MIN_CELL) & (owner > 0)
    return labels.relabel(np.where(kept[parts], parted, 0))
