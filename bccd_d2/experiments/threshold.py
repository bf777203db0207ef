"""Choosing a trained model's score threshold anew, when what makes its cells has changed."""

from __future__ import annotations

import io
import logging
from pathlib import Path
from typing import Any

import torch
from detectron2.utils import comm

from bccd_d2.evaluation.thresholds import choose
from bccd_d2.io.atomic import write_bytes_atomic, write_json_atomic
from bccd_d2.io.lock import hold_folder
from bccd_d2.io.records import read_json
from bccd_d2.modeling.tensors import read_tensors
from bccd_d2.models.load import load_trained
from bccd_d2.models.point import OperatingPoint
from bccd_d2.training.run import score

logger = logging.getLogger(__name__)


def choose_threshold(config: Any) -> tuple[Path, OperatingPoint]:
    """Score the model on ``DATASETS.VALIDATION`` and keep the best threshold in its checkpoint.

    Decoding, clean-up and scoring of cells act after the weights, so they may be changed in the
    config of a trained model; the threshold that training chose then no longer fits. Weights stay
    as they are; ``threshold_sweep.json`` beside the checkpoint is replaced.

    Args:
        config: as `run.prepare` returns it; ``MODEL.WEIGHTS`` or the run's best checkpoint.

    Returns:
        The checkpoint and its new operating point.

    Raises:
        FileNotFoundError: there is no checkpoint.
        ValueError: there are no validation images, or the checkpoint is no .pth file of training.
        BlockingIOError: a training goes on in the checkpoint's folder.
    """
    if not config.DATASETS.VALIDATION:
        raise ValueError("DATASETS.VALIDATION is empty: there is nothing to choose a threshold on")
    config, model, before, weights = load_trained(config)
    path = Path(weights)
    _check_suffix(path)
    _, sweep = score(config, model, config.DATASETS.VALIDATION)
    if sweep is None or not comm.is_main_process():
        return path, before
    point = OperatingPoint(choose(sweep), ", ".join(config.DATASETS.VALIDATION))
    _store(path, point)
    record = {"origin": point.origin} | sweep.to_dict()
    write_json_atomic(path.parent / "threshold_sweep.json", record)
    logger.info("score threshold %.2f, was %.2f", point.score_threshold, before.score_threshold)
    return path, point


def take_threshold(weights: str | Path, summary: str | Path) -> OperatingPoint:
    """Give a model trained on all images the threshold that their folds chose.

    Args:
        weights: a .pth file of training; it keeps its weights.
        summary: cross_validation.json of `folds.cross_validate`, of the same recipe and images.

    Returns:
        The checkpoint's new operating point.

    Raises:
        FileNotFoundError: one of the files is missing.
        ValueError: the checkpoint is no .pth file of training, or the summary has no threshold.
    """
    path, summary = Path(weights), Path(summary)
    _check_suffix(path)
    for file in (path, summary):
        if not file.is_file():
            raise FileNotFoundError(f"{file} does not exist")
    shape = {"folds": ([object], dict), "score_threshold": float}
    done = read_json(summary, shape, "give a cross_validation.json of bccd crossval")
    folds, threshold = len(done["folds"]), float(done["score_threshold"])
    point = OperatingPoint(threshold, f"the held-out images of {folds} folds")
    _store(path, point)
    return point


def _check_suffix(path: Path) -> None:
    if path.suffix != ".pth":
        name = "a model without weights" if path == Path("") else path
        raise ValueError(f"{name}: only a .pth file can be changed")


def _store(path: Path, point: OperatingPoint) -> None:
    with hold_folder(path.parent, "choosing a threshold"):
        _change(path, point)


def _change(path: Path, point: OperatingPoint) -> None:
    stored = read_tensors(path, "checkpoint")
    if "model" not in stored:
        raise ValueError(f"{path} is no checkpoint of bccd train: it has no 'model'")
    buffer = io.BytesIO()
    torch.save({**stored, "operating_point": point.state_dict()}, buffer)
    write_bytes_atomic(path, buffer.getbuffer())
