"""The files of one image, each whole or absent, and its line in the table of counts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from bccd_d2.export.coco import write_coco
from bccd_d2.export.geojson import write_geojson
from bccd_d2.export.labels import write_class_tiles, write_label_tiff, write_label_tiles
from bccd_d2.export.table import measure, write_csv
from bccd_d2.inference.batch.sources import Job
from bccd_d2.io.atomic import write_png_atomic
from bccd_d2.io.pixel_size import PixelSize
from bccd_d2.io.tables import write_table
from bccd_d2.io.text import printable
from bccd_d2.io.value_range import ValueRange
from bccd_d2.masks.cells import Cells
from bccd_d2.masks.classes import UNSURE, Classes
from bccd_d2.masks.labels import disc_diameter
from bccd_d2.masks.overlap import resolve_overlaps
from bccd_d2.masks.rle import rle_to_polygons
from bccd_d2.report.draw import (
    Colour,
    cell_colour,
    draw_outlines,
    type_colours,
    type_legend,
)

KINDS = {  # what --save names: the suffix of its files; each kind has a folder of its name
    "labels": ".tif",
    "types": ".tif",  # of models that tell types
    "coco": ".json",
    "geojson": ".geojson",
    "csv": ".csv",
    "overlay": ".png",
}
OVERVIEW = 4096  # px: longest side of the overlay of an image that is read in windows


@dataclass(frozen=True)
class OutputOptions:
    """What is written, and where.

    Attributes:
        folder: of the run; every kind of file has a folder in it.
        kinds: of `KINDS`.
        pixel_size: micrometres a pixel of all images; None = as each file says.
        label_bits: 16 or 32; None = 16 unless an image has more than 65,535 cells.
        keep_overlaps: leave pixels that two cells claim to both; else the better scored one has
            them, so that all files agree pixel by pixel.
        classes: what the model's cells may be.
    """

    folder: Path
    kinds: tuple[str, ...] = tuple(KINDS)
    pixel_size: float | None = None
    label_bits: int | None = None
    keep_overlaps: bool = False
    classes: Classes = Classes()

    def __post_init__(self) -> None:
        unknown = [kind for kind in self.kinds if kind not in KINDS]
        if unknown:
            raise ValueError(f"save must be of {', '.join(KINDS)}, got {', '.join(unknown)}")
        if self.pixel_size is not None and not (
            np.isfinite(self.pixel_size) and self.pixel_size > 0
        ):
            raise ValueError(f"pixel size must be micrometres above 0, got {self.pixel_size}")

    def files(self, name: str) -> dict[str, Path]:
        """Where the files of an image go, by kind; a model of one class has no class images."""
        kinds = [kind for kind in self.kinds if kind != "types" or self.classes.typed]
        return {kind: self.folder / kind / f"{name}{KINDS[kind]}" for kind in kinds}

    def told(self, classes: Classes) -> OutputOptions:
        """The same for a model that tells these classes.

        Raises:
            ValueError: class images alone were asked for, and there is one class.
        """
        if self.kinds == ("types",) and not classes.typed:
            raise ValueError(
                "--save types: the model knows one class, cell; give one that tells types with "
                "--weights, or save something else"
            )
        return replace(self, classes=classes)


def settle(cells: Cells, keep_overlaps: bool = False) -> Cells:
    """The cells as they are written: disjoint unless told otherwise, none without a pixel."""
    if not keep_overlaps:
        cells = resolve_overlaps(cells)
    return cells[cells.areas > 0]


def write_outputs(
    job: Job,
    image: Any,
    cells: Cells,
    options: OutputOptions,
    value_range: ValueRange | None = None,
    pixel_size: PixelSize | None = None,
) -> dict[str, Any]:
    """Write the files of one image; its row of the table of counts.

    Args:
        image: (H, W, 3) uint8 RGB, an array or `windows.TiffWindows`.
        value_range: what became 0 to 255 in it, for its row; None = 8 bits.
        pixel_size: for columns in micrometres and cells a mm2; None = unknown.

    Raises:
        OSError: a file cannot be written.
    """
    cells = settle(cells, options.keep_overlaps)
    files, classes = options.files(job.name), options.classes
    windowed = not isinstance(image, np.ndarray)
    if {"csv", "geojson"} & files.keys():
        size = pixel_size.micrometres if pixel_size else None
        table = measure(cells, image, pixel_size=size, classes=classes)
    if "csv" in files:
        write_csv(files["csv"], table)
    if "geojson" in files:
        write_geojson(
            files["geojson"], cells, table, plane=job.plane.as_geojson(), classes=classes
        )
    if "coco" in files:
        write_coco(files["coco"], [(job.path.name, cells)], classes)
    if "labels" in files:
        write = write_label_tiles if windowed else write_label_tiff
        write(files["labels"], cells, bits=options.label_bits)
    if "types" in files:
        write_class_tiles(files["types"], cells, classes)
    if "overlay" in files:
        write_png_atomic(files["overlay"], _overlay(image, cells, classes), quick=True)
    row = counts(job, cells, pixel_size) | type_counts(cells, classes)
    if value_range is not None and value_range.dtype != "uint8":
        row["value_range"] = str(value_range)
    return row


def _overlay(image: Any, cells: Cells, classes: Classes) -> np.ndarray:
    """The image, a large one smaller, with outlines; of types in their colours over a legend."""
    colours = type_colours(cells, classes)
    if isinstance(image, np.ndarray):
        drawn = draw_outlines(image, cells, color=colours)
    else:
        drawn = overview(image, cells, OVERVIEW, colours)
    if colours is None:
        return drawn
    return np.vstack([drawn, type_legend(cells, classes, drawn.shape[1])])


def type_counts(cells: Cells, classes: Classes) -> dict[str, int]:
    """How many cells are of each type, ``type_<name>``, "unsure" among them; {} without types."""
    if not classes.typed:
        return {}
    shown = classes.shown(cells.class_ids, cells.class_confidence)
    numbers = {name: int((shown == k).sum()) for k, name in enumerate(classes.names)}
    numbers[UNSURE] = numbers.get(UNSURE, 0) + int((shown < 0).sum())
    return {f"type_{name}": number for name, number in numbers.items()}


def counts(job: Job, cells: Cells, pixel_size: PixelSize | None = None) -> dict[str, Any]:
    """One image's row: cells in all, interior ones, density, and the share of pixels covered."""
    height, width = cells.image_size
    number, inside = len(cells), ~cells.touches_border()
    row = {
        "image": job.name,
        "file": printable(job.path),
        "page": job.page + 1,
        **{axis: n for axis in ("z", "t") if (n := getattr(job.plane, axis)) is not None},
        "height": height,
        "width": width,
        "cells": number,
        "interior": int(inside.sum()),
        "per_megapixel": number / (height * width / 1e6),
    }
    size = pixel_size.micrometres if pixel_size else None
    if size is not None:
        row["per_mm2"] = number / (height * width * (size / 1000) ** 2)
    row["coverage"] = float(cells.areas.sum()) / (height * width)
    if pixel_size is not None:
        row |= {"pixel_size": size, "pixel_size_from": pixel_size.source}
    if size is not None and inside.any():
        diameters = disc_diameter(cells.areas[inside])
        row["median_diameter_um"] = float(np.median(diameters)) * size
    return row


