"""The types of a run's report: scores by class, what is called what, counts of a lab, mistakes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bccd_d2.evaluation.table import TYPE
from bccd_d2.masks.classes import Classes
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
    canvas,
    embed,
    jpeg_figure,
    tidy,
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
    side = 1.5 + 0.72 * (count + 1)
    figure = canvas(max(5.0, side + 1.2), max(3.4, side))
    axes = figure.subplots()
    total = np.maximum(table.sum(axis=1, keepdims=True), 1)
    shares = table / total
    shares[-1] = 0  # what was invented is no share of anything
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for row, column in np.ndindex(table.shape):
        if (row, column) != (count, count):
            number, share = table[row, column], shares[row, column]
            text = f"{number:,}\n{share:.0%}" if number and row < count else f"{number:,}"
            ink = "white" if share > 0.55 else "black" if number else GREY
            axes.text(column, row, text, ha="center", va="center", fontsize=9, color=ink)
    axes.set_xticks(range(count + 1), [*names, "missed"], rotation=30, ha="right")
    axes.set_yticks(range(count + 1), [*names, "invented"])
    axes.set_xlabel("called")
    axes.set_ylabel("true type")
    axes.axhline(count - 0.5, color=GREY, linewidth=1)
    axes.axvline(count - 0.5, color=GREY, linewidth=1)
    for spine in axes.spines.values():
        spine.set_visible(False)
    return embed(
        figure,
        "Confusion matrix: rows are true types, columns what the model calls them; "
        + "; ".join(
            f"{name}: {table[k, k]} of {table[k].sum()} right" for k, name in enumerate(names)
        )
        + ".",
        "How to read it: a row is a true type, with the share of its cells that is called so; the "
        "diagonal is right. The last column are cells that were missed, the last row outlines "
        "where no cell is. Cells of unknown type are left out.",
    )


def plot_counts(
    rows: Sequence[Mapping[str, Any]], key: str, scores: Mapping[str, float | None]
) -> Figure:
    """Predicted over true values of one figure, a point an image; ``key`` is of `FIGURES`."""
    title, unit = FIGURES[key]
    pairs = [(row[f"{key}_truth"], row[f"{key}_predicted"]) for row in rows]
    points = np.array([pair for pair in pairs if None not in pair], dtype=np.float64).reshape(-1, 2)
    figure = canvas(4.9, 3.9)
    axes = figure.subplots()
    top = max(float(points.max(initial=0)) * 1.08, 1.0)
    axes.plot([0, top], [0, top], color=GREY, linestyle="--", linewidth=1)
    axes.scatter(points[:, 0], points[:, 1], color=BLUE, s=26, alpha=0.6, edgecolors="none")
    tidy(axes, f"true, {unit}", f"predicted, {unit}").set(xlim=(0, top), ylim=(0, top))
    axes.set_title(title)
    said = [f"{len(points)} images"]
    if (error := scores.get(f"{key}_mae")) is not None:
        said.append(f"mean error {error:.2f}, bias {scores.get(f'{key}_bias') or 0:+.2f}")
    whole, true = (scores.get(f"{key}_{side}") for side in ("pooled", "pooled_truth"))
    if whole is not None and true is not None:
        said.append(f"of all images together {whole:.2f}, truth {true:.2f}")
    return embed(figure, f"{title}: predicted over true values.", "; ".join(said) + ".")


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
