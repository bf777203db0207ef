"""Exact outlines of masks as polygons with holes that GIS libraries call valid.

Points are (x, y) on pixel corners: pixel (row 0, column 0) is the square from (0, 0) to (1, 1), so
a polygon's area is the mask's pixel count. Exterior rings run counter-clockwise by the sign of
their area in x, y numbers (clockwise on a screen, whose y points down), holes the other way; each
ring ends where it starts.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from bccd_d2.masks.rle import Rle, decode_crop

Ring = list[list[float]]  # x, y points, the last one equal to the first
Polygon = list[Ring]  # the exterior ring, then its holes


def rle_to_rings(rle: Rle) -> list[Polygon]:
    """One polygon for each 4-connected part of a mask; [] for an empty mask.

    Parts that meet only at a pixel's corner are polygons of their own that touch in a point, for a
    ring that passes through one point twice is not valid. Parts come in the order of their first
    pixel, row by row.
    """
    crop, y0, x0 = decode_crop(rle)
    parts, count = ndimage.label(crop)
    polygons: list[list[np.ndarray]] = [[] for _ in range(count)]
    for loop, part in _loops(parts):
        for ring in _split(loop):
            points = np.array([*ring, ring[0]], dtype=np.float64) + (x0, y0)
            if _signed_area(points) > 0:
                polygons[part - 1].insert(0, points)
            else:
                polygons[part - 1].append(points)
    return [[ring.tolist() for ring in polygon] for polygon in polygons]


def _loops(parts: np.ndarray) -> list[tuple[list[tuple[int, int]], int]]:
    """Every closed boundary line as its corners (x, y), foreground on the right, and its part.

    Corners in a row are the ends of horizontal edges two by two, corners in a column those of
    vertical edges; following the two kinds in turn goes round.
    """
    padded = np.pad(parts, 1)
    y, x, left, up = _corners(padded > 0)
    across, down = _partners(y, x, ~left), _partners(x, y, ~up)
    below = padded[y + 1, np.where(left, x, x + 1)]
    # Foreground is on the right when an edge above it runs to the right, or one below it left.
    forward = (below > 0) ^ left
    beside = np.where(below > 0, below, padded[y, np.where(left, x, x + 1)])
    starts = np.lexsort((x, y))
    points = list(zip(x.tolist(), y.tolist(), strict=True))
    other, after = across.tolist(), down.tolist()  # a list is faster one by one
    seen = [False] * len(points)
    loops = []
    for start in starts[forward[starts]].tolist():
        corners, here = [], start
        while not seen[here]:
            there = other[here]
            seen[here] = seen[there] = True
            corners += [points[here], points[there]]
            here = after[there]
        if corners:
            loops.append((corners, int(beside[start])))
    return loops


def _corners(padded: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Row and column of each turn of the boundary, whether its edges go left, and up.

    A point between two pixels that touch diagonally is two turns, each round its own pixel.
    """
    quads = [padded[:-1, :-1], padded[:-1, 1:], padded[1:, :-1], padded[1:, 1:]]
    total = sum(quad.astype(np.int8) for quad in quads)
    diagonal = (total == 2) & (quads[0] == quads[3])
    found = []
    for index, quad in enumerate(quads):
        turn = ((total == 1) & quad) | ((total == 3) & ~quad) | (diagonal & quad)
        y, x = np.nonzero(turn)
        found.append((y, x, np.full(len(y), index % 2 == 0), np.full(len(y), index < 2)))
    y, x, left, up = (np.concatenate(column) for column in zip(*found, strict=True))
    return y, x, left, up


def _partners(line: np.ndarray, along: np.ndarray, begins: np.ndarray) -> np.ndarray:
    """The other end of each turn's edge: turns of one line, in order, belong together in pairs.

    Of two turns in one point that which ends an edge comes before the one that begins the next.
    """
    order = np.lexsort((begins, along, line))
    partner = np.empty_like(order)
    partner[order[0::2]], partner[order[1::2]] = order[1::2], order[0::2]
    return partner


def _split(loop: list[tuple[int, int]]) -> list[list[tuple[int, int]]]:
    """The loop cut into rings that pass no point twice."""
    if len(set(loop)) == len(loop):
        return [loop]
    rings: list[list[tuple[int, int]]] = []
    path: list[tuple[int, int]] = []
    place: dict[tuple[int, int], int] = {}
    for point in loop:
        if point in place:
            start = place[point]
            rings.append(path[start:])
            for gone in path[start + 1 :]:
                del place[gone]
            del path[start + 1 :]
        else:
            place[point] = len(path)
            path.append(point)
    return [*rings, path]


def _signed_area(points: np.ndarray) -> float:
    x, y = points[:, 0], points[:, 1]
    return float((x[:-1] * y[1:] - x[1:] * y[:-1]).sum() / 2)
