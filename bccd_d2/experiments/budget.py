"""Training for a given time: steps planned from a few measured ones, corrected on the way.

The clock of a CPU is the processor time of the training process, all its threads added up, so that
a busy machine gives no one less training. On a GPU it is the clock on the wall.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from detectron2.engine import HookBase
from detectron2.engine.hooks import LRScheduler

from bccd_d2.experiments.ablation import own_log_handlers
from bccd_d2.experiments.cost import seconds_per_step
from bccd_d2.experiments.run_cache import ensure_trained, run_inputs
from bccd_d2.io.atomic import write_json_atomic
from bccd_d2.io.processes import threads
from bccd_d2.io.records import read_json
from bccd_d2.training.hooks import Checkpoints, LogWriters
from bccd_d2.training.launch import Processes
from bccd_d2.training.optim import stretch_schedule
from bccd_d2.training.run import prepare

logger = logging.getLogger(__name__)

RECORD = "budget.json"  # in a run's folder: what was spent
_PLAN = "plan.json"
_SPENT = {"clock": str, "budget": float, "minutes": float, "validation_minutes": float,
          "iterations": int}  # fmt: skip
_DELETE = "delete the folder"
_PLANS = 20  # times a run is planned anew, evenly spread
_LAST_PLAN = 0.9  # share of the budget after which the plan stands
_MEASURED = 6  # steps
_CHECKPOINTS = 10  # a run, whatever its plan becomes


@dataclass(frozen=True)
class Spent:
    """What a budgeted training really took.

    Attributes:
        clock: "processor" or "wall".
        budget: minutes for the steps, with loading their images and writing checkpoints.
        minutes: that the steps took.
        validation_minutes: that the closing validation took beside them.
        iterations: number of steps.
    """

    clock: str
    budget: float
    minutes: float
    validation_minutes: float
    iterations: int


def clock_of(device: str) -> tuple[str, Callable[[], float]]:
    """The name of a device's clock and the clock itself, in seconds."""
    if str(device).startswith("cuda"):
        return "wall", time.perf_counter
    return "processor", time.process_time


@contextmanager
def threads_for(clock: str) -> Iterator[None]:
    """Torch on one thread while processor time is what is spent; OMP_NUM_THREADS has its way.

    Threads that wait for each other spend it too: on two busy cores a small U-Net made 11 steps in
    6 s with two threads and 158 with one.

    Args:
        clock: name of it, see `clock_of`.
    """
    before = torch.get_num_threads()
    if clock == "processor" and not threads():
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def train_within(config: Any, minutes: float) -> tuple[Path, Spent]:
    """Train for a time, unless that was done; an interrupted run goes on where it was.

    Validation comes once, at the end, so no run chooses among its checkpoints.

    Args:
        config: not yet prepared, with ``OUTPUT_DIR`` set; it is not changed.
        minutes: see `clock_of` for whose.

    Returns:
        The checkpoint, and what was spent.

    Raises:
        ValueError: ``minutes`` is not above 0, or the config cannot work.
        FileNotFoundError: no converted dataset, or no such backbone weights.
    """
    if not minutes > 0:
        raise ValueError(f"the training budget must be above 0 minutes, got {minutes}")
    name, clock = clock_of(prepare(config.clone()).MODEL.DEVICE)
    folder = Path(config.OUTPUT_DIR)
    hook = Budget(minutes * 60, clock, name, folder / RECORD)
    with own_log_handlers(), threads_for(name):
        planned = plan(config, minutes)
        weights = ensure_trained(planned, Processes(), [hook])
    spent = read_spent(folder)
    if spent is None:
        raise ValueError(f"{folder} holds a finished run without {RECORD}; delete the folder")
    return (weights if weights.is_file() else folder / "model_final.pth"), spent


def read_spent(folder: str | Path) -> Spent | None:
    """What the budgeted training in a run's folder took; None where there was none."""
    path = Path(folder) / RECORD
    return Spent(**read_json(path, _SPENT, _DELETE)) if path.is_file() else None


def plan(config: Any, minutes: float) -> Any:
    """The config with as many iterations as should fit, from a few steps measured here.

    What counts in iterations (frozen blocks, steps of the schedule) keeps its share of the run;
    warm-up takes a tenth at most. A plan is kept beside the run and used again for the same config,
    data and time.
    """
    ready = prepare(config.clone())
    name, clock = clock_of(ready.MODEL.DEVICE)
    wanted = {"inputs": run_inputs(config), "minutes": minutes}
    path = Path(config.OUTPUT_DIR) / _PLAN
    known = read_json(path, {"iterations": range(1, 1 << 40)}, _DELETE) if path.is_file() else {}
    if {key: known.get(key) for key in wanted} != wanted:
        config = config.clone()
        if name == "processor":
            config.DATALOADER.NUM_WORKERS = 0  # the time of loading processes would not count
        step = seconds_per_step(config, steps=_MEASURED, clock=clock)
        known = wanted | {"clock": name, "seconds_a_step": step}
        known["iterations"] = max(1, int(minutes * 60 / step))
        write_json_atomic(path, known)
        logger.info("%.3f s a step: about %d steps", step, known["iterations"])
    return _planned(config, ready, known["iterations"], name)


