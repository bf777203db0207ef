"""The plots of a run's report, each with what is on it and how to read it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np

from bccd_d2.evaluation.coco import IOU_THRESHOLDS, RECALL_POINTS
from bccd_d2.report.page import (
    BLUE,
    COLOURS,
    GREEN,
    GREY,
    MARKERS,
    ORANGE,
    SKY,
    Figure,
    canvas,
    embed,
    tidy,
)

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
    figure = canvas(10, 3.9)
    left, right = figure.subplots(1, 2)
    x, y = series(log, "total_loss")
    left.plot(x, y, color=BLUE, linewidth=1.6, label="training")
    x, y = series(log, "validation/total_loss")
    if x.size:
        left.plot(x, y, color=ORANGE, marker="s", linestyle="--", label="validation")
    tidy(left, "iteration", "total loss").set_ylim(bottom=0)
    left.set_title("Training and validation")
    left.legend(frameon=False)
    styles = ("-", "--", "-.", ":")
    for number, name in enumerate(loss_names(log)):
        x, y = series(log, name)
        colour = COLOURS[number % len(COLOURS)]
        style = styles[number % len(styles)]
        right.plot(x, y, color=colour, linestyle=style, label=name.removeprefix("loss_"))
    tidy(right, "iteration", "loss").set_ylim(bottom=0)
    right.set_title("Parts of the training loss")
    if loss_names(log):
        right.legend(frameon=False)
    parts = ", ".join(name.removeprefix("loss_") for name in loss_names(log))
    return embed(
        figure,
        "Two line plots over iterations: total loss of training and validation; parts of the "
        f"training loss ({parts}).",
        "How to read it: losses should fall together. A validation loss that turns upward while "
        "the training loss falls means that the model learns its images by heart.",
    )


def plot_scores_over_time(log: Rows) -> Figure:
    """Validation scores over iterations, and the count error beside them."""
    figure = canvas(10, 3.9)
    left, right = figure.subplots(1, 2, width_ratios=(2, 1))
    for number, (name, title) in enumerate(VALIDATION_SCORES.items()):
        x, y = series(log, name)
        if x.size:
            left.plot(x, y, color=COLOURS[number], marker=MARKERS[number], label=title)
    tidy(left, "iteration", "score").set_ylim(0, 1.01)
    left.set_title("Validation scores")
    left.legend(frameon=False, ncols=2)
    x, y = series(log, "instances/count_mae")
    right.plot(x, y, color=BLUE, marker="o")
    tidy(right, "iteration", "cells per image").set_ylim(bottom=0)
    right.set_title("Validation count error")
    best = max((row for row in log if "segm/AP" in row), key=lambda row: row["segm/AP"])
    return embed(
        figure,
        "Two line plots over iterations: scores on validation, and the count error.",
        "How to read it: scores on validation images, in [0, 1], should rise and level off; still "
        "rising at the end, longer training would help. Best mask AP "
        f"{best['segm/AP']:.3f} at iteration {best['iteration']:,}.",
    )


def plot_precision_recall(precision: np.ndarray) -> Figure:
    """Precision over recall of masks, a line an IoU threshold; ``precision`` is (10, 101)."""
    figure = canvas(8, 4.4)
    axes = figure.subplots()
    colours = matplotlib.colormaps["cividis"](np.linspace(0, 0.92, len(precision)))
    for level, row, colour in zip(IOU_THRESHOLDS, precision, colours, strict=True):
        bold = round(float(level), 2) in (0.5, 0.75)
        label = f"{level:.2f}: AP {np.mean(row):.3f}"
        axes.plot(RECALL_POINTS, row, color=colour, linewidth=2.4 if bold else 1.1, label=label)
    tidy(axes, "recall: share of true cells found", "precision", unit_square=True)
    figure.legend(frameon=False, title="IoU at least", loc="outside right center")
    return embed(
        figure,
        "Precision over recall of masks, one line for each IoU from .50 to .95.",
        "How to read it: going right, cells of lower and lower score are let in. A line that "
        "stays high until far right is good; where it drops to 0, no more true cells were "
        "found. Mask AP is the mean height of all ten lines.",
    )


def plot_sweep(sweep: Mapping[str, Any], threshold: float) -> Figure:
    """F1, precision, recall and PQ over the score threshold; count error; the operating point."""
    figure = canvas(10, 3.9)
    left, right = figure.subplots(1, 2)
    styles = {"f1": ("F1", BLUE, "-"), "precision": ("precision", GREEN, "--"),
              "recall": ("recall", ORANGE, "-."), "pq": ("PQ", GREY, ":")}  # fmt: skip
    for name, (title, colour, style) in styles.items():
        left.plot(sweep["thresholds"], sweep[name], color=colour, linestyle=style, label=title)
    tidy(left, "score threshold", "score", unit_square=True)
    right.plot(sweep["thresholds"], sweep["count_mae"], color=BLUE, label="mean |error|")
    right.plot(
        sweep["thresholds"], sweep["count_bias"], color=ORANGE, linestyle="--",
        label="mean error (too many: above 0)",
    )  # fmt: skip
    tidy(right, "score threshold", "cells per image")
    right.axhline(0, color=GREY, linewidth=0.8)
    right.set_xlim(0, 1)
    largest = float(np.max(np.abs([sweep["count_mae"], sweep["count_bias"]])))
    near = np.abs(np.array(sweep["thresholds"]) - threshold) <= 0.25
    some = [
        np.abs(np.array(sweep[key])[near]).max(initial=0) for key in ("count_mae", "count_bias")
    ]
    limit = min(largest, 4 * max(1.0, *some)) * 1.05
    right.set_ylim(-limit, limit)
    for axes in (left, right):
        axes.axvline(
            threshold, color="black", linewidth=1, label=f"operating point {threshold:.2f}"
        )
        axes.legend(frameon=False, fontsize="small")
    return embed(
        figure,
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
    figure = canvas(6.4, 4.6)
    upper, lower = figure.subplots(2, 1, height_ratios=(3, 1), sharex=True)
    middles, width = (edges[:-1] + edges[1:]) / 2, np.diff(edges)
    some = counts > 0
    upper.bar(
        middles[some], matched[some], 0.92 * width[some], color=SKY, edgecolor=BLUE,
        label="share that matches a true cell",
    )  # fmt: skip
    upper.plot([0, 1], [0, 1], color=GREY, linestyle="--", label="score = share")
    upper.plot(
        confidence[some], matched[some], "o", color=ORANGE, label="at mean score"
    )
    tidy(upper, "", "share matched at IoU .5", unit_square=True)
    upper.legend(frameon=False, fontsize="small", loc="upper left")
    lower.bar(middles, counts, 0.92 * width, color=GREY)
    tidy(lower, "score", "cells")
    return embed(
        figure,
        "Share of predicted cells that match a true cell, by score in ten bins, and the "
        "number of cells in each bin.",
        "How to read it: bars at the dashed line mean that of cells with score .8 four in "
        "five are true. Bars above it: the model is too modest; below: too sure. Bins of "
        "few cells say little.",
    )


def plot_counts(truth: np.ndarray, predicted: np.ndarray) -> Figure:
    """Predicted over true number of cells, a dot an image; (N,) each."""
    figure = canvas(5.6, 4.6)
    axes = figure.subplots()
    top = 1.05 * max(1.0, np.max(truth, initial=0), np.max(predicted, initial=0))
    axes.fill_between([0, top], [0, 0.9 * top], [0, 1.1 * top], color=GREY, alpha=0.15, linewidth=0,
                      label="within 10%")  # fmt: skip
    axes.plot([0, top], [0, top], color=GREY, linestyle="--", linewidth=1, label="equal")
    axes.scatter(truth, predicted, s=30, color=BLUE, alpha=0.75, edgecolors="white", linewidths=0.6)
    tidy(axes, "true cells per image", "predicted cells per image")
    axes.set_xlim(0, top)
    axes.set_ylim(0, top)
    axes.set_aspect("equal")
    axes.legend(frameon=False, fontsize="small", loc="upper left")
    close = int((np.abs(predicted - truth) <= 0.1 * truth).sum())
    return embed(
        figure,
        "Scatter plot of predicted over true number of cells, a dot an image.",
        f"How to read it: dots on the dashed line are counted right, below it too few cells. "
        f"{close} of {len(truth)} images are within 10%.",
    )


def plot_per_image(rows: Rows) -> Figure:
    """A dot an image for each of `IMAGE_SCORES`, with a box over the middle half."""
    figure = canvas(5.6, 4.6)
    axes = figure.subplots()
    rng = np.random.default_rng(0)
    for place, name in enumerate(IMAGE_SCORES):
        values = np.array([row[name] for row in rows])
        colour = COLOURS[place % len(COLOURS)]
        low, first, median, third, high = np.percentile(values, (0, 25, 50, 75, 100))
        axes.plot([low, high], [place, place], color=GREY, linewidth=1)
        axes.barh(place, third - first, 0.5, first, color="white", edgecolor=GREY)
        axes.plot([median, median], [place - 0.25, place + 0.25], color="black")
        shift = rng.uniform(-0.16, 0.16, len(values))
        axes.scatter(values, place + shift, s=18, color=colour, alpha=0.7, linewidths=0, zorder=3)
    axes.set_yticks(range(len(IMAGE_SCORES)), list(IMAGE_SCORES.values()))
    axes.invert_yaxis()
    tidy(axes, "score of an image", "").set_xlim(right=1.01)
    return embed(
        figure,
        "F1, PQ, mean IoU of found cells and pixel Dice of every image, with quartiles.",
        "How to read it: a dot an image; the box holds the middle half of the images. Dots far "
        "left are the images to look at below.",
    )


def plot_matched_iou(counts: Sequence[int], median: float) -> Figure:
    """How well the outlines of found cells agree: a histogram of their IoU, from .5 to 1."""
    figure = canvas(6.4, 3.0)
    axes = figure.subplots()
    edges = np.linspace(0.5, 1, len(counts) + 1)
    axes.bar(edges[:-1], counts, np.diff(edges), align="edge", color=SKY, edgecolor=BLUE)
    axes.axvline(median, color=ORANGE, linestyle="--", label=f"median {median:.3f}")
    axes.legend(frameon=False, loc="upper left")
    tidy(axes, "IoU of a found cell with the true one", "cells").set_xlim(0.5, 1)
    return embed(
        figure,
        "Histogram of the IoU of found cells with their true cells.",
        "How to read it: cells left of .75 are found but outlined roughly; they cost AP75 and "
        "PQ, not F1.",
    )
