"""The types of a run's report: scores by class, what is called what, counts of a lab, mistakes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bccd_d2.evaluation.table import TYPE
from bccd_d2.masks.classes import Classes
from bccd_d2.report.chart import Chart, Plot
from bccd_d2.report.drawing import INK, Style
from bccd_d2.report.page import (
    BLUE,
    GREY,
    Block,
    Fact,
    Facts,
    Figure,
    Grid,
    Heading,
    Key,
    Section,
    Table,
    Text,
    embed,
    jpeg_figure,
)
from bccd_d2.report.run.files import Evaluated
from bccd_d2.report.run.pictures import (
    CROP_WIDTH,
    SeenImage,
    close_up,
    crop_window,
    event_box,
    see,
)

COLUMNS = ("truth", "predicted", "AP", "AP50", "F1", "precision", "recall", "PQ")
HEADS = {"truth": "true cells", "predicted": "called so"}
FIGURES = {  # of counts a lab reads: title, unit
    "white": ("White cells", "cells in the image"),
    "platelets_per_100_red": ("Platelets", "for 100 red cells"),
    "parasitaemia": ("Parasitaemia", "% of red cells infected"),
}
COMMONEST = 4  # kinds of mistakes that are shown


def type_section(evaluated: Evaluated, examples: int) -> Section:
    """The section on types of an evaluation that has some.

    Args:
        examples: most close-ups of each kind of mistake.
    """
    found, groups = evaluated.scores["types"], evaluated.scores["scores"]
    classes = Classes(tuple(found["names"]), (), tuple(found["colours"]))
    confusion = np.array(found["confusion"], dtype=np.int64)
    section = Section("types", "Types of cells")
    section.blocks += [
        _facts(groups["types"]),
        _table(classes, groups, evaluated),
        plot_confusion(confusion, classes.names),
    ]
    plots = [
        plot_counts(found["counts"], key, groups["types"])
        for key in FIGURES
        if any(row.get(f"{key}_truth") is not None for row in found["counts"])
    ]
    if plots:  # one alone keeps its size
        shown = plots if len(plots) == 1 else [Grid("plots", plots)]
        section.blocks += [Heading("Counts that a lab reads"), *shown]
    section.blocks += _mistakes(evaluated, classes, confusion, examples)
    return section


def _facts(scores: Mapping[str, float | None]) -> Facts:
    wanted = (
        ("mAP50", "mean AP50 of the types", "each type weighs alike"),
        ("mF1", "mean F1 of the types", "each type weighs alike"),
        ("accuracy", "found cells called right", "frequent types weigh more"),
        ("balanced_accuracy", "the same, types alike", "mean of each type's own share"),
    )
    return Facts([
        Fact(title, f"{value:.3f}", note)
        for key, title, note in wanted
        if (value := scores.get(key)) is not None
    ])  # fmt: skip


def _table(
    classes: Classes, groups: Mapping[str, Mapping[str, Any]], evaluated: Evaluated
) -> Table:
    present = [c for c in COLUMNS if any(c in groups[TYPE + name] for name in classes.names)]
    rows = []
    for name in classes.names:
        values = groups[TYPE + name]
        shown = [
            "-" if (value := values.get(c)) is None
            else f"{value:,.0f}" if c in HEADS else f"{value:.3f}"
            for c in present
        ]  # fmt: skip
        rows.append([name, *shown])
    head = ["type", *(HEADS.get(c, c) for c in present)]
    caption = f"By type on {evaluated.name}; AP ranks by the chance of cell and type"
    return Table(caption, head, rows, range(1, len(head)))


def plot_confusion(table: np.ndarray, names: Sequence[str]) -> Figure:
    """The confusion matrix (K + 1, K + 1) of `evaluation.types.confusion_matrix`, numbers in it."""
    count = len(names)
    total = np.maximum(table.sum(axis=1, keepdims=True), 1)
    shares = table / total
    shares[-1] = 0  # what was invented is no share of anything
    plot = Plot("called", "true type", x_names=(*names, "missed"), y_names=(*names, "invented"),
                downward=True, grid=False, tilt=True)  # fmt: skip
    for row, column in np.ndindex(table.shape):
        number, share = int(table[row, column]), float(shares[row, column])
        plot.boxes(column - 0.5, column + 0.5, row - 0.5, row + 0.5, Style(_blue(share)))
        if (row, column) != (count, count):
            ink = "#ffffff" if share > 0.55 else INK if number else GREY
            both = bool(number) and row < count
            plot.write(column, row - 0.17 * both, f"{number:,}", ink)
            if both:
                plot.write(column, row + 0.17, f"{share:.0%}", ink)
    for edge in (plot.horizontal, plot.vertical):
        edge(count - 0.5, Style(GREY, 1))
    side = 120 + 70 * (count + 1)
    chart = Chart([plot], max(480, side + 115), max(330, side))
    return embed(
        chart,
        "Confusion matrix: rows are true types, columns what the model calls them; "
        + "; ".join(
            f"{name}: {table[k, k]} of {table[k].sum()} right" for k, name in enumerate(names)
        )
        + ".",
        "How to read it: a row is a true type, with the share of its cells that is called so; the "
        "diagonal is right. The last column are cells that were missed, the last row outlines "
        "where no cell is. Cells of unknown type are left out.",
    )


def _blue(share: float) -> str:
    """From nearly white, 0, over a light to a dark blue, 1."""
    known = np.array([(247, 251, 255), (107, 174, 214), (8, 48, 107)])
    bands = (round(float(np.interp(share, (0, 0.5, 1), known[:, band]))) for band in range(3))
    return "#" + "".join(f"{band:02x}" for band in bands)


def plot_counts(
    rows: Sequence[Mapping[str, Any]], key: str, scores: Mapping[str, float | None]
) -> Figure:
    """Predicted over true values of one figure, a point an image; ``key`` is of `FIGURES`."""
    title, unit = FIGURES[key]
    pairs = [(row[f"{key}_truth"], row[f"{key}_predicted"]) for row in rows]
    points = np.array([pair for pair in pairs if None not in pair], dtype=np.float64).reshape(-1, 2)
    top = max(float(points.max(initial=0)) * 1.08, 1.0)
    plot = Plot(f"true, {unit}", f"predicted, {unit}", title, (0, top), (0, top))
    plot.line([0, top], [0, top], Style(GREY, 1, "--"))
    plot.dots(points[:, 0], points[:, 1], Style(BLUE, alpha=0.6))
    said = [f"{len(points)} images"]
    if (error := scores.get(f"{key}_mae")) is not None:
        said.append(f"mean error {error:.2f}, bias {scores.get(f'{key}_bias') or 0:+.2f}")
    whole, true = (scores.get(f"{key}_{side}") for side in ("pooled", "pooled_truth"))
    if whole is not None and true is not None:
        said.append(f"of all images together {whole:.2f}, truth {true:.2f}")
    chart = Chart([plot], 470, 375)
    return embed(chart, f"{title}: predicted over true values.", "; ".join(said) + ".")


def _mistakes(
    evaluated: Evaluated, classes: Classes, confusion: np.ndarray, most: int
) -> list[Block]:
    """Close-ups of the commonest pairs of true and given type; [] where there are no pictures."""
    found = [
        (image_id, mistake)
        for image_id, image in evaluated.images.items()
        for mistake in image.get("mistakes", ())
    ]
    kinds = Counter((m["was"], m["called"]) for _, m in found).most_common(COMMONEST)
    if not kinds:
        return []
    blocks: list[Block] = [
        Heading("The commonest mistakes"),
        Text("Ground truth left, prediction right, each in the colour of its type."),
        Key({name: classes.colour(k) for k, name in enumerate(classes.names)}),
    ]
    for (was, called), number in kinds:
        figures: list[Figure] = []
        for image_id, mistake in found:
            if len(figures) == most:
                break
            if (mistake["was"], mistake["called"]) != (was, called):
                continue
            try:
                figures.append(_mistake(see(evaluated, image_id), mistake, classes))
            except (FileNotFoundError, ValueError):
                continue
        total = int(confusion[was].sum())
        names = classes.names
        blocks.append(
            Heading(f"{names[was]} called {names[called]}: {number} of {total:,} {names[was]}")
        )
        if figures:
            blocks.append(Grid("crops", figures))
    return blocks


def _mistake(image: SeenImage, mistake: Mapping[str, int], classes: Classes) -> Figure:
    """One cell close up, true type left, given type right."""
    sides = (
        (image.truth, [mistake["truth"]], mistake["was"]),
        (image.prediction, [mistake["prediction"]], mistake["called"]),
    )
    box = event_box([(cells, members) for cells, members, _ in sides])
    window = crop_window(box, image.pixels.shape[:2])
    left, right = (
        close_up(image.pixels, window, cells, members, classes.colour(k))
        for cells, members, k in sides
    )
    gap = np.full((left.shape[0], 8, 3), 255, dtype=np.uint8)
    was, called = classes.names[mistake["was"]], classes.names[mistake["called"]]
    name, (x0, y0, x1, y1) = Path(image.name).stem, window
    short = name if len(name) <= 16 else f"{name[:8]}…"
    return jpeg_figure(
        np.hstack([left, gap, right]),
        f"A cell whose type is {was}, called {called}; ground truth left, prediction right.",
        f"{was}, called {called}. {short}, x {x0} to {x1}, y {y0} to {y1} px",
        width=CROP_WIDTH,
    )
