"""From config to a trainer with its hooks: which parts there are, and in what order they act."""

from __future__ import annotations

import functools
import logging
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from detectron2.engine import HookBase, hooks
from detectron2.solver import build_lr_scheduler
from detectron2.utils import comm
from detectron2.utils.events import JSONWriter, TensorboardXWriter
from torch import nn
from torch.optim.swa_utils import AveragedModel

from bccd_d2.io.records import drop_cut_line
from bccd_d2.modeling.backbones.vit import TimmViT
from bccd_d2.modeling.build import build_model
from bccd_d2.models.checkpoint import CellCheckpointer
from bccd_d2.models.point import OperatingPoint
from bccd_d2.models.preprocessing import PREPROCESSING, Preprocessing
from bccd_d2.training import loaders
from bccd_d2.training.ema import AverageWeights, averaged_model
from bccd_d2.training.hooks import (
    BestCheckpoint,
    Checkpoints,
    EarlyStopping,
    Evaluation,
    LogWriters,
    ProgressLine,
    ValidationLoss,
)
from bccd_d2.training.optim import learning_rates, parameter_groups, set_learning_rates
from bccd_d2.training.sampler import StepSeed
from bccd_d2.training.trainer import CellTrainer
from bccd_d2.training.unfreeze import Unfreezing

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Training:
    """A run that can start.

    Attributes:
        trainer: with its hooks; it still needs a loader.
        checkpointer: of all that a resumed run needs.
        model: the model in training, without DistributedDataParallel.
        evaluated: the model that is scored and saved as the best: the averaged one, where there
            is an average.
        average: the average itself, or None.
        point: score threshold that goes into the checkpoints.
        preprocessing: of the images; it goes into the checkpoints too.
        initial_weights: checkpoint to start from when nothing is resumed; "" for none.
        validates: there are validation images, which will move the operating point.
        schedule: of the learning rates.
    """

    trainer: CellTrainer
    checkpointer: CellCheckpointer
    model: nn.Module
    evaluated: nn.Module
    average: AveragedModel | None
    point: OperatingPoint
    preprocessing: Preprocessing
    initial_weights: str
    validates: bool
    schedule: Any

    def restore(self, last: Path | None) -> int:
        """Load the checkpoint to go on from, or the initial weights; the iteration to start from.

        Args:
            last: of `checkpoint.resume_file`; None starts anew.
        """
        if last is not None:
            asked = learning_rates(self.trainer.optimizer)
            iteration = self.checkpointer.load(last)["iteration"] + 1
            set_learning_rates(self.trainer.optimizer, asked, self.schedule)
            return iteration
        kept = {}
        if self.initial_weights:
            kept = self.checkpointer.load(self.initial_weights, [])
        if not self.validates:
            self._keep_threshold(kept.get("operating_point"))
        return 0

    def _keep_threshold(self, known: Mapping[str, Any] | None) -> None:
        """Without validation images the threshold is that of the initial weights, or a guess."""
        if known:
            self.point.load_state_dict(known)
        else:
            self.point.origin = "no data: no validation images"
        logger.warning(
            "no validation images: the score threshold stays %.2f (%s); bccd tune threshold "
            "chooses one on images of yours",
            self.point.score_threshold, self.point.origin,
        )  # fmt: skip


def assemble(
    config: Any,
    validate: Callable[[Training], Mapping[str, Mapping[str, Any]]],
    extra_hooks: Sequence[HookBase] = (),
) -> Training:
    """Model, optimizer, checkpointer and hooks as the config describes them.

    Args:
        config: as `run.prepare` returns it.
        validate: scores ``evaluated`` on validation; runs in every process.
        extra_hooks: called after evaluation and before checkpoints are written.
    """
    solver = config.SOLVER
    loaders.seed_everything(config.SEED)
    model = build_model(config)
    loaders.seed_everything(config.SEED + comm.get_rank() + 1)
    optimizer = build_optimizer(config, model)
    average = None
    if solver.EMA_DECAY > 0:
        average = averaged_model(model, solver.EMA_DECAY, solver.EMA_WARMUP)
    trainer = _trainer(config, _distribute(config, model), optimizer)
    point = OperatingPoint()
    preprocessing = Preprocessing.of(config)
    proxy: Any = weakref.proxy(trainer)
    parts: dict[str, Any] = {"operating_point": point, PREPROCESSING: preprocessing}
    parts["trainer"] = proxy
    if average is not None:
        parts["ema"] = average
    new = config.MODEL.NEW_PARTS
    training = Training(
        trainer=trainer,
        checkpointer=CellCheckpointer(model, config.OUTPUT_DIR, new_parts=new, **parts),
        model=model,
        evaluated=model if average is None else average.module,
        average=average,
        point=point,
        preprocessing=preprocessing,
        initial_weights=config.MODEL.WEIGHTS,
        validates=bool(config.DATASETS.VALIDATION),
        schedule=build_schedule(config, optimizer),
    )
    trainer.register_hooks(
        _step_hooks(config, training)
        + _validation_hooks(config, training, validate)
        + list(extra_hooks)
        + _writers(config, proxy)  # a resumed run must find the rows before it
        + [Checkpoints(training.checkpointer, solver.CHECKPOINT_PERIOD)]
    )
    return training