def _planned(config: Any, ready: Any, iterations: int, clock: str) -> Any:
    """The config for this many iterations; ``ready`` is the same config as `prepare` gives it."""
    planned = config.clone()
    share = iterations / ready.SOLVER.MAX_ITER
    solver, vit = planned.SOLVER, planned.MODEL.VIT
    solver.EPOCHS, solver.MAX_ITER, solver.PATIENCE = 0.0, iterations, 0
    solver.WARMUP_ITERS = min(solver.WARMUP_ITERS, iterations // 10)
    solver.STEPS = tuple(round(step * share) for step in ready.SOLVER.STEPS)
    solver.CHECKPOINT_PERIOD = max(1, iterations // _CHECKPOINTS)
    vit.FROZEN_ITERS = round(ready.MODEL.VIT.FROZEN_ITERS * share)
    vit.UNFREEZE_ITERS = round(ready.MODEL.VIT.UNFREEZE_ITERS * share)
    vit.FROZEN_EPOCHS = vit.UNFREEZE_EPOCHS = 0.0
    planned.TEST.EVAL_PERIOD, planned.TEST.EVAL_EPOCHS = 0, 0.0
    if clock == "processor":
        planned.DATALOADER.NUM_WORKERS = 0
    return planned


class Budget(HookBase):
    """Fits a run into a time: plans its last iteration anew as it learns how long steps take.

    The learning-rate schedule is stretched or shortened with the plan, so it ends where the run
    does. Checkpoints stay ten a run: where steps become ten times faster once their crops are
    known, a hundred of .4 GB would take a tenth of a short run. No step starts with less time left
    than a step takes on the mean. The state travels with checkpoints: a resumed run has what was
    left when its checkpoint was written.

    Args:
        seconds: for training steps.
        clock: gives the time in seconds.
        clock_name: for the record.
        record: JSON file for `Spent`, written when the run ends.

    Attributes:
        spent: what was spent, when the run has ended.
    """

    spent: Spent

    def __init__(
        self, seconds: float, clock: Callable[[], float], clock_name: str, record: Path
    ) -> None:
        self._seconds = seconds
        self._clock = clock
        self._clock_name = clock_name
        self._record = record
        self._earlier = 0.0  # seconds spent before this process took over
        self._planned: int | None = None
        self._started = 0.0
        self._before_last = 0.0

    def _used(self) -> float:
        return self._earlier + self._clock() - self._started

    def before_train(self) -> None:
        self._started = self._clock()
        if self._planned is not None:
            self._end_after(self._planned)

    def before_step(self) -> None:
        trainer, used, done = self.trainer, self._used(), self.trainer.iter
        every = max(1, trainer.max_iter // _PLANS)
        if done and done % every == 0 and used < _LAST_PLAN * self._seconds:
            self._end_after(max(done + 1, int(done * self._seconds / used)))
        if done + 1 < trainer.max_iter and self._seconds - used < 2 * used / max(done, 1):
            self._end_after(done + 1)  # no time for another after this one
        self._before_last = used

    def after_step(self) -> None:
        trainer = self.trainer
        done = trainer.iter + 1
        if done < trainer.max_iter:
            return
        step = self._before_last / trainer.iter if trainer.iter else self._used()
        steps = self._before_last + step  # the last one at their mean: validation came after it
        validation = max(0.0, self._used() - steps)
        self.spent = Spent(
            self._clock_name, self._seconds / 60, steps / 60, validation / 60, iterations=done
        )
        write_json_atomic(self._record, asdict(self.spent))
        took, budget = self.spent.minutes, self.spent.budget
        logger.info("%d steps took %.2f of %.2f minutes", done, took, budget)

    def state_dict(self) -> dict[str, Any]:
        return {"used": self._used(), "planned": self.trainer.max_iter}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._earlier = state_dict["used"]
        self._planned = state_dict["planned"]

    def _end_after(self, iterations: int) -> None:
        self.trainer.max_iter = iterations
        period = max(1, iterations // _CHECKPOINTS)
        for hook in self.trainer._hooks:
            if isinstance(hook, LRScheduler):
                stretch_schedule(hook.scheduler, iterations)
            elif isinstance(hook, Checkpoints):
                hook.period = period
            elif isinstance(hook, LogWriters):
                hook.checkpoint_period = period
