"""The plots of a run's report, each with what is on it and how to read it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bccd_d2.evaluation.coco import IOU_THRESHOLDS, RECALL_POINTS
from bccd_d2.report.chart import Chart, Plot
from bccd_d2.report.drawing import MARKERS, Style
from bccd_d2.report.page import BLUE, COLOURS, GREEN, GREY, ORANGE, SKY, Figure, embed

Rows = Sequence[Mapping[str, Any]]
VALIDATION_SCORES = {
    "segm/AP": "mask AP",
    "segm/AP50": "mask AP50",
    "instances/F1@.5": "F1",
    "instances/PQ": "PQ",
    "pixels/Dice": "Dice",
}
IMAGE_SCORES = {"F1@.5": "F1", "PQ": "PQ", "SQ": "mean IoU", "pixel_Dice": "Dice"}


def series(log: Rows, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Iterations and values of one logged number; empty where it was never logged."""
    points = [(row["iteration"], row[name]) for row in log if name in row]
    table = np.array(points, dtype=np.float64).reshape(-1, 2)
    return table[:, 0], table[:, 1]


def loss_names(log: Rows) -> list[str]:
    """The parts of the training loss, as logged."""
    names = {name for row in log for name in row if name.startswith("loss_")}
    return sorted(names)


def plot_losses(log: Rows) -> Figure:
    """Total loss of training and validation over iterations, and the training loss's parts."""
    left = Plot("iteration", "total loss", "Training and validation", y_range=(0, None))
    left.line(*series(log, "total_loss"), Style(BLUE), "training")
    x, y = series(log, "validation/total_loss")
    if x.size:
        left.line(x, y, Style(ORANGE, dash="--", marker="s"), "validation")
    right = Plot("iteration", "loss", "Parts of the training loss", y_range=(0, None))
    dashes = ("-", "--", "-.", ":")
    for number, name in enumerate(loss_names(log)):
        style = Style(COLOURS[number % len(COLOURS)], dash=dashes[number % len(dashes)])
        right.line(*series(log, name), style, name.removeprefix("loss_"))
    parts = ", ".join(name.removeprefix("loss_") for name in loss_names(log))
    return embed(
        Chart([left, right], 960, 375),
        "Two line plots over iterations: total loss of training and validation; parts of the "
        f"training loss ({parts}).",
        "How to read it: losses should fall together. A validation loss that turns upward while "
        "the training loss falls means that the model learns its images by heart.",
    )


def plot_scores_over_time(log: Rows) -> Figure:
    """Validation scores over iterations, and the count error beside them."""
    left = Plot("iteration", "score", "Validation scores", y_range=(0, 1.01))
    for number, (name, title) in enumerate(VALIDATION_SCORES.items()):
        x, y = series(log, name)
        if x.size:
            left.line(x, y, Style(COLOURS[number], marker=MARKERS[number]), title)
    right = Plot("iteration", "cells per image", "Validation count error", y_range=(0, None))
    right.line(*series(log, "instances/count_mae"), Style(BLUE, marker="o"))
    best = max((row for row in log if "segm/AP" in row), key=lambda row: row["segm/AP"])
    return embed(
        Chart([left, right], 960, 375, (2, 1)),
        "Two line plots over iterations: scores on validation, and the count error.",
        "How to read it: scores on validation images, in [0, 1], should rise and level off; still "
        "rising at the end, longer training would help. Best mask AP "
        f"{best['segm/AP']:.3f} at iteration {best['iteration']:,}.",
    )


