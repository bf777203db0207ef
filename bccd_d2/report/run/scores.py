"""The sections of a run's report about its scores: tables, curves, threshold, counts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from bccd_d2.evaluation.table import NO_CELLS
from bccd_d2.report.page import Block, Fact, Facts, Grid, Section, Table, Text
from bccd_d2.report.plotting import embed
from bccd_d2.report.run import plots as run_plots
from bccd_d2.report.run.analysis import Analysis
from bccd_d2.report.run.files import Evaluated, RunFiles

SCORES = (  # title, group, score, what it is
    ("mask AP", "segm", "AP", "COCO average precision, mean over IoU .50 to .95"),
    ("mask AP50", "segm", "AP50", "the same at IoU .50"),
    ("mask AP75", "segm", "AP75", "the same at IoU .75"),
    ("box AP", "bbox", "AP", "COCO average precision of bounding boxes"),
    ("box AP50", "bbox", "AP50", "the same at IoU .50"),
    ("mean recall of boxes", "bbox", "AR", "share of true boxes found, mean over IoU .50 to .95"),
    ("box F1", "boxes", "F1@.5", "boxes found at IoU .50, precision and recall in one"),
    ("box precision", "boxes", "precision@.5", "share of predicted boxes that are true"),
    ("box recall", "boxes", "recall@.5", "share of true boxes that were found"),
    ("count error", "boxes", "count_mae", "mean |predicted - true|, boxes an image"),
    ("count bias", "boxes", "count_bias", "mean predicted - true, boxes an image"),
    ("points found", "points", "recall", "share of points that lie in an outline"),
    ("points alone", "points", "alone", "share of points in one outline that holds no other"),
    ("points merged", "points", "merged", "share of points in an outline with several"),
    ("points split", "points", "split", "share of points that lie in several outlines"),
    ("points missed", "points", "missed", "share of points that lie in none"),
    ("outlines without a point", "points", "spurious", "share of all outlines"),
    ("count error", "points", "count_mae", "mean |outlines - points| an image"),
    ("count bias", "points", "count_bias", "mean outlines - points an image"),
    ("F1", "instances", "F1@.5", "cells found at IoU .50, precision and recall in one"),
    ("precision", "instances", "precision@.5", "share of predicted cells that are true"),
    ("recall", "instances", "recall@.5", "share of true cells that were found"),
    ("PQ", "instances", "PQ", "panoptic quality: F1 times the mean IoU of found cells"),
    ("mean IoU", "instances", "SQ", "of found cells with the true ones"),
    ("F1 at IoU .75", "instances", "F1@.75", "as F1, with stricter outlines"),
    ("interior F1", "interior", "F1@.5", "without cells at the image's border"),
    ("interior PQ", "interior", "PQ", "without cells at the image's border"),
    ("count error", "instances", "count_mae", "mean |predicted - true|, cells an image"),
    ("count bias", "instances", "count_bias", "mean predicted - true, cells an image"),
    ("relative count error", "instances", "count_relative_error", "mean error / true count"),
    ("pixel Dice", "pixels", "Dice", "of cell pixels against background; blind to merged cells"),
    ("pixel IoU", "pixels", "IoU", "of cell pixels against background"),
)
GLANCE = (
    ("mask AP", "segm", "AP"),
    ("mask AP50", "segm", "AP50"),
    ("F1 at IoU .5", "instances", "F1@.5"),
    ("PQ", "instances", "PQ"),
    ("count error", "instances", "count_mae"),
    ("pixel Dice", "pixels", "Dice"),
)
GLANCE_BY_KIND = {
    "masks": GLANCE,
    "boxes": (
        ("box F1 at IoU .5", "boxes", "F1@.5"),
        ("box recall", "boxes", "recall@.5"),
        ("box AP50", "bbox", "AP50"),
        ("count error", "boxes", "count_mae"),
    ),
    "points": (
        ("points alone", "points", "alone"),
        ("points merged", "points", "merged"),
        ("points missed", "points", "missed"),
    ),
}
NO_BOX_NUMBERS = ("AP50", "AR")  # of boxes, which masks make superfluous
IN_CELLS = ("count_mae", "count_bias")


def number(score: str, value: float | None) -> str:
    """A score as text: three digits in [0, 1], two for cells an image; "no cells" for None."""
    if value is None:
        return NO_CELLS
    if score == "count_bias":
        return f"{value:+.2f}"
    return f"{value:.2f}" if score in IN_CELLS else f"{value:.3f}"


def interval(score: str, bounds: tuple[float, float] | None) -> str:
    """An interval as text, "" for none."""
    return "" if bounds is None else " to ".join(number(score, value) for value in bounds)


def scores(run: RunFiles, evaluated: Evaluated, analysis: Analysis | None) -> Section:
    """The table of scores with intervals, and precision over recall."""
    found: Mapping[str, Mapping[str, Any]] = evaluated.scores["scores"]
    rows, notes = [], []
    for title, group, score, meaning in SCORES:
        superfluous = "segm" in found and group == "bbox" and score in NO_BOX_NUMBERS
        if score in found.get(group, {}) and not superfluous:
            bounds = analysis.intervals.get(group, {}).get(score) if analysis else None
            text = number(score, found[group][score])
            rows.append([title, text, interval(score, bounds)])
            notes.append(meaning)
    head = ["score", "value", "95% interval"]
    images = int(evaluated.scores["images"])
    section = Section("scores", "Scores")
    blocks: list[Block] = [
        Table(f"Scores on {evaluated.name}, {images} images", head, rows, (1, 2), notes)
    ]
    if analysis:
        small = " With so few images the intervals are too narrow." if images < 20 else ""
        blocks.append(Text(
            "Intervals: bootstrap over images, 1,000 draws. They say how far a score would move "
            "with other images of the same kind, not with another training." + small, "note",
        ))  # fmt: skip
    else:
        blocks.append(Text("No intervals. " + run.absent.get("dataset", ""), "absent"))
    masks = found.get("segm", {})
    bins = [
        [size, f"{masks[f'AP_{size}']:.3f}", f"{masks[f'AR_{size}']:.3f}"]
        for size in ("small", "medium", "large")
        if masks.get(f"AP_{size}") is not None
    ]
    if bins:
        caption = "By size: a third each of the training cells, by area"
        blocks.append(Table(caption, ["cells", "mask AP", "mask AR"], bins, (1, 2)))
    curves = evaluated.scores.get("precision_curves", {}).get("segm")
    if curves is not None:
        blocks.append(embed(
            run_plots.plot_precision_recall(np.array(curves)),
            "Precision over recall of masks, one line for each IoU from .50 to .95.",
            "How to read it: going right, cells of lower and lower score are let in. A line that "
            "stays high until far right is good; where it drops to 0, no more true cells were "
            "found. Mask AP is the mean height of all ten lines.",
        ))  # fmt: skip
    section.blocks += blocks
    others = [name for name in run.summary.get("datasets", ()) if name != evaluated.name]
    if others:
        text = f"Also evaluated: {', '.join(others)}; choose one with --split."
        section.blocks.append(Text(text, "note"))
    return section


def operating_point(run: RunFiles) -> Section:
    """How scores depend on the threshold, and which threshold is used."""
    section = Section("threshold", "Score threshold")
    if run.sweep is None:
        section.blocks.append(Text(run.absent["sweep"], "absent"))
        return section
    point = run.summary.get("operating_point") or {
        "score_threshold": run.sweep["chosen"], "origin": run.sweep["origin"],
    }  # fmt: skip
    threshold, origin = float(point["score_threshold"]), point["origin"]
    text = (
        f"Cells count from score {threshold:.2f}, the default: nothing was chosen for this model."
    )
    if origin != "default":
        text = (
            f"Cells count from score {threshold:.2f}, chosen on {origin}: best F1, and among "
            "equals the least count error."
        )
    if origin != run.sweep["origin"]:
        text += f" The curves are of another state of the model, {run.sweep['origin']}."
    section.blocks += [
        Text(text),
        embed(
            run_plots.plot_sweep(run.sweep, threshold),
            "F1, precision, recall, PQ and count error over the score threshold, with a vertical "
            f"line at the operating point {threshold:.2f}.",
            "How to read it: right of the line fewer cells are reported and more of them are true. "
            "A flat F1 round the line means that the exact threshold matters little.",
        ),
    ]
    return section


def calibration_and_counts(evaluated: Evaluated, analysis: Analysis | None) -> list[Section]:
    """Whether scores mean what they say, counts, and the spread over images."""
    calibration = Section("calibration", "Calibration")
    if analysis is None:
        calibration.blocks.append(Text("No calibration: it needs the true cells.", "absent"))
    elif not analysis.reliability.counts.sum():
        calibration.blocks.append(Text("No calibration: the model predicted no cell.", "absent"))
    else:
        table = analysis.reliability
        calibration.blocks += [
            Facts([Fact("expected calibration error", f"{table.error:.3f}",
                        "mean |score - share matched|; 0 is perfect")]),
            embed(
                run_plots.plot_reliability(table),
                "Share of predicted cells that match a true cell, by score in ten bins, and the "
                "number of cells in each bin.",
                "How to read it: bars at the dashed line mean that of cells with score .8 four in "
                "five are true. Bars above it: the model is too modest; below: too sure. Bins of "
                "few cells say little.",
            ),
        ]  # fmt: skip
    counts = Section("counts", "Counts and images")
    rows = [row for row in evaluated.per_image if row.get("F1@.5") is not None]
    if evaluated.kind != "masks" or (evaluated.per_image and not rows):
        text = "No plots by image: they show masks, and images with cells."
        counts.blocks.append(Text(text, "absent"))
        return [calibration, counts]
    if not rows:
        counts.blocks.append(Text("No per_image.csv: evaluate again.", "absent"))
        return [calibration, counts]
    truth, found = (np.array([row[key] for row in rows]) for key in ("truth", "predicted"))
    close = int((np.abs(found - truth) <= 0.1 * truth).sum())
    counts.blocks.append(Grid("plots", [
        embed(
            run_plots.plot_counts(truth, found),
            "Scatter plot of predicted over true number of cells, a dot an image.",
            f"How to read it: dots on the dashed line are counted right, below it too few cells. "
            f"{close} of {len(rows)} images are within 10%.",
        ),
        embed(
            run_plots.plot_per_image(rows, {"F1@.5": "F1", "PQ": "PQ", "SQ": "mean IoU",
                                            "pixel_Dice": "Dice"}),
            "F1, PQ, mean IoU of found cells and pixel Dice of every image, with quartiles.",
            "How to read it: a dot an image; the box holds the middle half of the images. Dots far "
            "left are the images to look at below.",
        ),
    ]))  # fmt: skip
    return [calibration, counts]
