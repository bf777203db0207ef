"""What happens between training steps; each hook has one job."""

from __future__ import annotations

import datetime
import logging
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from detectron2.engine import HookBase, hooks
from detectron2.utils import comm
from detectron2.utils.events import EventWriter, get_event_storage
from torch import nn

from bccd_d2.models.checkpoint import CellCheckpointer

logger = logging.getLogger(__name__)


def _due(trainer: Any, period: int) -> bool:
    """After every ``period`` iterations, and after the last one in any case."""
    done = trainer.iter + 1
    return done == trainer.max_iter or (period > 0 and done % period == 0)


class ValidationLoss(HookBase):
    """The training losses on fixed validation crops, as ``validation/total_loss`` and by part.

    Args:
        model: as the trainer's.
        batches: validation batches, the same at every call.
        period: iterations between calls; 0 = only after the last.
        autocast: gives the context that the model is run in.
    """

    def __init__(
        self,
        model: nn.Module,
        batches: Iterable[list[dict]],
        period: int,
        autocast: Callable[[], Any],
    ) -> None:
        self._model = model
        self._batches = batches
        self._period = period
        self._autocast = autocast

    def after_step(self) -> None:
        if not _due(self.trainer, self._period):
            return
        sums: dict[str, float] = {}
        count = 0
        # Heads sample proposals at random; a fixed seed keeps two evaluations comparable, and the
        # fork leaves the random stream of training as it was.
        with torch.random.fork_rng(), torch.no_grad(), self._autocast():
            torch.manual_seed(0)
            for batch in self._batches:
                for name, value in self._model(batch).items():
                    sums[name] = sums.get(name, 0.0) + float(value)
                count += 1
        if count == 0:
            return
        storage = get_event_storage()
        for name, value in {**sums, "total_loss": sum(sums.values())}.items():
            storage.put_scalar(f"validation/{name}", value / count, smoothing_hint=False)


class Evaluation(HookBase):
    """Scores on validation every ``period`` iterations and after the last.

    Args:
        evaluate: runs on every process; answers on the main one with {group: {score: value}}.
        period: iterations; 0 = only after the last.
    """

    def __init__(
        self, evaluate: Callable[[], Mapping[str, Mapping[str, Any]]], period: int
    ) -> None:
        self._evaluate = evaluate
        self._period = period

    def after_step(self) -> None:
        if not _due(self.trainer, self._period):
            return
        results = self._evaluate() or {}
        storage = get_event_storage()
        for group, scores in results.items():
            for name, value in scores.items():
                if isinstance(value, (int, float)) and math.isfinite(value):
                    storage.put_scalar(f"{group}/{name}", float(value), smoothing_hint=False)
        comm.synchronize()


class BestCheckpoint(HookBase):
    """Saves ``model_best`` whenever the watched score is the best so far.

    The best value travels with the checkpoints, so a resumed run does not overwrite a better model.
    A value that is not finite is never the best.

    Args:
        checkpointer: writes the file; the run does not resume from it.
        metric: "group/score" as `Evaluation` or `ValidationLoss` stores it.
        period: theirs; they must come before this hook.
        mode: "max" or "min": which values are better.
    """

    def __init__(
        self, checkpointer: CellCheckpointer, metric: str, period: int, mode: str = "max"
    ) -> None:
        self._checkpointer = checkpointer
        self._metric = metric
        self._period = period
        self._sign = {"max": 1, "min": -1}[mode]
        self.best: float | None = None
        self.best_iteration: int | None = None

    def after_step(self) -> None:
        if not _due(self.trainer, self._period) or not comm.is_main_process():
            return
        value = watched(self._metric, self.trainer.iter)
        if not math.isfinite(value):
            return
        if self.best is None or self._sign * (value - self.best) > 0:
            self.best, self.best_iteration = value, self.trainer.iter
            score = {"metric": self._metric, "value": value, "iteration": self.trainer.iter + 1}
            self._checkpointer.save("model_best", resumable=False, best=score)

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "best_iteration": self.best_iteration}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best = state_dict["best"]
        self.best_iteration = state_dict["best_iteration"]


def watched(metric: str, iteration: int) -> float:
    """The value of a score that was computed at this very iteration.

    Raises:
        KeyError: it was not; the message lists the scores there are.
    """
    latest = get_event_storage().latest()
    value, when = latest.get(metric, (None, -1))
    if value is None or when != iteration:
        raise KeyError(
            f"SOLVER.BEST_METRIC {metric!r} was not computed; there are "
            f"{sorted(k for k in latest if '/' in k)}"
        )
    return float(value)


