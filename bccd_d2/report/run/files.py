"""What a run's folder holds, read as far as it is there; what is not, said in a sentence each.

Nothing is computed here that an evaluation has stored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from bccd_d2.io.dataset_file import image_root, max_value, read_description
from bccd_d2.io.records import read_json, read_log, read_rows, read_text, read_yaml
from bccd_d2.masks.coco import EVALUATE_AGAIN
from bccd_d2.report.run import shapes

RUN_AGAIN = "delete it, or run again"
EVALUATE = "bccd train --config-file CONFIG --eval-only OUTPUT_DIR {folder}"


@dataclass(frozen=True, eq=False)
class Evaluated:
    """What the evaluation of one dataset left.

    Attributes:
        name: of the registered dataset, such as "bccd_test".
        scores: the content of scores.json.
        per_image: the rows of per_image.csv, numbers as numbers.
        images: those of verdicts.json by image id; {} where the evaluation left none.
        folder: of the images.
        max_value: what the dataset says becomes 255 in images of more than 8 bits.
    """

    name: str
    scores: Mapping[str, Any]
    per_image: Sequence[Mapping[str, Any]] = ()
    images: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    folder: Path = Path()
    max_value: float | None = None

    @property
    def threshold(self) -> float:
        """The score from which cells counted."""
        return float(self.scores["score_threshold"])

    @property
    def kind(self) -> str:
        """What the true cells are: "masks", "some masks", "boxes" or "points"."""
        return _kind(self.scores)

    def interval(self, group: str, score: str) -> tuple[float, float] | None:
        """The 95% interval of a score; None where there is none."""
        return self.scores.get("intervals_95", {}).get(group, {}).get(score)


@dataclass(frozen=True, eq=False)
class RunFiles:
    """A run's folder.

    Attributes:
        folder: ``OUTPUT_DIR``.
        config: the run's keys; {} where no config was left.
        config_text: the same as YAML.
        log: rows of the training log by ascending iteration, from 1; [] without training.
        sessions: what ran when, where and for how long (run.json).
        sweep: the content of threshold_sweep.json, None without validation.
        summary: the content of evaluation/metrics.json, {} without evaluation.
        evaluated: the chosen dataset, None without evaluation.
        absent: for each missing part a sentence: "training", "validation", "sweep", "evaluation",
            "analysis", "images".
    """

    folder: Path
    config: Mapping[str, Any]
    config_text: str
    log: Sequence[Mapping[str, float]]
    sessions: Sequence[Mapping[str, Any]]
    sweep: Mapping[str, Any] | None
    summary: Mapping[str, Any]
    evaluated: Evaluated | None
    absent: Mapping[str, str]

    @property
    def dataset(self) -> Mapping[str, Any]:
        """Name and counts of the converted dataset, as the last session noted them; or {}."""
        noted = [session["dataset"] for session in self.sessions if "dataset" in session]
        return noted[-1] if noted else {}

    def key(self, path: str, default: Any = None) -> Any:
        """A config value by its dotted path; ``default`` where there is none."""
        value: Any = self.config
        for name in path.split("."):
            if not isinstance(value, Mapping) or name not in value:
                return default
            value = value[name]
        return value


def read_run(
    folder: str | Path, dataset: str | Path | None = None, name: str | None = None
) -> RunFiles:
    """Read a run's folder, or the one that `bccd evaluate` wrote.

    Args:
        dataset: the converted folder; None takes the images where they were when evaluated.
        name: which evaluated dataset; None takes the first.

    Raises:
        FileNotFoundError: no such folder, or it holds neither training nor evaluation.
        ValueError: a file is broken, or ``name`` was not evaluated; the message lists what was.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is no folder; give the OUTPUT_DIR of a run")
    absent: dict[str, str] = {}
    config_text, config = _read_config(folder)
    log = read_log(folder / "metrics.json")
    summary, parts = _evaluations(folder)
    if not log and not summary:
        raise FileNotFoundError(f"{folder} holds neither metrics.json of a training, nor "
                                "scores.json of bccd evaluate: give such a folder (what bccd "
                                "predict wrote, bccd evaluate scores first)")  # fmt: skip
    if not log:
        absent["training"] = "No training log: only evaluated here, or its model learns nothing."
    elif not any("segm/AP" in row or "validation/total_loss" in row for row in log):
        absent["validation"] = "No validation: the run trained without, or before its first one."
    sweep = _read_sweep(folder / "threshold_sweep.json")
    if sweep is None:
        absent["sweep"] = "No threshold sweep: it is made on validation images during training."
    found = None
    if summary:
        found = _read_evaluated(folder, parts, summary.get("datasets", []), name, absent)
        found = _with_images(found, parts[found.name], dataset, absent)
    else:
        absent["evaluation"] = ("No evaluation yet. Score the model on test images with: "
                                + EVALUATE.format(folder=folder))  # fmt: skip
    sessions = [
        session
        for path in (folder / "run.json", folder / "evaluation" / "run.json")
        for session in _read_json(path, shapes.SESSIONS, {"sessions": []})["sessions"]
    ]
    return RunFiles(folder, config, config_text, log, sessions, sweep, summary, found, absent)