def plot_precision_recall(precision: np.ndarray) -> Figure:
    """Precision over recall of masks, a line an IoU threshold; ``precision`` is (10, 101)."""
    plot = Plot("recall: share of true cells found", "precision", x_range=(0, 1), y_range=(0, 1.01))
    colours = _cividis(np.linspace(0, 0.92, len(precision)))
    for level, row, colour in zip(IOU_THRESHOLDS, precision, colours, strict=True):
        bold = round(float(level), 2) in (0.5, 0.75)
        style = Style(colour, 2.6 if bold else 1.2)
        plot.line(RECALL_POINTS, row, style, f"{level:.2f}: AP {np.mean(row):.3f}")
    return embed(
        Chart([plot], 770, 420, legend="right", legend_title="IoU at least"),
        "Precision over recall of masks, one line for each IoU from .50 to .95.",
        "How to read it: going right, cells of lower and lower score are let in. A line that "
        "stays high until far right is good; where it drops to 0, no more true cells were "
        "found. Mask AP is the mean height of all ten lines.",
    )


def _cividis(at: np.ndarray) -> list[str]:
    """Colours from dark blue, 0, to yellow, 1, whose lightness rises evenly."""
    known = np.array([(0, 32, 76), (63, 76, 107), (123, 122, 119), (185, 172, 112), (255, 234, 70)])
    mixed = np.stack([np.interp(at, np.linspace(0, 1, 5), known[:, band]) for band in range(3)], 1)
    return [f"#{r:02x}{g:02x}{b:02x}" for r, g, b in mixed.round().astype(int)]


def plot_sweep(sweep: Mapping[str, Any], threshold: float) -> Figure:
    """F1, precision, recall and PQ over the score threshold; count error; the operating point."""
    left = Plot("score threshold", "score", x_range=(0, 1), y_range=(0, 1.01))
    styles = {"f1": ("F1", BLUE, "-"), "precision": ("precision", GREEN, "--"),
              "recall": ("recall", ORANGE, "-."), "pq": ("PQ", GREY, ":")}  # fmt: skip
    for name, (title, colour, dash) in styles.items():
        left.line(sweep["thresholds"], sweep[name], Style(colour, dash=dash), title)
    largest = float(np.max(np.abs([sweep["count_mae"], sweep["count_bias"]])))
    near = np.abs(np.array(sweep["thresholds"]) - threshold) <= 0.25
    some = [
        np.abs(np.array(sweep[key])[near]).max(initial=0) for key in ("count_mae", "count_bias")
    ]
    limit = min(largest, 4 * max(1.0, *some)) * 1.05
    right = Plot("score threshold", "cells per image", x_range=(0, 1), y_range=(-limit, limit))
    too_many = Style(ORANGE, dash="--")
    right.line(sweep["thresholds"], sweep["count_mae"], Style(BLUE), "mean |error|")
    right.line(sweep["thresholds"], sweep["count_bias"], too_many, "mean error (too many: above 0)")
    right.horizontal(0, Style(GREY, 0.8))
    for plot in (left, right):
        plot.vertical(threshold, Style("#000000", 1), f"operating point {threshold:.2f}")
    return embed(
        Chart([left, right], 960, 375),
        "F1, precision, recall, PQ and count error over the score threshold, with a vertical "
        f"line at the operating point {threshold:.2f}.",
        "How to read it: right of the line fewer cells are reported and more of them are true. "
        "A flat F1 round the line means that the exact threshold matters little.",
    )


def plot_reliability(table: Mapping[str, Any]) -> Figure:
    """The share of predicted cells that match, by their score, and how many cells that rests on.

    Args:
        table: the fields of `calibration.Reliability`.
    """
    edges, counts, confidence, matched = (
        np.array(table[name]) for name in ("edges", "counts", "confidence", "matched")
    )
    upper = Plot("", "share matched at IoU .5", x_range=(0, 1), y_range=(0, 1.01))
    middles, width = (edges[:-1] + edges[1:]) / 2, 0.92 * np.diff(edges)
    some = counts > 0
    low, high = middles - width / 2, middles + width / 2
    bars = Style(SKY, 1, edge=BLUE)
    upper.boxes(low[some], high[some], 0, matched[some], bars, "share that matches a true cell")
    upper.line([0, 1], [0, 1], Style(GREY, dash="--"), "score = share")
    upper.dots(confidence[some], matched[some], Style(ORANGE), "at mean score")
    lower = Plot("score", "cells", x_range=(0, 1), y_range=(0, None))
    lower.boxes(low, high, 0, counts, Style(GREY))
    return embed(
        Chart([upper, lower], 615, 440, (3, 1.2), stacked=True),
        "Share of predicted cells that match a true cell, by score in ten bins, and the "
        "number of cells in each bin.",
        "How to read it: bars at the dashed line mean that of cells with score .8 four in "
        "five are true. Bars above it: the model is too modest; below: too sure. Bins of "
        "few cells say little.",
    )