def build_optimizer(config: Any, model: nn.Module) -> torch.optim.AdamW:
    """AdamW over `parameter_groups`, as ``config.SOLVER`` says."""
    solver = config.SOLVER
    vit = next((m.vit for m in model.modules() if isinstance(m, TimmViT)), None)
    groups = parameter_groups(
        model,
        lr=solver.BASE_LR,
        weight_decay=solver.WEIGHT_DECAY,
        depth=len(vit.blocks) if vit is not None else 0,
        layer_decay=solver.LAYER_DECAY,
        backbone_factor=solver.BACKBONE_FACTOR,
        weight_decay_norm=solver.WEIGHT_DECAY_NORM,
    )
    return torch.optim.AdamW(groups, lr=solver.BASE_LR, betas=tuple(solver.BETAS))


def build_schedule(config: Any, optimizer: torch.optim.Optimizer) -> Any:
    """detectron2's warm-up with cosine or step decay, ``SOLVER.LR_SCHEDULER_NAME``."""
    return build_lr_scheduler(config, optimizer)


def _trainer(config: Any, model: nn.Module, optimizer: torch.optim.Optimizer) -> CellTrainer:
    solver = config.SOLVER
    return CellTrainer(
        model,
        [],
        optimizer,
        accumulate=solver.ACCUMULATE,
        precision=solver.PRECISION,
        clip=solver.CLIP_GRADIENTS.CLIP_VALUE if solver.CLIP_GRADIENTS.ENABLED else 0,
    )


def _distribute(config: Any, model: nn.Module) -> nn.Module:
    if comm.get_world_size() == 1:
        return model
    on_gpu = config.MODEL.DEVICE.startswith("cuda")
    return nn.parallel.DistributedDataParallel(
        model,
        [torch.cuda.current_device()] if on_gpu else None,
        find_unused_parameters=config.MODEL.VIT.FROZEN_ITERS > 0,
    )


def _step_hooks(config: Any, training: Training) -> list[HookBase]:
    optimizer = training.trainer.optimizer
    listed = [hooks.IterationTimer()]
    listed.append(hooks.LRScheduler(optimizer, training.schedule))
    if config.SEED >= 0:
        listed.append(StepSeed(config.SEED))
    options = config.MODEL.VIT
    if options.FROZEN_ITERS > 0:
        models = {id(m): m for m in (training.model, training.evaluated)}.values()
        vits = [m for model in models for m in model.modules() if isinstance(m, TimmViT)]
        listed.append(Unfreezing(vits, options.FROZEN_ITERS, options.UNFREEZE_ITERS))
    if training.average is not None:
        listed.append(AverageWeights(training.average, training.model))
    return listed


def _validation_hooks(config: Any, training: Training, validate: Callable) -> list[HookBase]:
    if not config.DATASETS.VALIDATION:
        return []
    solver, period = config.SOLVER, config.TEST.EVAL_PERIOD
    batches = loaders.validation_batches(config)
    parts: dict[str, Any] = {"operating_point": training.point}
    parts[PREPROCESSING] = training.preprocessing
    to_save = CellCheckpointer(training.evaluated, config.OUTPUT_DIR, **parts)
    best = BestCheckpoint(to_save, solver.BEST_METRIC, period, solver.BEST_MODE)
    listed = [
        ValidationLoss(training.evaluated, batches, period, training.trainer.autocast),
        Evaluation(functools.partial(validate, training), period),
        best,
    ]
    return [*listed, EarlyStopping(best, solver.PATIENCE, period)] if solver.PATIENCE else listed


def _writers(config: Any, trainer: CellTrainer) -> list[HookBase]:
    if not comm.is_main_process():
        return []
    folder = Path(config.OUTPUT_DIR)
    log = folder / "metrics.json"
    drop_cut_line(log)
    writers = [ProgressLine(lambda: trainer.max_iter), JSONWriter(str(log))]
    writers.append(TensorboardXWriter(str(folder)))
    return [LogWriters(writers, config.SOLVER.CHECKPOINT_PERIOD)]
