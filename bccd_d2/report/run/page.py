"""The report of a run: one HTML page, the same as Markdown, and its numbers as JSON.

Example:
    write_report("output/cpu_tiny_maskrcnn")  # writes report/report.html and two files beside it
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from bccd_d2.io.atomic import write_json_atomic
from bccd_d2.report.error_map import ERROR_COLOURS, FN, FP, TP
from bccd_d2.report.failures import KINDS, MEANINGS, count_kinds, pick_examples
from bccd_d2.report.page import Block, Grid, Heading, Key, Page, Section, Table, Text, write_page
from bccd_d2.report.plotting import embed
from bccd_d2.report.run import scores as run_scores
from bccd_d2.report.run import sections as run_sections
from bccd_d2.report.run.analysis import Analysis, analyse
from bccd_d2.report.run.files import Evaluated, RunFiles, read_run
from bccd_d2.report.run.pictures import (
    VERDICT_COLOURS,
    failure_figure,
    image_figures,
)
from bccd_d2.report.run.plots import plot_matched_iou

BEST, WORST, EXAMPLES = 2, 4, 6


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
        dataset: the converted folder; None takes the config's.
        name: which evaluated dataset, such as "bccd_test"; None takes the first.
        examples: most close-ups of each kind of failure; one image gives at most a third of them.

    Raises:
        FileNotFoundError: no such folder, or nothing in it to report.
        ValueError: a file in it is broken, ``name`` was not evaluated, or ``examples`` is below 1.
    """
    if examples < 1:
        raise ValueError(f"examples must be at least 1, got {examples}")
    run = read_run(folder, dataset, name)
    analysis = analyse(run.evaluated) if run.evaluated else None
    out = run.folder / "report" if out is None else Path(out)
    written = write_page(make_page(run, analysis, examples), out, "report")
    return [*written, write_json_atomic(out / "metrics.json", metrics(run, analysis), indent=1)]


def make_page(run: RunFiles, analysis: Analysis | None, examples: int = EXAMPLES) -> Page:
    """All sections of a run's page."""
    sections = [run_sections.glance(run, analysis), run_sections.setup(run)]
    sections.append(run_sections.training(run))
    evaluated = run.evaluated
    if evaluated is not None:
        sections.append(run_scores.scores(run, evaluated, analysis))
    sections.append(run_scores.operating_point(run))
    if evaluated is not None:
        sections += run_scores.calibration_and_counts(evaluated, analysis)
        sections += picture_sections(run, evaluated, analysis, examples)
    what = run.key("MODEL.META_ARCHITECTURE", "a model")
    scored = f"scored on {evaluated.name}" if evaluated else "not yet evaluated"
    trained = f"{run.log[-1]['iteration']:,} training iterations" if run.log else "no training here"
    return Page(f"Report of {run.folder.resolve().name}", f"{what}, {trained}, {scored}.", sections)


def picture_sections(
    run: RunFiles, evaluated: Evaluated, analysis: Analysis | None, examples: int
) -> list[Section]:
    """Best and worst images, and failures by kind with examples."""
    images, failures = Section("images", "Best and worst images"), Section("failures", "Failures")
    if analysis is None:
        for section in (images, failures):
            section.blocks.append(Text(run.absent["dataset"], "absent"))
        return [images, failures]
    failures.blocks += _failure_table(analysis)
    if len(analysis.matched_iou):
        failures.blocks.append(embed(
            plot_matched_iou(analysis.matched_iou),
            "Histogram of the IoU of found cells with their true cells.",
            "How to read it: cells left of .75 are found but outlined roughly; they cost AP75 and "
            "PQ, not F1.",
        ))  # fmt: skip
    if "images" in run.absent:
        images.blocks.append(Text(run.absent["images"], "absent"))
        failures.blocks.append(Text(run.absent["images"], "absent"))
        return [images, failures]
    images.blocks += _ranked_images(evaluated, analysis)
    failures.blocks += _examples(evaluated, analysis, examples)
    return [images, failures]


