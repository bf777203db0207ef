"""The figures of one converted image: what goes back from a worker process."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bccd_d2.data.convert.pairing import Pair
from bccd_d2.data.weak_labels import DIAMETER_OVER_BOX
from bccd_d2.io.value_range import ValueRange
from bccd_d2.masks.labels import disc_diameter


@dataclass(frozen=True)
class Unmatched:
    """What is left over where types are joined to cells; see `types.join_types`.

    Attributes:
        objects: each the category and the x0 y0 x1 y1 (of a point twice x y), px.
        cells: labels of the cells without a type.
        typed: cells that have one.
    """

    objects: tuple[tuple[str, tuple[float, ...]], ...] = ()
    cells: tuple[int, ...] = ()
    typed: int = 0


@dataclass(frozen=True, eq=False)
class ImageRecord:
    """Figures of one converted image.

    Attributes:
        pair: where it came from.
        image_size: height, width.
        areas: (N,) int32 px.
        boxes: (N, 4) int32 half-open x0 y0 x1 y1.
        border: (N,) bool, the cell touches the image's edge.
        is_split: (N,) bool, the cell is a piece of a clump.
        suspects: labels of suspected clumps.
        specks, speck_pixels, holes, hole_pixels: see `bccd_d2.masks.components.Labelled`.
        grey_values: distinct grey values of the mask file.
        mask_mode: its pixel format.
        mask_pixels: foreground pixels of the mask file, specks included.
        pixel_count: pixels that the two sums below are over (every 16th).
        pixel_sum: (3,) float64, red, green, blue.
        pixel_square_sum: (3,) float64.
        image_hash: (32,) uint8, packed 256-bit perceptual hash.
        reading: how the mask file was read, see `mask_files.MaskFile`; "annotations" for others.
        ignored_pixels: of the mask file, that belong to no cell by an option.
        value_range: what became 0 to 255 in the image, see `io.value_range.ValueRange`.
        kind: "masks", "boxes" or "points": what areas and boxes were measured on; points have none.
        categories: N names where the annotations have some, else ().
        ignored_categories: names of further annotations that are no cells to learn or score:
            crowds and those marked as difficult.
        notes: what was cut, dropped or taken for something, with counts.
        unmatched: of types that were joined: objects that no cell fits, cells without an object.
        stain: see `placement.stain_at_cells`.
    """

    pair: Pair
    image_size: tuple[int, int]
    areas: np.ndarray
    boxes: np.ndarray
    border: np.ndarray
    is_split: np.ndarray
    suspects: list[int]
    specks: int
    speck_pixels: int
    holes: int
    hole_pixels: int
    grey_values: int
    mask_mode: str
    mask_pixels: int
    pixel_count: int
    pixel_sum: np.ndarray
    pixel_square_sum: np.ndarray
    image_hash: np.ndarray
    reading: str = "binary"
    ignored_pixels: int = 0
    value_range: dict[str, Any] = field(default_factory=lambda: ValueRange().as_json())
    kind: str = "masks"
    categories: tuple[str, ...] = ()
    ignored_categories: tuple[str, ...] = ()
    notes: Counter = field(default_factory=Counter)
    unmatched: Unmatched = field(default_factory=Unmatched)
    stain: tuple[float, ...] = ()

    @property
    def annotations(self) -> int:
        """Number of annotations, the ignored ones included."""
        return self.cells + len(self.ignored_categories)

    @property
    def cells(self) -> int:
        """Number of cells."""
        return len(self.areas)

    @property
    def diameter(self) -> float | None:
        """Median px across a cell, of those that the image's edge does not cut where there are any.

        None without cells and for points.
        """
        if self.kind == "points" or not self.cells:
            return None
        areas = self.areas if self.border.all() else self.areas[~self.border]
        area = np.median(areas)
        box = self.kind == "boxes"
        return round(float(DIAMETER_OVER_BOX * np.sqrt(area) if box else disc_diameter(area)), 2)

    @property
    def covered(self) -> float:
        """Share of the image that cells cover, in [0, 1]; boxes that overlap count twice."""
        share = self.areas.sum() / max(self.image_size[0] * self.image_size[1], 1)
        return min(float(share), 1.0)
