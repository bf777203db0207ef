"""The report of a run: one HTML page, the same as Markdown, and its numbers as JSON.

A view: all that costs thought was computed and stored by the evaluation.

Example:
    write_report("output/cpu_tiny_maskrcnn")  # writes report/report.html and two files beside it
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bccd_d2.evaluation.table import NO_CELLS
from bccd_d2.io.atomic import write_json_atomic
from bccd_d2.report.page import (
    Block,
    Fact,
    Facts,
    Grid,
    Listing,
    Page,
    Section,
    Table,
    Text,
    write_page,
)
from bccd_d2.report.run import plots
from bccd_d2.report.run.files import Evaluated, RunFiles, read_run, setup_rows
from bccd_d2.report.run.pictures import picture_sections
from bccd_d2.report.run.scores import GLANCE_BY_KIND, IN_CELLS, NO_BOX_NUMBERS, SCORES
from bccd_d2.report.run.types import type_section

EXAMPLES = 6


def write_report(
    folder: str | Path,
    out: str | Path | None = None,
    *,
    dataset: str | Path | None = None,
    name: str | None = None,
    examples: int = EXAMPLES,
) -> list[Path]:
    """Write report.html, report.md and metrics.json of a run; their paths.

    What a run does not hold is left out of the page with a sentence. ``metrics.json`` has the
    stored scores unchanged, their intervals, calibration and failure counts.

    Args:
        folder: ``OUTPUT_DIR`` of training, of evaluation, or of both.
        out: where to write; None is ``folder/report``.
        dataset: the converted folder, where its images are not any more where they were evaluated.
        name: which evaluated dataset, such as "bccd_test"; None takes the first.
        examples: most close-ups of each kind of failure; one image gives at most a third of them.

    Raises:
        FileNotFoundError: no such folder, or nothing in it to report.
        ValueError: a file in it is broken, ``name`` was not evaluated, or ``examples`` is below 1.
    """
    if examples < 1:
        raise ValueError(f"examples must be at least 1, got {examples}")
    run = read_run(folder, dataset, name)
    out = run.folder / "report" if out is None else Path(out)
    written = write_page(make_page(run, examples), out, "report")
    return [*written, write_json_atomic(out / "metrics.json", metrics(run), indent=1)]


def make_page(run: RunFiles, examples: int = EXAMPLES) -> Page:
    """All sections of a run's page."""
    sections = [glance(run), setup(run), training(run)]
    evaluated = run.evaluated
    if evaluated is not None:
        sections.append(scores(run, evaluated))
        if "types" in evaluated.scores:
            sections.append(type_section(evaluated, examples))
    sections.append(operating_point(run))
    if evaluated is not None:
        sections += [calibration(run, evaluated), counts(evaluated)]
        sections += picture_sections(evaluated, run.absent, examples)
    what = run.key("MODEL.META_ARCHITECTURE", "a model")
    scored = f"scored on {evaluated.name}" if evaluated else "not yet evaluated"
    trained = f"{run.log[-1]['iteration']:,} training iterations" if run.log else "no training here"
    return Page(f"Report of {run.folder.resolve().name}", f"{what}, {trained}, {scored}.", sections)


def metrics(run: RunFiles) -> dict[str, Any]:
    """The report's numbers as JSON data; parts that are not there are absent or {}."""
    found: dict[str, Any] = {
        "format_version": 1,
        "run": str(run.folder),
        "iterations": int(run.log[-1]["iteration"]) if run.log else 0,
        "operating_point": run.summary.get("operating_point", {}),
        "missing": dict(run.absent),
        "scores": {},
    }
    if run.evaluated is not None:
        found |= {
            "dataset": run.evaluated.name,
            "images": run.evaluated.scores["images"],
            "score_threshold": run.evaluated.threshold,
            "scores": run.evaluated.scores["scores"],
        }
        for name in ("intervals_95", "calibration", "failures", "types"):
            if name in run.evaluated.scores:
                found[name] = run.evaluated.scores[name]
    return found


def glance(run: RunFiles) -> Section:
    """The few numbers that say how good the model is."""
    section = Section("glance", "At a glance")
    if run.evaluated is None:
        section.blocks.append(Text(run.absent["evaluation"], "absent"))
        return section
    facts = []
    found = run.evaluated.scores["scores"]
    for title, group, score in GLANCE_BY_KIND[run.evaluated.kind]:
        if score not in found[group]:
            continue
        value = found[group][score]
        bounds = interval(score, run.evaluated.interval(group, score))
        note = f"95% interval {bounds}" if bounds else ""
        if score in IN_CELLS:
            note = "cells per image" + (f"; {note}" if note else "")
        facts.append(Fact(title, number(score, value), note))
    group = run.evaluated.kind if run.evaluated.kind in ("boxes", "points") else "instances"
    cells = int(found[group]["points" if group == "points" else "truth"])
    section.blocks += [
        Facts(facts),
        Text(
            f"On {run.evaluated.scores['images']} images with {cells:,} true cells of "
            f"{run.evaluated.name}, predicted cells counting from score "
            f"{run.evaluated.threshold:.2f}. Scores lie in [0, 1]; more is better, except for the "
            "count error."
        ),
    ]
    if stale := _stale(run):
        section.blocks.append(Text(stale, "absent"))
    return section


