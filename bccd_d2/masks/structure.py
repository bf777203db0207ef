"""What the values of a mask file mean: one value a cell, or foreground and background.

Measured, not guessed from names: a label image has solid regions of one value each that lie in the
background; the values between black and white of a smooth or compressed mask are scattered along
its edges; a black-on-white mask has round regions on its dark side.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from skimage.measure import label as regions_of

from bccd_d2.masks.clumps import solidities

ONE_PIECE = 0.9  # share of a value's pixels in its largest region
ROUND = 0.85  # solidity of what may be a cell
_EXACT = 2**24  # labels that 32-bit floating point holds


@dataclass(frozen=True, eq=False)
class Structure:
    """How the values of a label map lie; N values, each figure (N,), value k at k - 1.

    Attributes:
        areas: px.
        pieces: 8-connected regions.
        share: of its pixels that lie in its largest region.
        solid: bool, some pixel has only its own value around it.
        free: bool, it touches the background.
        regions: (H, W) int64, the regions of one value, numbered from 1.
    """

    areas: np.ndarray
    pieces: np.ndarray
    share: np.ndarray
    solid: np.ndarray
    free: np.ndarray
    regions: np.ndarray

    @property
    def are_cells(self) -> bool:
        """Whether each value is a cell, by most of them."""
        if len(self.areas) < 2:
            return False
        whole, solid, free = (self.share >= ONE_PIECE).mean(), self.solid.mean(), self.free.mean()
        return bool(whole >= 0.9 and solid >= 0.75 and free >= 0.5)

    @property
    def are_regions(self) -> bool:
        """Whether nearly all pixels lie in solid regions of one value, however many a value has."""
        solid = self.areas[self.solid].sum()
        return bool(solid >= 0.98 * self.areas.sum() and self.areas.sum() > 0)

    def odd_values(self) -> np.ndarray:
        """(M,) numbers of values that are no cells where the others are: lines, many pieces."""
        scattered = (self.pieces >= 5) & (self.share < 0.5)
        line = ~self.solid & (self.areas >= 50)
        return np.flatnonzero(scattered | line) + 1


def structure_of(label_map: np.ndarray) -> Structure:
    """The structure of a label map (H, W) int32 whose labels have no gaps."""
    count = int(label_map.max(initial=0))
    regions = regions_of(label_map, background=0, connectivity=2).astype(np.int64)
    value_of = np.zeros(int(regions.max(initial=0)) + 1, np.int64)
    value_of[regions.ravel()] = label_map.ravel()
    sizes = np.bincount(regions.ravel(), minlength=len(value_of))[1:]
    values = value_of[1:] - 1
    areas = np.bincount(values, sizes, minlength=count)
    largest = np.zeros(count)
    np.maximum.at(largest, values, sizes)
    solid, free = np.zeros(count + 1, bool), np.zeros(count + 1, bool)
    if label_map.size:
        pixels: np.ndarray = label_map.astype(np.uint16 if count < 65536 else np.float32)
        if count >= _EXACT:
            raise ValueError(f"{count} values are no cells")
        square = np.ones((3, 3), np.uint8)
        low, high = cv2.erode(pixels, square), cv2.dilate(pixels, square)
        solid[label_map[low == high]] = True
        free[label_map[low == 0]] = True
    pieces = np.bincount(values, minlength=count)
    share = largest / np.maximum(areas, 1)
    return Structure(areas.astype(np.int64), pieces, share, solid[1:], free[1:], regions)


def sizeable_pieces(mask: np.ndarray, least: float = 0.2) -> int:
    """How many regions of (H, W) bool have at least ``least`` of the largest one's area."""
    count, _, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    areas = stats[1:, cv2.CC_STAT_AREA]
    return int((areas >= least * areas.max()).sum()) if count > 1 else 0


def no_labels(label_map: np.ndarray) -> str:
    """Why the values of a label map, 1 to N, are hardly one a cell; "" where they may be."""
    count = int(label_map.max(initial=0))
    if count == 1 and (pieces := sizeable_pieces(label_map > 0)) > 1:
        return f"has a single value, in {pieces} pieces: a binary mask?"
    if count > 1 and (structure_of(label_map).share >= 0.5).mean() < 0.5:
        return f"has {count} values, most of them scattered: a smooth mask or a map of classes?"
    return ""


def looks_inverted(mask: np.ndarray, min_area: int = 16) -> bool:
    """Whether the cells of (H, W) bool are its False pixels: round regions in a True background.

    Crowded cells that have grown together leave gaps between them, which are not round.
    """
    edge = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]]) if mask.size else mask
    if not mask.size or mask.all() or edge.mean() < 0.2:
        return False
    dark_sides, dark_round = _side(~mask, min_area)
    if dark_round is None or dark_round < ROUND:
        return False
    bright_sides, bright_round = _side(mask, min_area)
    around = bright_sides >= 3 and dark_sides <= 2
    return around or (bright_round is not None and bright_round < 0.8)


def _side(mask: np.ndarray, min_area: int) -> tuple[int, float | None]:
    """Edges of the image that the largest region touches; median solidity of the sizeable ones."""
    _, regions, stats, _ = cv2.connectedComponentsWithStats(
        mask.astype(np.uint8), connectivity=8, ltype=cv2.CV_32S
    )
    left, top, width, height, areas = stats[1:].T.astype(np.int64)
    if not len(areas):
        return 0, None
    boxes = np.stack([left, top, left + width, top + height], axis=1)
    x0, y0, x1, y1 = boxes[areas.argmax()].tolist()
    sides = (x0 == 0) + (y0 == 0) + (x1 == mask.shape[1]) + (y1 == mask.shape[0])
    kept = areas >= min_area
    if not kept.any():
        return sides, None
    boxes = boxes.copy()
    boxes[~kept] = 0
    return sides, float(np.median(solidities(regions, boxes)[kept]))