class EarlyStopping(HookBase):
    """Ends training when the best checkpoint is ``patience`` evaluations old.

    It keeps no state: `BestCheckpoint`, which must come before it, remembers the iteration. The
    iteration it stops after counts as the last, so the hooks behind it finish as ever; resuming the
    run with the same patience does nothing.

    Args:
        best: the hook that watches the score.
        patience: evaluations, at least 1.
        period: iterations from one evaluation to the next, at least 1.
    """

    def __init__(self, best: BestCheckpoint, patience: int, period: int) -> None:
        self._best = best
        self._patience = patience
        self._period = period

    def _hopeless(self, iteration: int) -> bool:
        """The same answer in every process, though only the main one knows the scores."""
        last = self._best.best_iteration
        old = last is not None and iteration - last >= self._patience * self._period
        return any(comm.all_gather(old and comm.is_main_process()))

    def before_train(self) -> None:
        if self._hopeless(self.trainer.start_iter - 1):
            logger.info("this run was stopped early; raise SOLVER.PATIENCE to go on")
            self.trainer.max_iter = self.trainer.start_iter

    def after_step(self) -> None:
        if _due(self.trainer, self._period) and self._hopeless(self.trainer.iter):
            logger.info(
                "stopped after %d iterations: no better score since iteration %s",
                self.trainer.iter + 1, self._best.best_iteration,
            )  # fmt: skip
            self.trainer.max_iter = self.trainer.iter + 1


class Checkpoints(HookBase):
    """Saves a resumable checkpoint every ``period`` iterations and ``model_final`` at the end.

    Only the newest ``keep`` periodic ones stay on disk.

    Attributes:
        period: may be changed on the way.
    """

    def __init__(self, checkpointer: CellCheckpointer, period: int, keep: int = 2) -> None:
        self._checkpointer = checkpointer
        self.period = period
        self._keep = keep
        self._saved: list[str] = []

    def after_step(self) -> None:
        done = self.trainer.iter + 1
        if done == self.trainer.max_iter:
            self._checkpointer.save("model_final", iteration=self.trainer.iter)
        elif self.period > 0 and done % self.period == 0:
            name = f"model_{self.trainer.iter:07d}"
            self._checkpointer.save(name, iteration=self.trainer.iter)
            self._saved.append(name)
            self._drop_old()

    def _drop_old(self) -> None:
        while len(self._saved) > self._keep:
            self._checkpointer.remove(self._saved.pop(0))

    def state_dict(self) -> dict[str, Any]:
        return {"saved": list(self._saved)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._saved = list(state_dict["saved"])


class LogWriters(hooks.PeriodicWriter):
    """Writes every 20 iterations, and before every checkpoint: what a resumed run will not repeat.

    Args:
        writers: of detectron2.
        checkpoint_period: iterations, 0 = none before the last.

    Attributes:
        checkpoint_period: may be changed on the way, with that of `Checkpoints`.
    """

    def __init__(self, writers: Sequence[EventWriter], checkpoint_period: int) -> None:
        super().__init__(writers, period=20)
        self.checkpoint_period = checkpoint_period

    def after_step(self) -> None:
        if _due(self.trainer, self._period) or _due(self.trainer, self.checkpoint_period):
            for writer in self._writers:
                writer.write()


class ProgressLine(EventWriter):
    """One log line: iteration, losses, learning rate, seconds a step and the time left.

    Args:
        max_iter: tells how many iterations there will be; a hook may change that on the way.
    """

    def __init__(self, max_iter: Callable[[], int]) -> None:
        self._max_iter = max_iter
        self._last: tuple[int, float] | None = None

    def write(self) -> None:
        storage = get_event_storage()
        max_iter = self._max_iter()
        done = min(storage.iter + 1, max_iter)  # after training the storage is one further
        if self._last and done == self._last[0]:
            return
        now = time.perf_counter()
        step = (now - self._last[1]) / (done - self._last[0]) if self._last else None
        self._last = (done, now)
        latest = {k: h for k, h in storage.histories().items() if k.endswith("loss")}
        parts = [f"iteration {done}/{max_iter}"]
        if step:
            left = datetime.timedelta(seconds=int(step * max(0, max_iter - done)))
            parts += [f"eta {left}", f"{step:.3f} s a step"]
        for name, history in latest.items():
            parts.append(f"{name} {history.median(20):.3f}")
        if "lr" in storage.histories():
            parts.append(f"lr {storage.history('lr').latest():.2e}")
        if torch.cuda.is_available():
            parts.append(f"memory {torch.cuda.max_memory_allocated() / 2**20:.0f} MiB")
        logger.info("  ".join(parts))
