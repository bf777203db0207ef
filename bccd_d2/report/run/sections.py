"""The first sections of a run's report: at a glance, what was trained on what, training curves."""

from __future__ import annotations

import datetime
from pathlib import Path

import numpy as np

from bccd_d2.report.page import Fact, Facts, Listing, Section, Table, Text
from bccd_d2.report.plotting import embed
from bccd_d2.report.run import plots as run_plots
from bccd_d2.report.run.analysis import Analysis
from bccd_d2.report.run.files import RunFiles
from bccd_d2.report.run.scores import GLANCE_BY_KIND, IN_CELLS, interval, number


def glance(run: RunFiles, analysis: Analysis | None) -> Section:
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
        bounds = analysis and analysis.intervals[group].get(score)
        note = f"95% interval {interval(score, bounds)}" if bounds else ""
        if score in IN_CELLS:
            note = "cells an image" + (f"; {note}" if note else "")
        facts.append(Fact(title, number(score, value), note))
    group = {"masks": "instances"}.get(run.evaluated.kind, run.evaluated.kind)
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
    rows = [*_data_rows(run), *_model_rows(run), *_time_rows(run)]
    versions = run.sessions[-1]["versions"] if run.sessions else {}
    if versions:
        rows.append(("versions", ", ".join(f"{name} {v}" for name, v in versions.items())))
    section = Section("setup", "What was trained on what")
    section.blocks.append(Table("Data, model, training and machine", [], rows))
    if "dataset" in run.absent:
        section.blocks.append(Text(run.absent["dataset"], "absent"))
    if run.config_text:
        section.blocks.append(Listing("All config keys", run.config_text))
    return section


def _data_rows(run: RunFiles) -> list[tuple[str, str]]:
    rows = []
    if run.dataset:
        name = run.dataset.get("name", "unnamed")
        rows.append(("dataset", f"{name} ({run.key('DATASETS.ROOT', '')})"))
    used = {"trained on": run.key("DATASETS.TRAIN", ()) if run.log else (),
            "checkpoint and threshold chosen on": run.key("DATASETS.VALIDATION", ())
            if run.log else (),
            "scored on": run.summary.get("datasets", ())}  # fmt: skip
    for title, names in used.items():
        parts = []
        for name in names:
            counts = run.dataset.get("counts", {}).get(name.partition("_")[2])
            known = ""
            if counts and {"images", "cells"} <= counts.keys():
                known = f": {counts['images']} images, {counts['cells']:,} cells"
            parts.append(name + known)
        if parts:
            rows.append((title, "; ".join(parts)))
    return rows


def _model_rows(run: RunFiles) -> list[tuple[str, str]]:
    rows = [("model", run.key("MODEL.META_ARCHITECTURE", "unknown"))]
    vit = run.key("MODEL.VIT", {})
    if run.key("MODEL.BACKBONE.NAME") == "build_vit_pyramid" and run.log:
        changed = {k.lower(): vit[k] for k in ("DEPTH", "DIM", "HEADS") if vit.get(k)}
        preset = str(vit.get("PRESET", "ViT"))
        text = ", ".join([preset, *(f"{k} {v}" for k, v in changed.items())])
        rows.append(("backbone", f"{text}; from {vit.get('WEIGHTS') or 'random weights'}"))
    if run.log:
        rows.append(("training", _training_text(run)))
    if scale := run.key("INPUT.IMAGE_SCALE"):
        rows.append(("scale", f"{scale} detector px for an image px"))
    if weights := run.summary.get("weights"):
        rows.append(("evaluated weights", str(weights)))
    return rows


def _training_text(run: RunFiles) -> str:
    done, planned = run.log[-1]["iteration"], run.key("SOLVER.MAX_ITER")
    stopped = f" of {planned:,}" if planned and planned > done else ""
    parts = [f"{done:,}{stopped} iterations"]
    for text, path in (
        ("{} crops each", "SOLVER.IMS_PER_BATCH"),
        ("{} px wide", "INPUT.CROP_SIZE"),
        ("learning rate {}", "SOLVER.BASE_LR"),
        ("{}", "SOLVER.PRECISION"),
        ("seed {}", "SEED"),
    ):
        if (value := run.key(path)) is not None:
            parts.append(text.format(value))
    return ", ".join(parts)


def _time_rows(run: RunFiles) -> list[tuple[str, str]]:
    rows = []
    for what in ("training", "evaluation"):
        parts = [s for s in run.sessions if s["what"] == what]
        if parts:
            text = duration(sum(s["seconds"] for s in parts))
            if len(parts) > 1:
                text += f" in {len(parts)} sessions"
            last = parts[-1]
            text += f", {last['machine']}, {last['processes']} process"
            text += "es" if last["processes"] > 1 else ""
            rows.append((f"{what} took", f"{text}; finished {last['finished']}"))
    steps = [(row["iteration"], row["time"]) for row in run.log if "time" in row]
    if steps and not any(s["what"] == "training" for s in run.sessions):
        counts = np.diff([0, *(i for i, _ in steps)])
        seconds = float(counts @ np.array([t for _, t in steps]))
        text = f"about {duration(seconds)} of steps, validation not counted"
        rows.insert(0, ("training took", text))
    return rows


def duration(seconds: float) -> str:
    """Seconds as "1 h 5 min", "25 min 3 s" or "8.4 s"."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = datetime.timedelta(seconds=round(seconds))
    hours, rest = divmod(int(whole.total_seconds()), 3600)
    minutes, left = divmod(rest, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {left} s"


def training(run: RunFiles) -> Section:
    """Losses and validation scores over iterations."""
    section = Section("training", "Training")
    if not run.log:
        section.blocks.append(Text(run.absent["training"], "absent"))
        return section
    parts = ", ".join(name.removeprefix("loss_") for name in run_plots.loss_names(run.log))
    section.blocks.append(embed(
        run_plots.plot_losses(run.log),
        "Two line plots over iterations: total loss of training and validation; parts of the "
        f"training loss ({parts}).",
        "How to read it: losses should fall together. A validation loss that turns upward while "
        "the training loss falls means that the model learns its images by heart.",
    ))  # fmt: skip
    if "validation" in run.absent or not any("segm/AP" in row for row in run.log):
        text = run.absent.get("validation", "No validation scores in the training log.")
        section.blocks.append(Text(text, "absent"))
        return section
    scored = [row for row in run.log if "segm/AP" in row]
    best = max(scored, key=lambda row: row["segm/AP"])
    section.blocks.append(embed(
        run_plots.plot_scores_over_time(run.log),
        "Two line plots over iterations: scores on validation, and the count error.",
        "How to read it: scores on validation images, in [0, 1], should rise and level off; still "
        "rising at the end, longer training would help. Best mask AP "
        f"{best['segm/AP']:.3f} at iteration {best['iteration']:,}.",
    ))  # fmt: skip
    names = ["iteration", *run_plots.VALIDATION_SCORES.values(), "count error"]
    rows = [
        [f"{row['iteration']:,}"]
        + [f"{row[k]:.3f}" if k in row else "" for k in run_plots.VALIDATION_SCORES]
        + [f"{row['instances/count_mae']:.2f}" if "instances/count_mae" in row else ""]
        for row in scored[-12:]
    ]
    caption = "Validation scores by iteration" + (", the last 12" if len(scored) > 12 else "")
    section.blocks.append(Table(caption, names, rows, range(1, len(names))))
    return section