def plot_counts(truth: np.ndarray, predicted: np.ndarray) -> Figure:
    """Predicted over true number of cells, a dot an image; (N,) each."""
    top = 1.05 * max(1.0, np.max(truth, initial=0), np.max(predicted, initial=0))
    plot = Plot("true cells per image", "predicted cells per image", x_range=(0, top),
                y_range=(0, top), equal=True)  # fmt: skip
    ends = np.array([0, top / 1.1, top])
    plot.area(ends, 0.9 * ends, np.minimum(1.1 * ends, top), Style(GREY, alpha=0.15), "within 10%")
    plot.line([0, top], [0, top], Style(GREY, 1, "--"), "equal")
    plot.dots(truth, predicted, Style(BLUE, 0.6, alpha=0.75, edge="#ffffff"))
    close = int((np.abs(predicted - truth) <= 0.1 * truth).sum())
    return embed(
        Chart([plot], 540, 440),
        "Scatter plot of predicted over true number of cells, a dot an image.",
        f"How to read it: dots on the dashed line are counted right, below it too few cells. "
        f"{close} of {len(truth)} images are within 10%.",
    )


def plot_per_image(rows: Rows) -> Figure:
    """A dot an image for each of `IMAGE_SCORES`, with a box over the middle half."""
    names = tuple(IMAGE_SCORES.values())
    plot = Plot("score of an image", x_range=(None, 1.01), y_names=names, downward=True)
    rng = np.random.default_rng(0)
    for place, name in enumerate(IMAGE_SCORES):
        values = np.array([row[name] for row in rows])
        low, first, median, third, high = np.percentile(values, (0, 25, 50, 75, 100))
        plot.line([low, high], [place, place], Style(GREY, 1))
        plot.boxes(first, third, place - 0.25, place + 0.25, Style("#ffffff", 1, edge=GREY))
        plot.line([median, median], [place - 0.25, place + 0.25], Style("#000000"))
        shift = rng.uniform(-0.16, 0.16, len(values))
        plot.dots(values, place + shift, Style(COLOURS[place % len(COLOURS)], size=5, alpha=0.7))
    return embed(
        Chart([plot], 540, 440),
        "F1, PQ, mean IoU of found cells and pixel Dice of every image, with quartiles.",
        "How to read it: a dot an image; the box holds the middle half of the images. Dots far "
        "left are the images to look at below.",
    )


def plot_matched_iou(counts: Sequence[int], median: float) -> Figure:
    """How well the outlines of found cells agree: a histogram of their IoU, from .5 to 1."""
    plot = Plot("IoU of a found cell with the true one", "cells", x_range=(0.5, 1),
                y_range=(0, None))  # fmt: skip
    edges = np.linspace(0.5, 1, len(counts) + 1)
    plot.boxes(edges[:-1], edges[1:], 0, counts, Style(SKY, 1, edge=BLUE))
    plot.vertical(median, Style(ORANGE, dash="--"), f"median {median:.3f}")
    return embed(
        Chart([plot], 615, 290),
        "Histogram of the IoU of found cells with their true cells.",
        "How to read it: cells left of .75 are found but outlined roughly; they cost AP75 and "
        "PQ, not F1.",
    )