def _evaluations(folder: Path) -> tuple[Mapping[str, Any], dict[str, Path]]:
    """The summary of a run's evaluations, and where the scores of each dataset lie."""
    if (scores := folder / "scores.json").is_file():  # of `bccd evaluate`
        name = read_json(scores, {"dataset?": str}, EVALUATE_AGAIN).get("dataset", folder.name)
        return {"datasets": [name]}, {name: folder}
    summary = _read_json(folder / "evaluation" / "metrics.json", shapes.SUMMARY, {})
    found = sorted(folder.glob("evaluation/*/scores.json"))
    return summary, {path.parent.name: path.parent for path in found}


def _read_evaluated(folder: Path, parts: Mapping[str, Path], order: Sequence[str],
                    name: str | None, absent: dict[str, str]) -> Evaluated:  # fmt: skip
    """The scores of the chosen dataset; fills ``absent``."""
    names = sorted(parts, key=lambda one: order.index(one) if one in order else len(order))
    if not names or (name is not None and name not in names):
        raise ValueError(f"there are no scores of {name}, but of {names}: evaluate again")
    part = parts[name or names[0]]
    table = part / "per_image.csv"
    scores = _read_scores(part / "scores.json")
    found = Evaluated(name or names[0], scores)
    if table.is_file():
        masks = shapes.MASK_COLUMNS if "masks" in found.kind else ()
        columns: dict[str, Any] = {**shapes.PER_IMAGE, **dict.fromkeys(masks, _number)}
        rows = read_rows(table, columns, EVALUATE_AGAIN, others=_number)
        found = replace(found, per_image=rows)
    missing = "no intervals, calibration, failures or pictures"
    if found.kind != "masks":
        some = "" if scores.get("complete", True) else ", and of some of its cells only"
        has = scores.get("annotations", "masks")
        absent["analysis"] = f"The dataset has {has}{some}: {missing}."
    elif not scores.keys() >= {key.removesuffix("?") for key in shapes.ANALYSIS}:
        absent["analysis"] = (
            f"This evaluation is of an earlier version: {missing}. Evaluate again with: "
            + EVALUATE.format(folder=folder)
        )
    return found


def _kind(scores: Mapping[str, Any]) -> str:
    """What was scored against; "some masks" where not every cell has one."""
    kind = scores.get("annotations", "masks")
    return "some masks" if kind == "masks" and not scores.get("complete", True) else kind


def _read_scores(path: Path) -> Mapping[str, Any]:
    kind = _kind(read_json(path, shapes.KIND, EVALUATE_AGAIN))
    if kind not in shapes.SCORES:
        raise ValueError(
            f"{path}: annotations must be one of {list(shapes.SCORES)}, got {kind!r}; "
            f"{EVALUATE_AGAIN}"
        )
    return read_json(path, shapes.SCORES[kind], EVALUATE_AGAIN)


def _with_images(
    found: Evaluated, part: Path, dataset: str | Path | None, absent: dict[str, str]
) -> Evaluated:
    """The same with its images and what became of their cells; fills ``absent``.

    Args:
        part: folder of the evaluation's files.
        dataset: the converted folder, where the images lie elsewhere than when evaluated.
    """
    place = None
    if dataset is not None:
        description = read_description(dataset)
        place = image_root(dataset, description), max_value(description)
    path = part / "verdicts.json"
    if "analysis" in absent:
        absent["images"] = absent["analysis"]
        return found
    if not path.is_file():
        absent["images"] = f"No verdicts.json: no pictures. {EVALUATE_AGAIN.capitalize()}."
        return found
    content = read_json(path, shapes.VERDICTS, EVALUATE_AGAIN)
    images = {image["image_id"]: image for image in content["images"]}
    if found.per_image and images.keys() != {row["image_id"] for row in found.per_image}:
        raise ValueError(f"{path} and per_image.csv are of other images; {EVALUATE_AGAIN}")
    folder, white = place or (Path(content["image_root"]), content["max_value"])
    if not any((folder / image["file_name"]).is_file() for image in images.values()):
        absent["images"] = (
            f"The images are not in {folder} any more: no pictures. Give the place of the "
            "converted dataset with --dataset."
        )
    return replace(found, images=images, folder=folder, max_value=white)


def _number(text: str) -> float | None:
    """A number, or None for a blank: an image of a dataset without cells has no scores."""
    return float(text) if text else None


def _read_config(folder: Path) -> tuple[str, Mapping[str, Any]]:
    """The text of the run's config.yaml and its keys; "" and {} where none was left."""
    for path in (folder / "config.yaml", folder / "evaluation" / "config.yaml"):
        if path.is_file():
            config = read_yaml(path, (shapes.CONFIG, None), RUN_AGAIN)
            return read_text(path, RUN_AGAIN), config or {}
    return "", {}


def _read_json(path: Path, shape: Any, otherwise: Any) -> Any:
    return read_json(path, shape, RUN_AGAIN) if path.is_file() else otherwise


def _read_sweep(path: Path) -> Mapping[str, Any] | None:
    sweep = _read_json(path, shapes.SWEEP, None)
    if sweep and len({len(sweep[name]) for name in shapes.SWEEP_COLUMNS}) > 1:
        raise ValueError(f"{path}: its columns are of different lengths; {RUN_AGAIN}")
    return sweep


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
