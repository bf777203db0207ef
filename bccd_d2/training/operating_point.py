"""Choosing a trained model's score threshold anew, when what makes its cells has changed."""

from __future__ import annotations

import io
import logging
from pathlib import Path
from typing import Any

import torch
from detectron2.utils import comm

from bccd_d2.evaluation.thresholds import choose
from bccd_d2.masks.io import write_bytes_atomic, write_json_atomic
from bccd_d2.training.checkpoint import OperatingPoint
from bccd_d2.training.run import load_trained, score

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
    """
    if not config.DATASETS.VALIDATION:
        raise ValueError("DATASETS.VALIDATION is empty: there is nothing to choose a threshold on")
    config, model, before, weights = load_trained(config)
    path = Path(weights)
    if path.suffix != ".pth":
        raise ValueError(f"{weights or 'a model without weights'}: only a .pth file can be changed")
    _, sweep = score(config, model, config.DATASETS.VALIDATION)
    if sweep is None or not comm.is_main_process():
        return path, before
    point = OperatingPoint(choose(sweep), ", ".join(config.DATASETS.VALIDATION))
    stored = torch.load(path, map_location="cpu", weights_only=True)
    buffer = io.BytesIO()
    torch.save({**stored, "operating_point": point.state_dict()}, buffer)
    write_bytes_atomic(path, buffer.getbuffer())
    record = {"origin": point.origin} | sweep.to_dict()
    write_json_atomic(path.parent / "threshold_sweep.json", record)
    logger.info("score threshold %.2f, was %.2f", point.score_threshold, before.score_threshold)
    return path, point
