"""Training to a wall-clock budget: how many iterations fit, from a few that are timed here."""

from __future__ import annotations

import json
import logging
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from detectron2.modeling import build_model
from detectron2.utils.events import EventStorage

from bccd_d2.masks.io import write_json_atomic
from bccd_d2.training import loaders
from bccd_d2.training.launch import Processes
from bccd_d2.training.optim import build_optimizer
from bccd_d2.training.reuse import ensure_trained
from bccd_d2.training.run import prepare
from bccd_d2.training.trainer import CellTrainer
from bccd_d2.training.treatment import with_reference

logger = logging.getLogger(__name__)

STARTING = 20.0  # s a run, for starting processes and writing checkpoints
RESERVE = 0.05  # share of the budget that is left free: steps are not all alike


def timed_steps(config: Any, processes: int = 1, steps: int = 6) -> tuple[float, float]:
    """Seconds a training step and seconds a validation image, measured here.

    One process is timed at its share of the batch and of the processor's cores, so what several
    lose by waiting for each other is not seen. The first step, which warms up, does not count.
    """
    ready = with_reference(prepare(config.clone())).clone()
    ready.defrost()
    ready.SOLVER.IMS_PER_BATCH = max(
        ready.SOLVER.ACCUMULATE, ready.SOLVER.IMS_PER_BATCH // processes
    )
    threads = torch.get_num_threads()
    if ready.MODEL.DEVICE == "cpu" and processes > 1:
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // processes))
    model = build_model(ready)
    solver = ready.SOLVER
    trainer = CellTrainer(
        model,
        loaders.train_loader(ready, loaders.records(ready.DATASETS.TRAIN)),
        build_optimizer(ready, model),
        accumulate=solver.ACCUMULATE,
        precision=solver.PRECISION,
        clip=solver.CLIP_GRADIENTS.CLIP_VALUE if solver.CLIP_GRADIENTS.ENABLED else 0,
    )
    seconds = []
    with EventStorage() as trainer.storage:
        trainer.iter = 0
        for _ in range(steps):
            start = time.perf_counter()
            trainer.run_step()
            seconds.append(time.perf_counter() - start)
    image = _validation_seconds(ready, trainer)
    torch.set_num_threads(threads)
    return float(np.median(seconds[1:] or seconds)), image


@torch.no_grad()
def _validation_seconds(config: Any, trainer: CellTrainer) -> float:
    """One validation image, read and predicted; 0 where there is no validation."""
    if not config.DATASETS.VALIDATION:
        return 0.0
    trainer.model.eval()
    start = time.perf_counter()
    batch = next(iter(loaders.test_loader(config, config.DATASETS.VALIDATION[0])))
    with trainer.autocast():
        trainer.model(batch)
    return time.perf_counter() - start


def iterations_for(
    minutes: float, step: float, image: float, images: int, processes: int = 1
) -> int:
    """Iterations that fit beside starting and one validation at the end.

    Args:
        minutes: wall time of the whole run.
        step, image: seconds, see `timed_steps`.
        images: of validation.

    Raises:
        ValueError: not even one fits.
    """
    free = 60 * minutes * (1 - RESERVE) - STARTING - image * images / processes
    if free < step:
        raise ValueError(
            f"a budget of {minutes:g} minutes leaves no time to train: starting takes "
            f"{STARTING:g} s, validation {image * images / processes:.0f} s, a step {step:.1f} s"
        )
    return int(free / step)


def train_within(config: Any, minutes: float, processes: Processes) -> Path:
    """Train for about ``minutes`` of wall time; the checkpoint of its last iteration.

    ``SOLVER.MAX_ITER`` is what fits; the warm-up is at most a tenth of it, and validation, which
    chooses the score threshold, comes once, at the end: no run chooses among its checkpoints. What
    was measured and used is in ``OUTPUT_DIR/budget.json``; a run that was interrupted goes on with
    the same number of iterations, and a finished one is not repeated.
    """
    folder = Path(config.OUTPUT_DIR)
    record = folder / "budget.json"
    config = config.clone()
    config.defrost()
    config.SOLVER.EPOCHS, config.TEST.EVAL_PERIOD, config.TEST.EVAL_EPOCHS = 0.0, 0, 0.0
    config.SOLVER.PATIENCE = 0
    base = config.dump()
    kept = json.loads(record.read_text(encoding="utf-8")) if record.is_file() else {}
    if (kept.get("minutes"), kept.get("config")) != (minutes, base):
        step, image = timed_steps(config, processes.per_machine)
        images = len(loaders.records(config.DATASETS.VALIDATION))
        kept = {
            "minutes": minutes,
            "seconds_a_step": step,
            "seconds_a_validation_image": image,
            "iterations": iterations_for(minutes, step, image, images, processes.per_machine),
            "processes": processes.per_machine,
            "config": base,
        }
        write_json_atomic(record, kept, indent=1)
    config.SOLVER.MAX_ITER = kept["iterations"]
    config.SOLVER.WARMUP_ITERS = min(config.SOLVER.WARMUP_ITERS, kept["iterations"] // 10)
    logger.info("%s: %d iterations in %g minutes", folder, kept["iterations"], minutes)
    finished = (folder / "model_final.pth").is_file()
    start = time.perf_counter()
    ensure_trained(config, processes)
    if not finished:
        write_json_atomic(record, kept | {"seconds_taken": time.perf_counter() - start}, indent=1)
    return folder / "model_final.pth"