def _ranked_images(evaluated: Evaluated, analysis: Analysis) -> list[Block]:
    scored = [row for row in evaluated.per_image if row["PQ"] is not None]
    if not scored:
        return [Text("No images: they are ranked by PQ, and there are no cells.", "absent")]
    ranked = sorted(scored, key=lambda row: row["PQ"])
    worst = ranked[:WORST]
    best = [row for row in ranked[::-1][:BEST] if row not in worst]
    blocks: list[Block] = [
        Text("Ranked by PQ. The colour of an outline says what became of a cell:"),
        Key(VERDICT_COLOURS),
        Text("In the error maps the colour is of pixels:"),
        Key({"found": ERROR_COLOURS[TP], "missed": ERROR_COLOURS[FN],
             "invented": ERROR_COLOURS[FP]}),
    ]  # fmt: skip
    for title, rows in (("Worst", worst), ("Best", best)):
        for place, row in enumerate(rows, start=1):
            image_id = int(row["image_id"])
            true = evaluated.truth[image_id]
            blocks.append(Heading(f"{title} {place}: {Path(true.file_name).name}"))
            try:
                image = evaluated.picture(image_id)
            except (FileNotFoundError, ValueError) as error:
                blocks.append(Text(str(error), "absent"))
                continue
            kinds = count_kinds([analysis.failures[image_id]])
            wrong = [f"{kinds[kind]['events']} {kind}" for kind in KINDS if kinds[kind]["events"]]
            caption = (
                f"PQ {row['PQ']:.3f}, F1 {row['F1@.5']:.3f}, Dice {row['pixel_Dice']:.3f}; "
                f"{row['truth']:.0f} true cells, {row['predicted']:.0f} predicted; "
                f"{', '.join(wrong) or 'no failure'}."
            )
            shown, verdicts = analysis.shown[image_id], analysis.failures[image_id]
            blocks += [Text(caption), image_figures(image, true, shown, verdicts)]
    return blocks


def _failure_table(analysis: Analysis) -> list[Block]:
    kinds = count_kinds(analysis.failures.values())
    rows = [
        [kind, *(f"{kinds[kind][key]:,}" for key in ("events", "true_cells", "predicted_cells"))]
        for kind in KINDS
    ]
    sums = [sum(kinds[kind][key] for kind in KINDS) for key in ("true_cells", "predicted_cells")]
    rows.append(["all", "", *(f"{total:,}" for total in sums)])
    notes = [*(MEANINGS[kind] for kind in KINDS), ""]
    head = ["kind", "events", "true cells lost", "predicted cells wrong"]
    return [
        Table("Failures at the operating point, IoU .5, all images", head, rows, (1, 2, 3), notes),
        Text(
            "Lost true and wrong predicted cells are those that F1 counts against the model. A "
            "prediction that swallows two cells may still match the larger one; then only the "
            "smaller one is lost.", "note",
        ),
    ]  # fmt: skip


def _examples(evaluated: Evaluated, analysis: Analysis, most: int) -> list[Block]:
    """Crops of each kind, image by image so that each file is read once."""
    numbered = list(analysis.failures.items())
    chosen = {kind: pick_examples(numbered, kind, most, max(1, most // 3)) for kind in KINDS}
    figures: dict[tuple[str, int], Any] = {}
    wanted = sorted({image_id for events in chosen.values() for image_id, _ in events})
    for image_id in wanted:
        true = evaluated.truth[image_id]
        try:
            image = evaluated.picture(image_id)
        except (FileNotFoundError, ValueError):
            continue
        shown, verdicts = analysis.shown[image_id], analysis.failures[image_id]
        for kind, events in chosen.items():
            for place, (number, event) in enumerate(events):
                if number == image_id:
                    figures[kind, place] = failure_figure(image, true, shown, verdicts, event)
    blocks: list[Block] = [
        Text("Close-ups, ground truth left and prediction right: what takes part in the failure "
             "thick and in colour, its neighbours thin and white.")
    ]  # fmt: skip
    for kind in KINDS:
        found = [figures[kind, place] for place in range(most) if (kind, place) in figures]
        if found:
            total = sum(one.count(kind) for one in analysis.failures.values())
            blocks.append(Heading(f"{kind.capitalize()}: {len(found)} of {total:,}"))
            blocks.append(Grid("crops", found))
    return blocks if len(blocks) > 1 else []


def metrics(run: RunFiles, analysis: Analysis | None) -> dict[str, Any]:
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
    if analysis is not None:
        table = dataclasses.asdict(analysis.reliability)
        table = {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in table.items()}
        found |= {
            "intervals_95": analysis.intervals,
            "calibration": table,
            "failures": count_kinds(analysis.failures.values()),
        }
    return found
