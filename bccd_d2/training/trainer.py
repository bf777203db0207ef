"""The training step: micro-batches, mixed precision, clipping, one optimizer step."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterable
from typing import Any

import torch
from detectron2.engine import TrainerBase
from detectron2.utils import comm
from detectron2.utils.events import EventStorage
from torch import nn

logger = logging.getLogger(__name__)

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


class CellTrainer(TrainerBase):
    """detectron2's hook loop around one optimizer step.

    Unlike detectron2's `AMPTrainer` it runs bf16 on the CPU too, accumulates gradients, and counts
    the norm of the gradient before clipping as a metric.

    Args:
        model: answers a list of inputs with a dict of scalar losses in training mode.
        loader: an endless iterable of micro-batches.
        optimizer: over the model's parameters.
        accumulate: micro-batches for one step; gradients are averaged over them.
        precision: "fp32", "bf16" or "fp16" (with loss scaling; GPU only).
        clip: largest gradient norm over all parameters; 0 = no clipping.
    """

    def __init__(
        self,
        model: nn.Module,
        loader: Iterable[list[dict]],
        optimizer: torch.optim.Optimizer,
        *,
        accumulate: int = 1,
        precision: str = "fp32",
        clip: float = 0.0,
    ) -> None:
        super().__init__()
        model.train()
        self.model = model
        self.optimizer = optimizer
        self.accumulate = accumulate
        self.dtype = DTYPES.get(precision)
        self.clip = clip
        self.device = next(model.parameters()).device
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=precision == "fp16")
        self._parameters = [p for group in optimizer.param_groups for p in group["params"]]
        self._loader = loader
        self._batches: Any = None

    def set_loader(self, loader: Iterable[list[dict]]) -> None:
        """Take micro-batches from ``loader`` from the next step on."""
        self._loader = loader
        self._batches = None

    def train(self, start_iter: int, max_iter: int) -> None:
        """As `TrainerBase.train`, but a hook may lower ``max_iter`` on the way to stop early."""
        logger.info("Starting training from iteration %d", start_iter)
        self.iter = self.start_iter = start_iter
        self.max_iter = max_iter
        with EventStorage(start_iter) as self.storage:
            try:
                self.before_train()
                while self.iter < self.max_iter:
                    self.before_step()
                    self.run_step()
                    self.after_step()
                    self.iter += 1
            except (ValueError, OSError):  # such as an unreadable image: the message says it all
                logger.error("stopped at iteration %d", self.iter)
                raise
            except Exception:
                logger.exception("stopped at iteration %d", self.iter)
                raise
            finally:
                self.after_train()

    def run_step(self) -> None:
        """One optimizer step; writes each loss, the data time and the gradient norm.

        Raises:
            FloatingPointError: a loss is not finite; the message names the losses.
        """
        if self._batches is None:
            self._batches = iter(self._loader)
        losses: dict[str, torch.Tensor] = {}
        data_time = 0.0
        self.optimizer.zero_grad()
        for micro in range(self.accumulate):
            start = time.perf_counter()
            batch = next(self._batches)
            data_time += time.perf_counter() - start
            with self._gradient_sync(last=micro == self.accumulate - 1):
                with self.autocast():
                    parts = self.model(batch)
                total = sum(parts.values()) / self.accumulate
                if not torch.isfinite(total):
                    values = {k: float(v.detach()) for k, v in parts.items()}
                    raise FloatingPointError(f"loss not finite at iteration {self.iter}: {values}")
                self.scaler.scale(total).backward()
            for name, value in parts.items():
                losses[name] = losses.get(name, 0.0) + value.detach() / self.accumulate
        self._step()
        self._record(losses, data_time)

    def autocast(self) -> contextlib.AbstractContextManager:
        """The precision that the model runs in, also for validation."""
        enabled = self.dtype is not None
        return torch.autocast(self.device.type, dtype=self.dtype, enabled=enabled)

    def _gradient_sync(self, last: bool) -> contextlib.AbstractContextManager:
        if isinstance(self.model, nn.parallel.DistributedDataParallel) and not last:
            return self.model.no_sync()
        return contextlib.nullcontext()

    def _record(self, losses: dict[str, torch.Tensor], data_time: float) -> None:
        """Store each loss's mean over the processes, their sum, and the slowest data time."""
        own = {name: float(value) for name, value in losses.items()} | {"data_time": data_time}
        ranks = comm.gather(own)
        if comm.is_main_process():
            means = {name: sum(rank[name] for rank in ranks) / len(ranks) for name in losses}
            slowest = max(rank["data_time"] for rank in ranks)
            self.storage.put_scalars(total_loss=sum(means.values()), data_time=slowest, **means)

    def _step(self) -> None:
        if self.clip:
            self.scaler.unscale_(self.optimizer)
            norm = nn.utils.clip_grad_norm_(self._parameters, self.clip)
            self.storage.put_scalar("gradient_norm", float(norm))
        self.scaler.step(self.optimizer)
        self.scaler.update()

    def state_dict(self) -> dict[str, Any]:
        parts = {"optimizer": self.optimizer.state_dict(), "scaler": self.scaler.state_dict()}
        return super().state_dict() | parts

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self.optimizer.load_state_dict(state_dict["optimizer"])
        self.scaler.load_state_dict(state_dict["scaler"])
