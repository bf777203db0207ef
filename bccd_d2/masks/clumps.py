"""Cells that were annotated as one: how to tell a clump, and how to cut it apart.

A single cell is nearly convex; a clump has necks. Solidity (area over the area of the convex hull)
and the area against the image's median tell one from the other. The cut is a watershed on the
distance transform from markers that a neck separates.
"""

from __future__ import annotations

import cv2
import numpy as np
from scipy import ndimage

from bccd_d2.masks.labels import cell_boxes

LOW_SOLIDITY = 0.90
WORTH_A_TRY = 0.93
DENTED_AREA = 1.25
LARGE_AREA = 2.0
NECK = 0.85
SMALLEST_PIECE = 0.35
LOWEST_GAIN = 0.02


def solidities(label_map: np.ndarray, boxes: np.ndarray | None = None) -> np.ndarray:
    """(N,) float64 in (0, 1]: each cell's area over the area of its convex hull; 0 where absent.

    Pixels count as unit squares, so a rectangle has exactly 1. Holes lower it.

    Args:
        label_map: (H, W) int32.
        boxes: (N, 4) whole half-open x0 y0 x1 y1 of the cells, where they are known already.
    """
    boxes = cell_boxes(label_map) if boxes is None else boxes
    values = np.zeros(len(boxes))
    for index, (x0, y0, x1, y1) in enumerate(boxes.tolist()):
        if x1 > x0:
            values[index] = _solidity(label_map[y0:y1, x0:x1] == index + 1)
    return values


def _solidity(crop: np.ndarray) -> float:
    outlines, _ = cv2.findContours(
        crop.view(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE
    )
    points = np.concatenate(outlines)
    width, height = (points.max(axis=(0, 1)) - points.min(axis=(0, 1))).tolist()
    # The hull of unit squares is the hull of their centres plus a unit square (Minkowski).
    hull = cv2.contourArea(cv2.convexHull(points)) + width + height + 1
    return float(np.count_nonzero(crop) / hull)


def suspect_clumps(
    areas: np.ndarray, solidity: np.ndarray, low: float = LOW_SOLIDITY
) -> np.ndarray:
    """(N,) bool: cells of one image that are probably several.

    Dented (solidity below ``low``) and larger than 1.25 medians, or larger than two medians: a
    lone outlier in size can be a white cell, so this is a suspicion, not a verdict.

    Args:
        areas: (N,) px of all cells of the image.
        solidity: (N,) from `solidities`.
        low: 0.9; two discs that overlap by a sixth of their width have 0.92.
    """
    if len(areas) == 0:
        return np.zeros(0, dtype=bool)
    relative = np.asarray(areas) / max(float(np.median(areas)), 1.0)
    dented = np.asarray(solidity) < low
    return (dented & (relative >= DENTED_AREA)) | (relative > LARGE_AREA)


def split_clumps(label_map: np.ndarray, *, min_area: int = 16) -> tuple[np.ndarray, np.ndarray]:
    """The label map with suspected clumps cut at their necks, and which cells are pieces.

    A cell is tried when it is suspect at a solidity below 0.93. It is cut where its neck is
    narrower than 0.85 of the thinner part beside it, if every piece has 0.35 of the image's median
    area (and ``min_area`` px) and the pieces are clearly more convex than the whole. Everything
    else stays whole, so an ordinary cell is not cut.

    Args:
        label_map: (H, W) int32, cells 1..N without gaps.
        min_area: px, the least area of a piece.

    Returns:
        Label map of M >= N cells: the first piece of a clump keeps its number, the others are
        numbered from N + 1; and (M,) bool, True for every piece of a clump that was cut.
    """
    areas = np.bincount(label_map.ravel(), minlength=1)[1:]
    boxes = cell_boxes(label_map)
    dents = solidities(label_map, boxes)
    candidates = np.flatnonzero(suspect_clumps(areas, dents, WORTH_A_TRY))
    least = max(float(min_area), SMALLEST_PIECE * float(np.median(areas))) if len(areas) else 0.0
    result, pieces_of = label_map.copy(), list(np.zeros(len(areas), dtype=bool))
    for index in candidates:
        x0, y0, x1, y1 = boxes[index]
        window = np.s_[y0:y1, x0:x1]
        crop = label_map[window] == index + 1
        pieces = cut_at_necks(crop, least)
        if pieces is None:
            continue
        pieces_of[index] = True
        for piece in range(2, int(pieces.max()) + 1):
            pieces_of.append(True)
            result[window][pieces == piece] = len(pieces_of)
    return result, np.array(pieces_of, dtype=bool)


def cut_at_necks(crop: np.ndarray, least_area: float) -> np.ndarray | None:
    """Pieces 1..M (M > 1) of one clump, or None where it should stay whole; see `split_clumps`.

    Args:
        crop: (h, w) bool, the clump.
        least_area: px of a piece.
    """
    from skimage.segmentation import watershed

    solid = ndimage.binary_fill_holes(crop)
    distance = cv2.distanceTransform(np.pad(solid, 1).astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1]
    distance = cv2.GaussianBlur(distance, (0, 0), 1.5) * solid
    markers = _markers(distance)
    while markers.max() > 1:
        basins = watershed(-distance, markers, mask=solid)
        areas = np.bincount((basins * crop).ravel())[1:]
        if areas.min() >= least_area:
            return _if_better(basins * crop, crop)
        markers[markers == np.argmin(areas) + 1] = 0
        markers = np.searchsorted(np.unique(markers), markers)
    return None


def _markers(distance: np.ndarray) -> np.ndarray:
    """(h, w) int: tops of the distance map that only a neck below 0.85 of the lower top joins.

    In logarithms that ratio is a fixed height, so it is an h-maxima transform (Soille,
    Morphological Image Analysis, section 6.3) of the log distance.
    """
    from skimage.morphology import local_maxima, reconstruction

    level = np.log(np.maximum(distance, 1.0))
    height = -np.log(NECK)
    flattened = reconstruction(level - height, level, method="dilation")
    tops = local_maxima(np.round(flattened, 5), connectivity=2) & (distance > 1.0)
    return ndimage.label(tops, structure=np.ones((3, 3)))[0]


def _if_better(pieces: np.ndarray, crop: np.ndarray) -> np.ndarray | None:
    values, areas = solidities(pieces), np.bincount(pieces.ravel())[1:]
    gain = float(np.average(values, weights=areas)) - _solidity(crop)
    return pieces if gain >= LOWEST_GAIN else None
