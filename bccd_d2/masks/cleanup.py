"""Cleaning up after any model: several masks on one cell, masks inside masks, shared pixels.

All work on run-length masks, whichever model made them. What belongs to one cell is decided on
masks, not on boxes, for the boxes of two cells that touch at a corner overlap while the cells do
not.

Example:
    cells = clean(cells, CleanupOptions(nms=0.5, containment=0.8, exclusive=True))
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from bccd_d2.masks.cells import Cells
from bccd_d2.masks.labels import share_left
from bccd_d2.masks.overlap import iou_matrix, resolve_overlaps
from bccd_d2.masks.rle import Rle, decode_crop, encode_crop, rle_areas

DECAYS = ("", "linear", "gaussian")


@dataclass(frozen=True)
class CleanupOptions:
    """What `clean` does; the defaults do nothing.

    Attributes:
        nms: a cell that overlaps a better-scored one by this IoU or more goes; 0 = off.
        containment: so does one that shares this part of the smaller one's area with a better cell,
            whether it lies inside it or swallows it; 0 = off.
        decay: lower the scores of overlapping cells instead: "linear" or "gaussian" matrix NMS
            (SOLOv2, arXiv 2003.10152, equation 4); "" = off.
        sigma: width of the gaussian decay; smaller is stricter.
        exclusive: no pixel belongs to two cells; the better-scored keeps it.
        min_kept: with ``exclusive``, a cell that keeps less than this share of its area goes.
        whole: only the largest connected part of a cell stays, with its holes filled.
        min_area: px; smaller cells go.
        border_area: px; the score of a cell that the image's edge cuts is multiplied by its area
            over this one, at most 1: annotators leave slivers there out. 0 = off. As
            ``TEST.CLEANUP.BORDER_AREA`` it is in px of the detector's frame.

    Raises:
        ValueError: a value is out of its range.
    """

    nms: float = 0.0
    containment: float = 0.0
    decay: str = ""
    sigma: float = 0.5
    exclusive: bool = False
    min_kept: float = 0.5
    whole: bool = False
    min_area: int = 0
    border_area: float = 0.0

    def __post_init__(self) -> None:
        for name in ("nms", "containment", "min_kept"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must lie in [0, 1], got {getattr(self, name)}")
        if self.decay not in DECAYS:
            raise ValueError(f"decay must be one of {DECAYS}, got {self.decay!r}")
        if self.sigma <= 0 or self.min_area < 0 or self.border_area < 0:
            raise ValueError(
                "sigma > 0, min_area >= 0 and border_area >= 0, got "
                f"{self.sigma}, {self.min_area}, {self.border_area}"
            )


def clean(cells: Cells, options: CleanupOptions) -> Cells:
    """The cells that are left, in their order, with the masks and scores that they are left with.

    Suppression comes first, so that what goes takes no pixels from what stays. Cells without a
    pixel go whenever any option is on. No cells give no cells. Every pair is compared, so time and
    memory grow with the square of the number of cells: clean a large image tile by tile.
    """
    return clean_with_index(cells, options)[0]


def clean_with_index(cells: Cells, options: CleanupOptions) -> tuple[Cells, np.ndarray]:
    """`clean`, and which of the given cells are left, (K,) int64 ascending."""
    if options == CleanupOptions():
        return cells, np.arange(len(cells))
    kept, scores = suppress(cells, options)
    cells = replace(cells[kept], scores=scores)
    areas = cells.areas
    if options.exclusive:
        cells = resolve_overlaps(cells)
    if options.whole:
        cells = replace(cells, rles=[largest_part(rle) for rle in cells.rles])
    left = cells.areas
    stays = left >= max(options.min_area, 1)
    if options.exclusive:
        stays &= left >= options.min_kept * areas
    cells, kept = cells[stays], kept[stays]
    if options.border_area:
        factors = share_left(left[stays], cells.touches_border(), options.border_area)
        cells = replace(cells, scores=(cells.scores * factors).astype(np.float32))
    return cells, kept


def suppress(cells: Cells, options: CleanupOptions) -> tuple[np.ndarray, np.ndarray]:
    """Which cells stay (K,) int64, ascending, and their scores (K,) float32, maybe decayed.

    Only ``nms``, ``containment``, ``decay`` and ``sigma`` are read. Equal scores count in order.
    """
    order = np.argsort(-cells.scores, kind="stable")
    rles = [cells.rles[i] for i in order]
    scores = cells.scores[order].astype(np.float64)
    alive = np.ones(len(order), dtype=bool)
    if len(order) and (options.nms or options.containment or options.decay):
        iou = iou_matrix(rles, rles)
        close = np.triu(_too_close(iou, rle_areas(rles), options), 1)
        for row in np.flatnonzero(close.any(axis=1)):
            if alive[row]:
                alive[close[row]] = False
        if options.decay:
            scores[alive] *= _decay(iou[np.ix_(alive, alive)], options)
    places = np.argsort(order[alive], kind="stable")
    return order[alive][places], scores[alive][places].astype(np.float32)


def _too_close(iou: np.ndarray, areas: np.ndarray, options: CleanupOptions) -> np.ndarray:
    """(N, N) bool: these two are one cell."""
    close = np.zeros(iou.shape, dtype=bool)
    if options.nms:
        close |= iou >= options.nms
    if options.containment:
        shared = iou / (1 + iou) * (areas[:, None] + areas)
        smaller = np.minimum(areas[:, None], areas)
        close |= (shared >= options.containment * smaller) & (shared > 0)
    return close


def _decay(iou: np.ndarray, options: CleanupOptions) -> np.ndarray:
    """(N,) factors in (0, 1] for cells sorted by score, from all better ones at once."""
    above = np.triu(iou, 1)
    worst = above.max(axis=0, initial=0.0)[:, None]  # how much each is itself in doubt
    if options.decay == "linear":
        factors = (1 - above) / np.maximum(1 - worst, 1e-6)
    else:
        factors = np.exp((worst**2 - above**2) / options.sigma)
    factors = np.where(np.triu(np.ones(iou.shape, dtype=bool), 1), factors, 1.0)
    return np.clip(factors.min(axis=0, initial=1.0), 0, 1)


def largest_part(rle: Rle) -> Rle:
    """The largest 4-connected part of a mask with its holes filled; an empty mask stays empty."""
    crop, y0, x0 = decode_crop(rle)
    if not crop.size:
        return rle
    return encode_crop(whole_mask(crop), y0, x0, tuple(rle["size"]))


def whole_mask(mask: np.ndarray) -> np.ndarray:
    """(h, w) bool: the largest 4-connected part of a mask with its holes filled."""
    if not mask.any():
        return mask  # OpenCV crashes on an image without pixels
    count, parts, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=4)
    if count > 2:
        mask = parts == 1 + stats[1:, cv2.CC_STAT_AREA].argmax()
    outside = np.pad(~mask, 1, constant_values=True).astype(np.uint8)
    count, parts = cv2.connectedComponents(outside, connectivity=8)
    return mask if count <= 2 else (parts != parts[0, 0])[1:-1, 1:-1]