def overview(
    image: Any, cells: Cells, longest: int, colours: Sequence[Colour] | None = None
) -> np.ndarray:
    """A large image at most ``longest`` px long, (h, w, 3) uint8, with the cells' outlines.

    Args:
        colours: one a cell; None = a different one each.
    """
    height, width = cells.image_size
    factor = min(1.0, longest / max(height, width))
    size = max(1, round(height * factor)), max(1, round(width * factor))
    drawn = np.empty((*size, 3), np.uint8)
    edges = np.linspace(0, size[0], -(-height // 1024) + 1).astype(int)
    for first, last in zip(edges[:-1], edges[1:], strict=True):
        rows = image[round(first / factor) : max(round(last / factor), 1), 0:width]
        if last > first:
            drawn[first:last] = cv2.resize(
                rows, (size[1], last - first), interpolation=cv2.INTER_AREA
            )
    for index, rle in enumerate(cells.rles):
        lines = [
            np.round((np.reshape(polygon, (-1, 2)) * factor - 0.5) * 16).astype(np.int32)
            for polygon in rle_to_polygons(rle, tolerance=0.75 / factor)
        ]
        colour = cell_colour(index) if colours is None else colours[index]
        cv2.polylines(drawn, lines, True, colour, 1, cv2.LINE_AA, 4)
    return drawn


def write_counts(path: str | Path, rows: Iterable[Mapping[str, Any]]) -> Path:
    """Write the rows of `counts` as CSV; a column that some rows lack is blank in them."""
    written = ({k: _short(value) for k, value in row.items()} for row in rows)
    return write_table(path, written)


def _short(value: Any) -> Any:
    return f"{value:.6g}" if isinstance(value, float) else value