def _stale(run: RunFiles) -> str:
    """A warning where the model was trained on after it was evaluated; "" else."""
    weights = Path(run.summary.get("weights") or "")
    summary = run.folder / "evaluation" / "metrics.json"
    if not weights.is_file() or weights.stat().st_mtime <= summary.stat().st_mtime:
        return ""
    return (
        "The model's file is newer than these scores: they are of an earlier state of the run. "
        "Evaluate again."
    )


def setup(run: RunFiles) -> Section:
    """What was trained on what, for how long, with which versions."""
    section = Section("setup", "What was trained on what")
    section.blocks.append(Table("Data, model, training and machine", [], setup_rows(run)))
    if run.config_text:
        section.blocks.append(Listing("All config keys", run.config_text))
    return section


def training(run: RunFiles) -> Section:
    """Losses and validation scores over iterations."""
    section = Section("training", "Training")
    if not run.log:
        section.blocks.append(Text(run.absent["training"], "absent"))
        return section
    section.blocks.append(plots.plot_losses(run.log))
    if "validation" in run.absent or not any("segm/AP" in row for row in run.log):
        text = run.absent.get("validation", "No validation scores in the training log.")
        section.blocks.append(Text(text, "absent"))
        return section
    scored = [row for row in run.log if "segm/AP" in row]
    section.blocks.append(plots.plot_scores_over_time(run.log))
    names = ["iteration", *plots.VALIDATION_SCORES.values(), "count error"]
    rows = [
        [f"{row['iteration']:,}"]
        + [f"{row[k]:.3f}" if k in row else "" for k in plots.VALIDATION_SCORES]
        + [f"{row['instances/count_mae']:.2f}" if "instances/count_mae" in row else ""]
        for row in scored[-12:]
    ]
    caption = "Validation scores by iteration" + (", the last 12" if len(scored) > 12 else "")
    section.blocks.append(Table(caption, names, rows, range(1, len(names))))
    return section


def scores(run: RunFiles, evaluated: Evaluated) -> Section:
    """The table of scores with intervals, and precision over recall."""
    found: Mapping[str, Mapping[str, Any]] = evaluated.scores["scores"]
    rows, notes = [], []
    for title, group, score, meaning in SCORES:
        superfluous = "segm" in found and group == "bbox" and score in NO_BOX_NUMBERS
        if score in found.get(group, {}) and not superfluous:
            bounds = interval(score, evaluated.interval(group, score))
            rows.append([title, number(score, found[group][score]), bounds])
            notes.append(meaning)
    head = ["score", "value", "95% interval"]
    images = int(evaluated.scores["images"])
    section = Section("scores", "Scores")
    blocks: list[Block] = [
        Table(f"Scores on {evaluated.name}, {images} images", head, rows, (1, 2), notes)
    ]
    if "analysis" not in run.absent:
        small = " With so few images the intervals are too narrow." if images < 20 else ""
        blocks.append(Text(
            "Intervals: bootstrap over images, 1,000 draws. They say how far a score would move "
            "with other images of the same kind, not with another training." + small, "note",
        ))  # fmt: skip
    else:
        blocks.append(Text(run.absent["analysis"], "absent"))
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
        blocks.append(plots.plot_precision_recall(np.array(curves)))
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
    section.blocks += [Text(text), plots.plot_sweep(run.sweep, threshold)]
    return section


def calibration(run: RunFiles, evaluated: Evaluated) -> Section:
    """Whether the model's own scores mean what they say."""
    section = Section("calibration", "Calibration")
    if "analysis" in run.absent:
        section.blocks.append(Text(run.absent["analysis"], "absent"))
        return section
    table = evaluated.scores["calibration"]
    if not sum(table["counts"]):
        section.blocks.append(Text("No calibration: the model predicted no cell.", "absent"))
    else:
        note = "mean |score - share matched|; 0 is perfect"
        facts = Facts([Fact("expected calibration error", f"{table['error']:.3f}", note)])
        section.blocks += [facts, plots.plot_reliability(table)]
    return section


def counts(evaluated: Evaluated) -> Section:
    """Predicted against true counts, and the spread of scores over images."""
    section = Section("counts", "Counts and images")
    rows = [row for row in evaluated.per_image if row.get("F1@.5") is not None]
    if evaluated.kind != "masks" or (evaluated.per_image and not rows):
        text = "No plots by image: they show masks, and images with cells."
        section.blocks.append(Text(text, "absent"))
    elif not rows:
        section.blocks.append(Text("No per_image.csv: evaluate again.", "absent"))
    else:
        truth, found = (np.array([row[key] for row in rows]) for key in ("truth", "predicted"))
        figures = [plots.plot_counts(truth, found), plots.plot_per_image(rows)]
        section.blocks.append(Grid("plots", figures))
    return section


def number(score: str, value: float | None) -> str:
    """A score as text: three digits in [0, 1], two for cells per image; "no cells" for None."""
    if value is None:
        return NO_CELLS
    if score == "count_bias":
        return f"{value:+.2f}"
    return f"{value:.2f}" if score in IN_CELLS else f"{value:.3f}"


def interval(score: str, bounds: tuple[float, float] | None) -> str:
    """An interval as text, "" for none."""
    return "" if bounds is None else " to ".join(number(score, value) for value in bounds)
