"""The report of a sample: the numbers first, then what was left out and some cells of each type."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from bccd_d2.evaluation.cell_kinds import are_typed
from bccd_d2.evaluation.counting import Estimate
from bccd_d2.evaluation.morphology import limits
from bccd_d2.evaluation.slide_counts import Quantity
from bccd_d2.report.chart import Chart, Plot
from bccd_d2.report.draw import tile_grid
from bccd_d2.report.drawing import Style
from bccd_d2.report.page import (
    BLUE,
    GREEN,
    Block,
    Fact,
    Facts,
    Figure,
    Grid,
    Page,
    Section,
    Table,
    Text,
    embed,
    jpeg_figure,
)
from bccd_d2.slide.count import FRAME, USE, CountedField, CountedSample

EACH_TYPE, TYPES, SHOWN = 12, 8, 3  # crops of a type, types in the gallery, pictures of fields
LISTED = 8  # fields left out that are named
CROP = 96  # px of a cell in the gallery


def make_page(
    counted: CountedSample, cells: Mapping[str, Sequence[np.ndarray]] | None = None
) -> Page:
    """The page of a sample.

    Args:
        cells: of `some_cells`; None = they are cut out here.
    """
    cells = some_cells(counted) if cells is None else cells
    models = " + ".join(name for name, _ in counted.sample.models)
    kept, every = len(counted.counted), len(counted.fields)
    return Page(
        f"Sample {counted.sample.name}",
        f"{kept} of {every} fields counted, {int(counted.table.sum())} cells; model {models}. "
        f"{USE[:1].upper()}{USE[1:]}.",
        [
            Section("counts", "Counts", [*_counts(counted), *_sizes(counted)]),
            Section("fields", "Fields left out", _left_out(counted)),
            Section("cells", "Cells", _gallery(counted, cells)),
            Section("method", "How this was counted", _method(counted)),
        ],
    )


def _counts(counted: CountedSample) -> list[Block]:
    if not counted.quantities:
        return [Text("No field counts, so there is no number.", "absent"), *_notices(counted)]
    said = [q for q in counted.quantities if q.estimate.value is not None][:4]
    facts = [Fact(f"{q.label}, {q.unit}", number(q.estimate.value), interval(q.estimate))
             for q in said]  # fmt: skip
    table = Table(
        "Estimates with 95% intervals",
        ["", "estimate", "95% interval", "cells found"],
        [_quantity_row(q) for q in counted.quantities],
        (1, 2, 3),
        [" ".join(filter(None, (q.remark, q.estimate.note))) for q in counted.quantities],
    )
    return [Facts(facts), table, *_notices(counted)]


def _sizes(counted: CountedSample) -> list[Block]:
    chart, whose = size_chart(counted), "red cells" if are_typed(counted.types) else "cells"
    if chart is None:
        return []
    known = all(one.pixel_size is not None for one in counted.reds)
    shaded = ", the usual range shaded" if known else ""
    return [embed(chart, f"histogram of the diameters of the {whose}",
                  f"Diameters of {whose} that do not touch the border{shaded}.")]  # fmt: skip


def size_chart(counted: CountedSample) -> Chart | None:
    """How large the red cells are, over the range that is usual; None for too few cells."""
    cells = counted.reds
    if sum(len(one.areas) for one in cells) < limits()["least_cells"]:
        return None
    known = all(one.pixel_size is not None for one in cells)
    unit = "µm" if known else "px: give the pixel size for micrometres"
    plot = Plot(f"diameter, {unit}", "cells", y_range=(0, None))
    if known:
        least, most = limits()["diameter_um"]
        plot.boxes(least, most, -np.inf, np.inf, Style(GREEN, alpha=0.15))
    counts, edges = np.histogram(np.concatenate([one.diameters for one in cells]), bins=40)
    plot.boxes(edges[:-1], edges[1:], 0, counts, Style(BLUE))
    return Chart([plot], 615, 215)


def _notices(counted: CountedSample) -> list[Block]:
    return [Text(text[:1].upper() + text[1:] + ".", "absent") for text in counted.warnings]


def _quantity_row(one: Quantity) -> list[str]:
    return [f"{one.label}, {one.unit}", number(one.estimate.value), interval(one.estimate),
            f"{one.counted:,}"]  # fmt: skip


def number(value: float | None) -> str:
    """A number with the digits that a reader wants; "–" for none."""
    if value is None:
        return "–"
    if value and abs(value) < 10:
        return f"{value:.2g}" if abs(value) < 0.1 else f"{value:.2f}"
    return f"{value:.1f}" if abs(value) < 1000 else f"{round(value, -2):,.0f}"


def interval(one: Estimate) -> str:
    """Both ends; "–" for none."""
    if one.low is None or one.high is None:
        return "–"
    return f"{number(one.low)} to {number(one.high)}"


def _left_out(counted: CountedSample) -> list[Block]:
    left_out = [one for one in counted.fields if not one.counts]
    overridden = [one for one in counted.fields if one.counts and one.reasons]
    if not left_out and not overridden:
        return [Text("None: all fields passed the checks.")]
    named = (*left_out, *overridden)
    rows = [[one.field.name, why(one)] for one in named[:LISTED]]
    if len(named) > LISTED:
        rows.append([f"{len(named) - LISTED} more", "see fields.csv"])
    table = Table(f"{len(left_out)} of {len(counted.fields)} fields; --include NAME counts one all "
                  "the same", ["field", "why"], rows)  # fmt: skip
    return [table, Grid("image", _thumbnails(left_out))]


def why(one: CountedField) -> str:
    """Why a field does not count, or might not, in words."""
    reasons = "; ".join(one.reasons)
    return f"{reasons} ({one.said})" if reasons and one.said else reasons or one.said


def _thumbnails(fields: Sequence[CountedField]) -> list[Figure]:
    """Pictures of the first fields of different reasons."""
    found: list[Figure] = []
    first = {why(one).split(":")[0].split("(")[0]: one for one in reversed(fields)}
    for one in list(first.values())[::-1][:SHOWN]:
        try:
            image = one.field.image()
        except (OSError, ValueError):
            continue
        found.append(jpeg_figure(image, f"field {one.field.name}", why(one), width=300))
    return found


def some_cells(counted: CountedSample) -> dict[str, list[np.ndarray]]:
    """(CROP, CROP, 3) uint8 pictures of some cells of each type, of the fields that count.

    The commonest types come first; [] for one whose images cannot be read.
    """
    order = np.argsort(-counted.table.sum(axis=0), kind="stable")[:TYPES]
    crops: dict[str, list[np.ndarray]] = {counted.types[index]: [] for index in order}
    places = {name: _places(counted, name) for name in crops}
    for index, one in enumerate(counted.counted):
        wanted = [(name, cell) for name, chosen in places.items()
                  for place, cell in chosen if place == index]  # fmt: skip
        if not wanted:
            continue
        try:
            image = one.field.image()
        except (OSError, ValueError):
            continue
        for name, cell in wanted:
            crops[name].append(crop(image, one.field.boxes[cell]))
    return crops


def _gallery(counted: CountedSample, cells: Mapping[str, Sequence[np.ndarray]]) -> list[Block]:
    figures = []
    for name, tiles in cells.items():
        if tiles:
            sheet = tile_grid(tiles, 6, 4, 6 * (CROP + 4) + 4)
            total = int(counted.table[:, counted.types.index(name)].sum())
            said = f"{name}: {len(tiles)} of {total:,}"
            figures.append(jpeg_figure(sheet, said, said, width=sheet.shape[1], quality=85))
    return [Grid("plots", figures)] if figures else [Text("No image could be read.", "absent")]


def _places(counted: CountedSample, name: str) -> list[tuple[int, int]]:
    """Field and cell of some cells of a type, evenly spread over all of them."""
    every = [
        (index, int(cell))
        for index, one in enumerate(counted.counted)
        for cell in np.flatnonzero(np.array(one.field.types, dtype=object) == name)
    ]
    chosen = np.unique(np.linspace(0, len(every) - 1, min(EACH_TYPE, len(every))).astype(int))
    return [every[index] for index in chosen]


def crop(image: np.ndarray, box: np.ndarray, side: int = CROP) -> np.ndarray:
    """(side, side, 3) uint8: a cell with a little of what is around it.

    Args:
        box: x0 y0 x1 y1 px.
    """
    (height, width), (x0, y0, x1, y1) = image.shape[:2], (int(n) for n in box)
    reach = max(2, round(0.62 * max(x1 - x0, y1 - y0)))
    x, y = (x0 + x1) // 2, (y0 + y1) // 2
    left, top = max(0, x - reach), max(0, y - reach)
    window = image[top : min(height, y + reach), left : min(width, x + reach)]
    method = cv2.INTER_AREA if window.shape[0] > side else cv2.INTER_LINEAR
    return cv2.resize(window, (side, side), interpolation=method)


def _method(counted: CountedSample) -> list[Block]:
    measured = counted.measured_on or "not measured: intervals hold sampling alone"
    models = "; ".join(f"{name} (SHA-256 {sha[:12]}...)" for name, sha in counted.sample.models)
    rows = [
        ["model", models],
        ["its errors", measured],
        ["border", FRAME],
        ["intervals", "95%, of the spread between fields and of the model's measured errors; for "
         "fields like those it was measured on"],
        ["use", USE],
    ]  # fmt: skip
    return [Table("Method and limits", [], rows)]
