"""A binary mask becomes a label map: connected components, specks dropped, holes counted.

Annotators cut touching cells apart with black lines that can be 1 px wide, so a mask must be
labelled at its full resolution, before any resizing.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from bccd_d2.masks.clumps import split_clumps as split_label_map


@dataclass(frozen=True, eq=False)
class Labelled:
    """The cells of one mask and what was met on the way.

    Attributes:
        label_map: (H, W) int32, cells 1..N in the order of their first pixel; the further pieces of
            a split clump come last.
        is_split: (N,) bool, the cell was cut out of a clump by watershed.
        specks: components that were too small to be cells.
        speck_pixels: their pixels.
        holes: enclosed background regions of the cells, before any filling.
        hole_pixels: their pixels.
        rule: what made the cells that are no pieces of a clump: "component" or "label".
    """

    label_map: np.ndarray
    is_split: np.ndarray
    specks: int
    speck_pixels: int
    holes: int
    hole_pixels: int
    rule: str = "component"

    @classmethod
    def of_labels(cls, label_map: np.ndarray) -> Labelled:
        """The cells of a label map (H, W) int32 without gaps, as they are."""
        count = int(label_map.max(initial=0))
        return cls(label_map, np.zeros(count, bool), 0, 0, 0, 0, "label")

    @property
    def rules(self) -> list[str]:
        """What made each cell: "component", "label" or "split"."""
        return ["split" if split else self.rule for split in self.is_split]


def label_cells(
    mask: np.ndarray,
    *,
    connectivity: int = 8,
    min_area: int = 16,
    fill_holes: bool = False,
    split_clumps: bool = False,
) -> Labelled:
    """The connected components of a mask that are large enough to be cells.

    >>> label_cells(np.eye(8, dtype=bool), min_area=4).label_map.max()
    1

    Args:
        mask: (H, W) bool; one without foreground gives no cells.
        connectivity: 8 joins pixels that meet at a corner, 4 does not.
        min_area: px; smaller components are specks and become background.
        fill_holes: give enclosed background to the cell around it; a cell inside a hole stays
            itself.
        split_clumps: cut merged cells apart, see `bccd_d2.masks.clumps.split_clumps`.

    Raises:
        ValueError: not a (H, W) bool mask, or an option out of range.
    """
    mask = np.ascontiguousarray(mask)
    if mask.ndim != 2 or mask.dtype != bool:
        raise ValueError(f"mask must be (H, W) bool, got {mask.shape} {mask.dtype}")
    if connectivity not in (4, 8):
        raise ValueError(f"connectivity must be 4 or 8, got {connectivity}")
    if min_area < 1:
        raise ValueError(f"min_area must be at least 1 px, got {min_area}")
    if mask.size == 0:
        return Labelled(np.zeros(mask.shape, np.int32), np.zeros(0, bool), 0, 0, 0, 0)
    label_map, specks, speck_pixels = _large_components(mask, connectivity, min_area)
    holes, hole_pixels = 0, 0
    if connectivity == 4 or _may_have_holes(mask):
        owners, regions = _holes(mask, label_map, connectivity)
        holes = int((owners > 0).sum())
        hole_pixels = int(np.bincount(regions.ravel(), minlength=owners.size)[owners > 0].sum())
        if fill_holes:
            label_map += owners[regions]
    count = int(label_map.max())
    is_split = np.zeros(count, dtype=bool)
    if split_clumps:
        label_map, is_split = split_label_map(label_map, min_area=min_area)
    return Labelled(label_map, is_split, specks, speck_pixels, holes, hole_pixels)


def _large_components(
    mask: np.ndarray, connectivity: int, min_area: int
) -> tuple[np.ndarray, int, int]:
    """Label map of the components of at least ``min_area`` px, the rest's number and pixels."""
    _, found = cv2.connectedComponents(
        mask.view(np.uint8), connectivity=connectivity, ltype=cv2.CV_32S
    )
    components = np.asarray(found, dtype=np.int32)
    areas = np.bincount(components.ravel())
    large = areas >= min_area
    large[0] = False
    lookup = (np.cumsum(large) * large).astype(np.int32)
    small = ~large
    small[0] = False
    label_map = np.take(lookup, components) if small.any() else components
    return label_map, int(small.sum()), int(areas[small].sum())


def _may_have_holes(mask: np.ndarray) -> bool:
    """Whether any outline lies inside another: ten times faster than labelling the background.

    OpenCV follows 8-connected outlines, so this holds for 8-connected components only.
    """
    outlines = cv2.findContours(mask.view(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    hierarchy = outlines[1]
    return hierarchy is not None and bool((hierarchy[0, :, 3] >= 0).any())


def _holes(
    mask: np.ndarray, label_map: np.ndarray, connectivity: int
) -> tuple[np.ndarray, np.ndarray]:
    """The cell around each enclosed background region, and the map of those regions.

    The background is joined by the other connectivity than the foreground (4 for 8), else a
    diagonal line of cell pixels would not separate what it encloses. A region's topmost pixel has
    its owner right above it.

    Returns:
        (K + 1,) int32 label of the owner of region k, 0 for what is no hole of a kept cell; and
        (H, W) int32 regions, 0 = foreground.
    """
    background = (~mask).view(np.uint8)
    count, regions, stats, _ = cv2.connectedComponentsWithStats(
        background, connectivity=12 - connectivity, ltype=cv2.CV_32S
    )
    height, width = mask.shape
    owners = np.zeros(count, dtype=np.int32)
    left, top = stats[:, cv2.CC_STAT_LEFT], stats[:, cv2.CC_STAT_TOP]
    right, bottom = left + stats[:, cv2.CC_STAT_WIDTH], top + stats[:, cv2.CC_STAT_HEIGHT]
    inside = (left > 0) & (top > 0) & (right < width) & (bottom < height)
    for region in np.flatnonzero(inside):
        if region:
            row = regions[top[region], left[region] : right[region]]
            column = left[region] + int(np.argmax(row == region))
            owners[region] = label_map[top[region] - 1, column]
    return owners, regions
