"""One set of cells out of the answers of many tiles, none lost and none doubled at the seams.

A tile's answer counts where the tile is responsible (`tiling.Tile.core`) and a few pixels beyond,
because two tiles do not draw a cell quite alike and its centre may fall on either side of a seam.
Where two tiles then show one cell, the copy of the responsible tile stays, else the better score.

Assumption: cells are no larger than the tiles' overlap less twice the margin. It is checked: cells
that are kept although their window cuts them off are counted in a warning.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from pycocotools import mask as coco_mask

from bccd_d2.inference.tiling import Box, Tile
from bccd_d2.masks.cells import Cells
from bccd_d2.masks.overlap import meeting_pairs
from bccd_d2.masks.rle import Rle, encode_crop

logger = logging.getLogger(__name__)


@dataclass
class _Kept:
    """Cells so far, in pixels of the whole image."""

    rles: list[Rle] = field(default_factory=list)
    boxes: list[Box] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    classes: list[int] = field(default_factory=list)
    tiles: list[int] = field(default_factory=list)
    inside: list[bool] = field(default_factory=list)
    uncertainty: list[float] = field(default_factory=list)
    probabilities: list[np.ndarray] = field(default_factory=list)
    detected: list[np.ndarray] = field(default_factory=list)


def stitch(
    parts: Iterable[tuple[Tile, Cells]],
    image_size: tuple[int, int],
    *,
    margin: int = 8,
    iou_threshold: float = 0.5,
    containment: float = 0.8,
) -> Cells:
    """The cells of the whole image, in the order of their tiles.

    Tiles are taken one at a time (a generator that runs the model is fine); memory grows with the
    number of cells, not with the pixels, for every cell is kept as a few hundred bytes of runs.

    Args:
        parts: each tile of `plan_tiles` with the cells of its window, in the window's pixels.
        image_size: height and width of the whole image.
        margin: px beyond its core in which a tile's cells are still considered.
        iou_threshold: cells of two tiles that overlap by this are one cell.
        containment: so are two of which one lies by this share of its area in the other.

    Raises:
        ValueError: a tile's cells are not of its window's size.
    """
    kept, cut_off = _Kept(), 0
    for number, (tile, cells) in enumerate(parts):
        cut_off += _collect(kept, number, tile, cells, image_size, margin)
    if cut_off:
        logger.warning("%d cells are cut off by their tile; use a larger overlap", cut_off)
    chosen = _without_copies(kept, iou_threshold, containment)
    rles = [kept.rles[i] for i in chosen]
    scores = np.array(kept.scores, dtype=np.float64)[chosen]
    classes = np.array(kept.classes, dtype=np.int64)[chosen]
    uncertainty = np.array(kept.uncertainty)[chosen] if rles and kept.uncertainty else None
    probabilities = np.array(kept.probabilities)[chosen] if rles and kept.probabilities else None
    detected = np.array(kept.detected)[chosen] if rles and kept.detected else None
    return Cells(image_size, rles, scores, classes, uncertainty, probabilities, detected)


def _collect(
    kept: _Kept, number: int, tile: Tile, cells: Cells, image_size: tuple[int, int], margin: int
) -> int:
    """Take over the cells of one tile; answers how many of them its window cuts off."""
    left, top, right, bottom = tile.window
    if cells.image_size != (bottom - top, right - left):
        raise ValueError(f"cells of {cells.image_size} do not fit the window {tile.window}")
    cut_off = 0
    for index, (crop, y, x) in enumerate(cells.crops()):
        if not crop.any():
            continue
        x0, y0 = x + left, y + top
        x1, y1 = x0 + crop.shape[1], y0 + crop.shape[0]
        centre = (x0 + x1) / 2, (y0 + y1) / 2
        if not _holds(tile.core, centre, margin):
            continue
        kept.rles.append(encode_crop(crop, y0, x0, image_size))
        kept.boxes.append((x0, y0, x1, y1))
        kept.scores.append(float(cells.scores[index]))
        kept.classes.append(int(cells.class_ids[index]))
        kept.tiles.append(number)
        kept.inside.append(_holds(tile.core, centre, 0))
        if cells.uncertainty is not None:
            kept.uncertainty.append(float(cells.uncertainty[index]))
        if cells.class_probabilities is not None:
            kept.probabilities.append(cells.class_probabilities[index])
        if cells.detected_boxes is not None:
            kept.detected.append(cells.detected_boxes[index] + [left, top, left, top])
        height, width = image_size
        cut_off += bool(
            (x0 == left > 0) or (y0 == top > 0) or (x1 == right < width) or (y1 == bottom < height)
        )
    return cut_off


def _holds(core: Box, centre: tuple[float, float], margin: int) -> bool:
    x0, y0, x1, y1 = core
    return x0 - margin <= centre[0] < x1 + margin and y0 - margin <= centre[1] < y1 + margin


def _without_copies(kept: _Kept, iou_threshold: float, containment: float) -> list[int]:
    """Indices to keep: of two copies the responsible tile's, then the better scored."""
    neighbours = _copies(kept, iou_threshold, containment)
    order = np.lexsort((-np.array(kept.scores), ~np.array(kept.inside, dtype=bool)))
    gone: set[int] = set()
    for index in order.tolist():
        if index not in gone:
            gone.update(neighbours.get(index, ()))
    return [index for index in range(len(kept.rles)) if index not in gone]


def _copies(kept: _Kept, iou_threshold: float, containment: float) -> dict[int, set[int]]:
    """For each cell those of other tiles that show the same cell."""
    boxes = np.array(kept.boxes, dtype=np.int64).reshape(-1, 4)
    pairs = meeting_pairs(boxes)
    tiles = np.array(kept.tiles, dtype=np.int64)
    found: dict[int, set[int]] = {}
    for index, other in pairs[tiles[pairs[:, 0]] != tiles[pairs[:, 1]]].tolist():
        pair = [kept.rles[index]], [kept.rles[other]]
        shared = (
            float(coco_mask.iou(*pair, [0])[0, 0]) >= iou_threshold
            or float(coco_mask.iou(*pair, [1])[0, 0]) >= containment
            or float(coco_mask.iou(*pair[::-1], [1])[0, 0]) >= containment
        )
        if shared:
            found.setdefault(index, set()).add(other)
            found.setdefault(other, set()).add(index)
    return found
