"""What a run's folder holds, read as far as it is there; what is not, said in a sentence each."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from bccd_d2.evaluation.truth import TrueImage, read_truth
from bccd_d2.masks.cells import Cells

EVALUATE = "bccd train --config-file CONFIG --eval-only OUTPUT_DIR {folder}"


@dataclass(frozen=True, eq=False)
class Evaluated:
    """The scores of one dataset and, where they can still be had, its cells.

    Attributes:
        name: of the registered dataset, such as "bccd_test".
        scores: the content of scores.json.
        per_image: the rows of per_image.csv, numbers as numbers.
        truth: by image id; {} where the dataset is gone.
        predictions: by the same ids, all scores.
        images: folder of the images, None where the dataset is gone.
    """

    name: str
    scores: Mapping[str, Any]
    per_image: Sequence[Mapping[str, Any]]
    truth: Mapping[int, TrueImage] = field(default_factory=dict)
    predictions: Mapping[int, Cells] = field(default_factory=dict)
    images: Path | None = None

    @property
    def threshold(self) -> float:
        """The score from which cells counted."""
        return float(self.scores["score_threshold"])

    @property
    def kind(self) -> str:
        """What the true cells are: "masks", "boxes" or "points"."""
        return self.scores.get("annotations", "masks")


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
        dataset: dataset.json, {} where the dataset is gone.
        absent: for each missing part a sentence: "training", "validation", "sweep", "evaluation",
            "dataset", "images".
    """

    folder: Path
    config: Mapping[str, Any]
    config_text: str
    log: Sequence[Mapping[str, float]]
    sessions: Sequence[Mapping[str, Any]]
    sweep: Mapping[str, Any] | None
    summary: Mapping[str, Any]
    evaluated: Evaluated | None
    dataset: Mapping[str, Any]
    absent: Mapping[str, str]

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
    """Read a run's folder.

    Args:
        dataset: the converted folder; None takes the config's ``DATASETS.ROOT``.
        name: which evaluated dataset; None takes the first.

    Raises:
        FileNotFoundError: no such folder, or it holds neither training nor evaluation.
        ValueError: a file is broken, or ``name`` was not evaluated; the message lists what was.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is no folder; give the OUTPUT_DIR of a run")
    absent: dict[str, str] = {}
    config_text = _first_text(folder / "config.yaml", folder / "evaluation" / "config.yaml")
    config = yaml.safe_load(config_text) or {}
    log = _read_log(folder / "metrics.json")
    summary = _read_json(folder / "evaluation" / "metrics.json", {})
    if not log and not summary:
        raise FileNotFoundError(
            f"{folder} holds neither metrics.json of a training nor evaluation/metrics.json; give "
            f"the OUTPUT_DIR of a run, or evaluate: {EVALUATE.format(folder=folder)}"
        )
    if not log:
        absent["training"] = (
            "No training log: this run only evaluated, or its model learns nothing."
        )
    elif not any("segm/AP" in row or "validation/total_loss" in row for row in log):
        absent["validation"] = "No validation: the run trained without, or before its first one."
    sweep = _read_json(folder / "threshold_sweep.json", None)
    if sweep is None:
        absent["sweep"] = "No threshold sweep: it is made on validation images during training."
    found, description = _read_evaluated(folder, summary, config, dataset, name, absent)
    sessions = [
        session
        for path in (folder / "run.json", folder / "evaluation" / "run.json")
        for session in _read_json(path, {}).get("sessions", [])
    ]
    return RunFiles(
        folder, config, config_text, log, sessions, sweep, summary, found, description, absent
    )


def _read_evaluated(
    folder: Path,
    summary: Mapping[str, Any],
    config: Mapping[str, Any],
    dataset: str | Path | None,
    name: str | None,
    absent: dict[str, str],
) -> tuple[Evaluated | None, Mapping[str, Any]]:
    """The evaluated dataset and the description of the converted one; fills ``absent``."""
    root = Path(dataset or summary.get("root") or config.get("DATASETS", {}).get("ROOT") or "")
    description = _read_json(root / "dataset.json", {})
    if dataset is not None and not description:
        raise FileNotFoundError(
            f"{root / 'dataset.json'} does not exist; convert the dataset again"
        )
    if not description:
        absent["dataset"] = (
            f"The converted dataset {root or ''} is not there any more: no intervals, calibration, "
            "failures or pictures. Give its place with --dataset."
        )
    if not summary:
        absent["evaluation"] = (
            "No evaluation yet. Score the model on test images with: "
            + EVALUATE.format(folder=folder)
        )
        return None, description
    names = [p.parent.name for p in sorted((folder / "evaluation").glob("*/scores.json"))]
    names.sort(key=lambda n: list(summary.get("datasets", [])).index(n)
               if n in summary.get("datasets", []) else len(names))  # fmt: skip
    if not names or (name is not None and name not in names):
        raise ValueError(f"{folder / 'evaluation'} holds no scores of {name}; it has {names}")
    part = folder / "evaluation" / (name or names[0])
    found = Evaluated(
        part.name, _read_json(part / "scores.json", {}), _rows(part / "per_image.csv")
    )
    return _with_cells(found, part, root, description, absent), description


def _with_cells(
    found: Evaluated,
    part: Path,
    root: Path,
    description: Mapping[str, Any],
    absent: dict[str, str],
) -> Evaluated:
    """The same with truth and predictions where the dataset is there and still the same."""
    split = found.name.partition("_")[2]
    if not description or split not in description["splits"]:
        if description:
            absent["dataset"] = f"The dataset {root} has no split {split!r} any more."
        return found
    if found.kind != "masks" or not found.scores.get("complete", True):
        some = "" if found.scores.get("complete", True) else ", and of some of its cells only"
        absent["dataset"] = (
            f"The dataset has {found.kind}{some}: no intervals, calibration, failures or pictures."
        )
        return found
    truth = read_truth(root / description["splits"][split]["json"])
    by_image: dict[int, list[dict]] = {image_id: [] for image_id in truth}
    results = _read_json(part / "coco_instances_results.json", [])
    scored = {int(row["image_id"]) for row in found.per_image}
    same = not found.per_image or scored == set(truth)
    if not same or not {r["image_id"] for r in results} <= set(truth):
        absent["dataset"] = (
            f"The dataset {root} was converted anew since and holds other images: no intervals, "
            "calibration, failures or pictures. Evaluate again."
        )
        return found
    for result in results:
        by_image[result["image_id"]].append(result)
    cells = {i: Cells.from_coco(by_image[i], truth[i].cells.image_size) for i in truth}
    images = Path(os.path.abspath(root / description["image_root"]))
    if not any((images / image.file_name).is_file() for image in truth.values()):
        absent["images"] = f"The images are not in {images} any more: no pictures."
    return Evaluated(found.name, found.scores, found.per_image, truth, cells, images)


def _first_text(*paths: Path) -> str:
    return next((path.read_text(encoding="utf-8") for path in paths if path.is_file()), "")


def _read_json(path: Path, otherwise: Any) -> Any:
    if not path.is_file():
        return otherwise
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is broken ({error}); delete it or run again") from error


def _read_log(path: Path) -> list[dict[str, float]]:
    """Rows by iteration; of one logged twice, as after a resume, the later. Half lines are left."""
    rows: dict[int, dict[str, float]] = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        try:
            row = json.loads(line)
            done = int(row["iteration"]) + 1
        except (ValueError, KeyError, TypeError):
            continue
        if rows and done <= max(rows):
            rows = {i: r for i, r in rows.items() if i < done}
        rows[done] = row | {"iteration": done}
    return list(rows.values())


def _rows(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as stream:
        return [
            {k: v if k == "file_name" else float(v or "nan") for k, v in row.items()}
            for row in csv.DictReader(stream)
        ]
