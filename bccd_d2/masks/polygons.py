"""Outlines drawn by people or tools to masks: which pixels lie inside a polygon with holes.

Coordinates are (x, y) in pixels with pixel corners as points: pixel (row 0, column 0) is the square
from (0, 0) to (1, 1). A pixel is inside when its centre is, so an outline that runs along pixel
edges, as `rle_to_polygons` and the GeoJSON export write it, gives the very same pixels back.
pycocotools' ``frPyObjects`` follows the same rule to a tenth of a pixel; this one is exact, knows
holes, and takes coordinates far outside the image.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from bccd_d2.masks.rle import Rle, compress_runs, rle_from_json


def polygon_to_rle(rings: Sequence[np.ndarray], image_size: tuple[int, int]) -> Rle:
    """RLE of the pixels whose centre lies inside an odd number of rings.

    So a ring within another is a hole, and a ring that crosses itself leaves out what it goes
    round twice. What lies outside the image is cut off.

    Args:
        rings: each (K, 2) float x, y, finite; closed or not, in either direction.
        image_size: height, width.
    """
    height, width = image_size
    x0, y0, x1, y1 = _edges(rings)
    first = np.clip(np.ceil(np.minimum(x0, x1) - 0.5), 0, width).astype(np.int64)
    last = np.clip(np.ceil(np.maximum(x0, x1) - 0.5), 0, width).astype(np.int64)
    spanned = last - first
    edge = np.repeat(np.arange(len(spanned)), spanned)
    columns = np.arange(len(edge)) - np.repeat(np.cumsum(spanned) - spanned, spanned) + first[edge]
    slope = (y1[edge] - y0[edge]) / (x1[edge] - x0[edge])
    crossings = y0[edge] + (columns + 0.5 - x0[edge]) * slope
    rows = np.clip(np.ceil(crossings - 0.5), 0, height).astype(np.int64)
    # Every column is crossed an even number of times: pairs of crossings are runs of pixels.
    order = np.lexsort((rows, columns))
    places = (columns * height + rows)[order]
    starts, ends = places[::2], places[1::2]
    kept = ends > starts
    return compress_runs(starts[kept], ends[kept], image_size)


def segmentation_to_rle(found: Any, image_size: tuple[int, int]) -> Rle:
    """The compressed RLE of a COCO ``segmentation``: an RLE of either kind, or polygons.

    Polygons are flat lists x, y, x, y, ...; a cell is what any of them covers.

    Raises:
        ValueError: it is neither.
    """
    if not isinstance(found, list):
        return rle_from_json(found)
    parts = [polygon_to_rle([np.reshape(flat, (-1, 2))], image_size) for flat in found]
    return coco_mask.merge(parts) if len(parts) != 1 else parts[0]


def _edges(rings: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """x0, y0, x1, y1 of all sides of all rings, the closing side of each included."""
    points = [np.asarray(ring, dtype=np.float64).reshape(-1, 2) for ring in rings]
    ahead = [np.roll(ring, -1, axis=0) for ring in points]
    empty = [np.zeros((0, 2))]
    return (*np.concatenate(empty + points).T, *np.concatenate(empty + ahead).T)


def ring_area(ring: np.ndarray) -> float:
    """Area in square px that a ring encloses, without a sign; 0 for fewer than three points."""
    x, y = np.asarray(ring, dtype=np.float64).reshape(-1, 2).T
    return float(abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2)
