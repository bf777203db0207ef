"""Dense targets from a label map: what a network of pixel maps is taught.

| name | shape | values |
| --- | --- | --- |
| cell | (H, W) | 1 in a cell |
| boundary | (H, W) | 1 at a cell's edge, and on the background between near cells |
| centre | (H, W) | at most 1, at each cell's centre |
| distance | (H, W) | depth within the cell, 1 at its deepest pixel |
| flow | (2, H, W) | unit vectors (dy, dx) towards the centre, see `bccd_d2.masks.flows` |

All are float32 and of the label map's resolution; the widths are in its pixels, so a map at half
the size wants half the widths. Encode after cropping and turning: flows of a turned image are not
the turned flows. The map's edge is no cell's edge.

Example:
    targets = encode(label_map, ("cell", "boundary", "flow"), EncodeOptions(boundary_width=2))
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from bccd_d2.masks.flows import cell_centres, encode_flow
from bccd_d2.masks.labels import cell_areas, cell_boxes, check_label_map, disc_diameter

TARGETS = ("cell", "boundary", "centre", "distance", "flow")
CHANNELS = {name: 2 if name == "flow" else 1 for name in TARGETS}
CENTRES = ("point", "disc", "gaussian")


@dataclass(frozen=True)
class EncodeOptions:
    """How targets are drawn; lengths in pixels of the label map.

    Attributes:
        boundary_width: how many pixels deep the inner boundary is; 0 = only the gaps.
        boundary_gap: background with two cells within this distance is boundary; 0 = none. The
            annotators' cuts are 1 to 4 px wide at full resolution.
        centre: "point", one pixel; "disc", 1 within the size; "gaussian", sigma = the size.
        centre_size: radius or sigma; a length in pixels, or a share of the cell's equivalent
            diameter where ``centre_relative``.
        centre_relative: whether ``centre_size`` grows with the cell.

    Raises:
        ValueError: no such kind of centre, or a number out of its range.
    """

    boundary_width: int = 2
    boundary_gap: int = 3
    centre: str = "gaussian"
    centre_size: float = 0.12
    centre_relative: bool = True

    def __post_init__(self) -> None:
        if self.centre not in CENTRES:
            raise ValueError(f"centre must be one of {CENTRES}, got {self.centre!r}")
        for name in ("boundary_width", "boundary_gap"):
            value = getattr(self, name)
            if value != int(value) or value < 0:
                raise ValueError(f"{name} must be a whole number of px >= 0, got {value}")
        if self.boundary_width == self.boundary_gap == 0:
            raise ValueError("boundary_width and boundary_gap are both 0: no boundary is left")
        if self.centre_size <= 0:
            raise ValueError(f"centre_size must be above 0, got {self.centre_size}")


def encode(
    label_map: np.ndarray, targets: Sequence[str], options: EncodeOptions | None = None
) -> dict[str, np.ndarray]:
    """The named targets of a label map, in the order asked for; all 0 where it has no cell.

    Args:
        label_map: (H, W) of integers, 0 = background; labels need not be without gaps.
        targets: of `TARGETS`.
        options: see `EncodeOptions`.

    Raises:
        ValueError: no label map, or an unknown target.
    """
    options = options or EncodeOptions()
    label_map = check_label_map(label_map)
    unknown = [name for name in targets if name not in TARGETS]
    if unknown:
        raise ValueError(f"targets must be of {TARGETS}, got {unknown}")
    makers = {
        "cell": lambda: (label_map > 0).astype(np.float32),
        "boundary": lambda: encode_boundary(
            label_map, options.boundary_width, options.boundary_gap
        ),
        "centre": lambda: encode_centre(label_map, options),
        "distance": lambda: encode_distance(label_map),
        "flow": lambda: encode_flow(label_map),
    }
    return {name: makers[name]() for name in targets}


def encode_boundary(label_map: np.ndarray, width: int = 2, gap: int = 3) -> np.ndarray:
    """(H, W) float32 of 0 and 1: cells' inner boundaries and the cuts between near cells.

    A cell's pixel counts when something else than its cell is at most ``width`` px away, a
    background pixel when two cells are within ``gap`` px (Euclidean, centre to centre).
    """
    label_map = check_label_map(label_map)
    boundary = np.zeros(label_map.shape, dtype=bool)
    if not label_map.any():
        return boundary.astype(np.float32)
    labels = label_map.astype(np.float32)  # exact up to 2**24 cells
    inside = label_map > 0
    if width:
        lowest, highest = _extremes(labels, labels, width)
        boundary |= inside & (lowest != highest)
    if gap:
        beyond = np.where(inside, labels, np.float32(np.inf))
        lowest, highest = _extremes(beyond, labels, gap)
        boundary |= ~inside & (lowest < highest)  # inf and 0 where no cell is near
    return boundary.astype(np.float32)


def _extremes(low: np.ndarray, high: np.ndarray, radius: int) -> tuple[np.ndarray, np.ndarray]:
    """The least of ``low`` and the greatest of ``high`` within a disc round each pixel."""
    span = np.arange(-radius, radius + 1)
    disc = (span[:, None] ** 2 + span**2 <= radius**2).astype(np.uint8)
    return cv2.erode(low, disc), cv2.dilate(high, disc)


def encode_centre(label_map: np.ndarray, options: EncodeOptions | None = None) -> np.ndarray:
    """(H, W) float32 in [0, 1], exactly 1 at each cell's centre and 0 outside cells.

    The centre is the cell's pixel nearest to its centroid. A spot is drawn on its own cell only, so
    spots of touching cells stay apart.
    """
    options = options or EncodeOptions()
    label_map = check_label_map(label_map)
    spots = np.zeros(label_map.shape, dtype=np.float32)
    centres = cell_centres(label_map)
    if options.centre == "point":
        present = centres[centres[:, 0] >= 0]
        spots[tuple(present.T)] = 1
        return spots
    rows, columns = np.nonzero(label_map)
    owner = label_map[rows, columns] - 1
    size = np.full(len(centres), options.centre_size)
    if options.centre_relative:
        size *= disc_diameter(cell_areas(label_map))
    distance = ((rows - centres[owner, 0]) ** 2 + (columns - centres[owner, 1]) ** 2) / (
        np.maximum(size[owner], 1e-6) ** 2
    )
    spots[rows, columns] = distance <= 1 if options.centre == "disc" else np.exp(-distance / 2)
    return spots


def encode_distance(label_map: np.ndarray) -> np.ndarray:
    """(H, W) float32 in [0, 1]: distance to what is not the cell, over its largest in the cell.

    Every pixel of a cell has more than 0. A cell that fills the map has 1 everywhere.
    """
    label_map = check_label_map(label_map)
    height, width = label_map.shape
    depth = np.zeros(label_map.shape, dtype=np.float32)
    for index, (x0, y0, x1, y1) in enumerate(cell_boxes(label_map).tolist()):
        if x1 == x0:
            continue
        window = np.s_[max(y0 - 1, 0) : min(y1 + 1, height), max(x0 - 1, 0) : min(x1 + 1, width)]
        inside = label_map[window] == index + 1
        if inside.all():
            depth[window] = 1
            continue
        distance = cv2.distanceTransform(inside.view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        depth[window][inside] = distance[inside] / distance.max()
    return depth
