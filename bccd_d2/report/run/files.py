"""What a run's folder holds, read as far as it is there; what is not, said in a sentence each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bccd_d2.evaluation.truth import TrueImage, read_truth
from bccd_d2.io.dataset_file import image_root, max_value, read_description, split_json
from bccd_d2.io.images import read_image
from bccd_d2.io.records import read_json, read_rows, read_text, read_yaml
from bccd_d2.io.training_log import read_log
from bccd_d2.masks.cells import Cells
from bccd_d2.masks.coco import EVALUATE_AGAIN, group_results

_COUNT = range(1 << 40)
_NUMBER = (float, None)  # None: there are no cells to score on
_GROUP = {str: (float, None, bool)}
_CURVES = [[float] * 101] * 10  # by IoU threshold, over recall
_POINT = {"score_threshold": float, "origin": str}
_COLUMNS = ("thresholds", "f1", "precision", "recall", "pq", "count_mae", "count_bias")
_GROUPS = (  # by what the annotations are
    {
        "segm": {"AP": _NUMBER, "AP50": _NUMBER, str: _NUMBER},
        "bbox?": _GROUP,
        "instances": {"F1@.5": _NUMBER, "PQ": _NUMBER, "count_mae": float, "truth": float,
                      str: _NUMBER},
        "interior?": _GROUP,
        "pixels": {"Dice": _NUMBER, str: _NUMBER},
    },
    {"boxes": {"recall@.5": _NUMBER, "truth": float, str: (float, None, bool)}, "bbox": _GROUP},
    {"points": {"alone": _NUMBER, "points": float, str: (float, None, bool)}},
    {"segm": {"complete": bool, str: (float, None, bool)}, "instances": _GROUP, str: _GROUP},
)  # fmt: skip
SCORES = tuple(  # evaluation/<dataset>/scores.json
    {
        "images": _COUNT,
        "annotations?": str,
        "complete?": bool,
        "score_threshold": float,
        "scores": groups,
        "precision_curves?": {str: _CURVES},
    }
    for groups in _GROUPS
)
SUMMARY = {  # evaluation/metrics.json
    "weights?": str,
    "datasets?": [str],
    "root?": str,
    "operating_point?": _POINT,
    "scores?": {str: _GROUP},
}
SWEEP = {"chosen": float, "origin": str, **{name: [float] for name in _COLUMNS}}
SESSIONS = {  # run.json
    "sessions": [
        {"what": str, "finished": str, "seconds": float, "processes": _COUNT, "machine": str,
         "versions": {str: str}}
    ]
}  # fmt: skip
CONFIG = {  # config.yaml, as far as the report reads it
    "DATASETS?": {"ROOT?": str, "TRAIN?": [str], "VALIDATION?": [str]},
    "MODEL?": {"META_ARCHITECTURE?": str, "BACKBONE?": {"NAME?": str}, "VIT?": dict},
    "SOLVER?": {"MAX_ITER?": _COUNT},
}


def _number(text: str) -> float | None:
    """A number, or None for a blank: an image of a dataset without cells has no scores."""
    return float(text) if text else None


PER_IMAGE = {"image_id": int, "file_name": str}
PER_IMAGE_OF_MASKS = dict.fromkeys(
    ("truth", "predicted", "PQ", "SQ", "F1@.5", "pixel_Dice"), _number
)
RUN_AGAIN = "delete it, or run again"
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
        max_value: what the dataset says becomes 255 in images of more than 8 bits.
    """

    name: str
    scores: Mapping[str, Any]
    per_image: Sequence[Mapping[str, Any]]
    truth: Mapping[int, TrueImage] = field(default_factory=dict)
    predictions: Mapping[int, Cells] = field(default_factory=dict)
    images: Path | None = None
    max_value: float | None = None

    @property
    def threshold(self) -> float:
        """The score from which cells counted."""
        return float(self.scores["score_threshold"])

    @property
    def kind(self) -> str:
        """What the true cells are: "masks", "boxes" or "points"."""
        return self.scores.get("annotations", "masks")

    def picture(self, image_id: int) -> np.ndarray:
        """(H, W, 3) uint8 RGB of an image in ``truth``.

        Raises:
            FileNotFoundError, ValueError: it is gone, or cannot be read.
        """
        if self.images is None:
            raise FileNotFoundError(f"the images of {self.name} are gone")
        return read_image(self.images / self.truth[image_id].file_name, max_value=self.max_value)


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
    config_text, config = _read_config(folder)
    log = read_log(folder / "metrics.json")
    summary = _read_json(folder / "evaluation" / "metrics.json", SUMMARY, {})
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
    sweep = _read_sweep(folder / "threshold_sweep.json")
    if sweep is None:
        absent["sweep"] = "No threshold sweep: it is made on validation images during training."
    found, description = _read_evaluated(folder, summary, config, dataset, name, absent)
    sessions = [
        session
        for path in (folder / "run.json", folder / "evaluation" / "run.json")
        for session in _read_json(path, SESSIONS, {"sessions": []})["sessions"]
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
    in_config = config.get("DATASETS", {}).get("ROOT", "")
    root = Path(dataset or summary.get("root") or in_config)
    known = dataset is not None or (root / "dataset.json").is_file()
    description = read_description(root) if known else {}
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
    rows, table = [], part / "per_image.csv"
    scores = read_json(part / "scores.json", SCORES, EVALUATE_AGAIN)
    if table.is_file():
        masks = scores.get("annotations", "masks") == "masks"
        columns = PER_IMAGE | (PER_IMAGE_OF_MASKS if masks else {})
        rows = read_rows(table, columns, EVALUATE_AGAIN, others=_number)
    found = Evaluated(part.name, scores, rows)
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
    truth = read_truth(split_json(root, split, description))
    path = part / "coco_instances_results.json"
    results = read_json(path, [{"image_id": int}], EVALUATE_AGAIN) if path.is_file() else []
    scored = {row["image_id"] for row in found.per_image}
    same = not found.per_image or scored == set(truth)
    if not same or not {r["image_id"] for r in results} <= set(truth):
        absent["dataset"] = (
            f"The dataset {root} was converted anew since and holds other images: no intervals, "
            "calibration, failures or pictures. Evaluate again."
        )
        return found
    sizes = {image_id: image.cells.image_size for image_id, image in truth.items()}
    by_image = group_results(results, sizes, path)
    cells = {i: Cells.from_coco(by_image[i], sizes[i]) for i in truth}
    images = image_root(root, description)
    if not any((images / image.file_name).is_file() for image in truth.values()):
        absent["images"] = f"The images are not in {images} any more: no pictures."
    white = max_value(description)
    return Evaluated(found.name, found.scores, found.per_image, truth, cells, images, white)


def _read_config(folder: Path) -> tuple[str, Mapping[str, Any]]:
    """The text of the run's config.yaml and its keys; "" and {} where none was left."""
    for path in (folder / "config.yaml", folder / "evaluation" / "config.yaml"):
        if path.is_file():
            config = read_yaml(path, (CONFIG, None), RUN_AGAIN)
            return read_text(path, RUN_AGAIN), config or {}
    return "", {}


def _read_json(path: Path, shape: Any, otherwise: Any) -> Any:
    return read_json(path, shape, RUN_AGAIN) if path.is_file() else otherwise


def _read_sweep(path: Path) -> Mapping[str, Any] | None:
    sweep = _read_json(path, SWEEP, None)
    if sweep and len({len(sweep[name]) for name in _COLUMNS}) > 1:
        raise ValueError(f"{path}: its columns are of different lengths; {RUN_AGAIN}")
    return sweep
