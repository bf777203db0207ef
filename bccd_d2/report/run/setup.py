"""What was trained on what, for how long, with which versions."""

from __future__ import annotations

import numpy as np

from bccd_d2.report.run.files import RunFiles


def setup_rows(run: RunFiles) -> list[tuple[str, str]]:
    """Titles and texts of a run's data, model, time and versions."""
    rows = [*_data_rows(run), *_model_rows(run), *_time_rows(run)]
    versions = run.sessions[-1]["versions"] if run.sessions else {}
    if versions:
        rows.append(("versions", ", ".join(f"{name} {v}" for name, v in versions.items())))
    return rows


def _data_rows(run: RunFiles) -> list[tuple[str, str]]:
    rows = []
    if run.dataset:
        rows.append(("dataset", f"{run.dataset['name']} ({run.key('DATASETS.ROOT', '')})"))
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
    hours, rest = divmod(round(min(seconds, 1e12)), 3600)
    minutes, left = divmod(rest, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {left} s"
