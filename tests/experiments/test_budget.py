"""A budgeted training takes the time it was given, goes on when stopped, and is used again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("detectron2")

import torch

from bccd_d2.experiments import budget, cost
from bccd_d2.experiments.budget import Budget, clock_of, plan, threads_for, train_within
from bccd_d2.models.checkpoint import CellCheckpointer
from bccd_d2.training import run
from bccd_d2.training.build import build_schedule
from bccd_d2.training.hooks import Checkpoints, LogWriters


class Clock:
    """Seconds that pass only when told."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Trainer:
    """The loop of a trainer whose steps take given seconds; it calls one hook and a schedule."""

    def __init__(self, hook, clock, seconds, schedule=None, validation=0.0):
        self._hooks = [hook, *([schedule] if schedule else [])]
        self.hook, self.clock, self.seconds, self.validation = hook, clock, seconds, validation
        hook.trainer = self

    def train(self, start: int, end: int, stop: int | None = None) -> int:
        self.iter = self.start_iter = start
        self.max_iter = end
        self.hook.before_train()
        while self.iter < self.max_iter and self.iter != stop:
            self.hook.before_step()
            self.clock.now += self.seconds(self.iter)
            if self.iter + 1 == self.max_iter:
                self.clock.now += self.validation
            self.hook.after_step()
            self.iter += 1
        return self.iter


@pytest.mark.parametrize("planned", [30, 100, 400])
def test_any_plan_is_corrected_and_the_record_is_true(planned: int, tmp_path: Path) -> None:
    clock = Clock()
    hook = Budget(100.0, clock, "processor", tmp_path / "budget.json")
    # Steps become dearer as the model learns: from .5 s to 1.5 s.
    trainer = Trainer(hook, clock, lambda i: 0.5 + min(i, 100) / 100, validation=7.0)
    steps = trainer.train(0, planned)
    spent = budget.read_spent(tmp_path)
    assert spent.iterations == steps and spent.clock == "processor"
    assert 97 <= clock.now - 107.0 <= 102.0  # one step beyond at most
    assert spent.minutes * 60 == pytest.approx(clock.now - 107.0, abs=1)
    assert spent.validation_minutes * 60 == pytest.approx(7, abs=1)


def test_a_resumed_run_has_what_was_left(tmp_path: Path) -> None:
    clock = Clock()
    first = Budget(50.0, clock, "processor", tmp_path / "budget.json")
    trainer = Trainer(first, clock, lambda _: 1.0)
    assert trainer.train(0, 40, stop=20) == 20 and not (tmp_path / "budget.json").exists()
    state = first.state_dict()
    clock.now = 5.0  # another process
    second = Budget(50.0, clock, "processor", tmp_path / "budget.json")
    second.load_state_dict(state)
    assert Trainer(second, clock, lambda _: 1.0).train(20, 40) in (49, 50)
    assert clock.now - 5 == pytest.approx(30, abs=1)
    assert budget.read_spent(tmp_path).minutes * 60 == pytest.approx(50, abs=1)


def test_the_schedule_ends_with_the_run(small_config, tmp_path: Path) -> None:
    from detectron2.engine.hooks import LRScheduler

    config = small_config(tmp_path, "SOLVER.MAX_ITER", "100", "SOLVER.WARMUP_ITERS", "10")
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = LRScheduler(optimizer, build_schedule(config, optimizer))
    clock = Clock()
    hook = Budget(50.0, clock, "processor", tmp_path / "budget.json")
    rates = []

    def seconds(_: int) -> float:
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.scheduler.step()
        return 1.0

    steps = Trainer(hook, clock, seconds, schedule).train(0, 100)
    assert steps == len(rates) and 48 <= steps <= 50
    assert max(rates) > 0.9 and rates[-1] < 0.01 and rates[0] < 0.1


def test_a_run_that_becomes_faster_writes_no_more_checkpoints(tmp_path: Path) -> None:
    """Ten were planned for 40 steps; 400 steps have hardly more, each with its lines before it."""
    clock, saved = Clock(), []

    class Checkpointer:
        def save(self, name: str, **_: object) -> None:
            saved.append(name)

        def remove(self, _: str) -> None: ...

    hook = Budget(100.0, clock, "wall", tmp_path / "budget.json")
    kept, lines = Checkpoints(Checkpointer(), period=4), LogWriters([], checkpoint_period=4)
    trainer = Trainer(hook, clock, lambda i: 2.0 if i < 10 else 0.2)
    trainer._hooks += [lines, kept]
    kept.trainer = trainer
    after = hook.after_step
    hook.after_step = lambda: (kept.after_step(), after())
    assert trainer.train(0, 40) > 300
    assert 8 <= len(saved) <= 20 and saved[-1] == "model_final"
    assert kept.period == lines.checkpoint_period > 20


def test_the_plan_keeps_shares_and_is_measured_once(
    small_config, tmp_path: Path, monkeypatch
) -> None:
    seen = []
    monkeypatch.setattr(
        budget, "seconds_per_step", lambda c, **_: seen.append(c.DATALOADER.NUM_WORKERS) or 0.3
    )
    keys = ["SOLVER.EPOCHS", "20", "MODEL.VIT.FROZEN_EPOCHS", "5", "SOLVER.WARMUP_ITERS", "500"]
    config = small_config(tmp_path, *keys, "DATALOADER.NUM_WORKERS", "2", "TEST.EVAL_PERIOD", "3")
    planned = plan(config, 2.0)
    assert plan(config, 2.0) == planned and seen == [0]
    assert planned.SOLVER.MAX_ITER == 400 and planned.MODEL.VIT.FROZEN_ITERS == 100
    assert planned.SOLVER.WARMUP_ITERS == 40 and planned.TEST.EVAL_PERIOD == 0
    assert planned.DATALOADER.NUM_WORKERS == 0 and config.DATALOADER.NUM_WORKERS == 2
    assert plan(config, 1.0).SOLVER.MAX_ITER == 200 and seen == [0, 0]
    assert clock_of("cuda:1")[0] == "wall" and clock_of("cpu")[0] == "processor"


def test_it_trains_for_the_time_and_goes_on_when_stopped(
    small_config, tmp_path: Path, monkeypatch
) -> None:
    """A real run: stopped while saving, resumed, and not trained a third time."""
    config = small_config(tmp_path, "SOLVER.CHECKPOINT_PERIOD", "1000")
    save, stopped = CellCheckpointer.save, []

    def stop_at_second_save(self, name, **extra):
        save(self, name, **extra)
        stopped.append(name)
        if len(stopped) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(CellCheckpointer, "save", stop_at_second_save)
    with pytest.raises(KeyboardInterrupt):
        train_within(config, 0.02)
    monkeypatch.setattr(CellCheckpointer, "save", save)
    weights, spent = train_within(config, 0.02)
    assert weights.name == "model_best.pth" and weights.is_file()
    assert spent.minutes == pytest.approx(0.02, rel=0.35) and spent.iterations > 2
    lines = [json.loads(line) for line in (tmp_path / "metrics.json").read_text().splitlines()]
    assert sum("segm/AP" in line for line in lines) == 1
    monkeypatch.setattr(run, "train", lambda *_: pytest.fail("trained again"))
    monkeypatch.setattr(cost, "build_model", lambda *_: pytest.fail("measured again"))
    assert train_within(config, 0.02) == (weights, spent)
    with pytest.raises(ValueError, match="above 0"):
        train_within(config, 0)


@pytest.mark.parametrize(
    ("clock", "given", "inside"), [("processor", "", 1), ("wall", "", 2), ("processor", "2", 2)]
)
def test_processor_time_is_spent_by_one_thread_unless_told(monkeypatch, clock, given, inside):
    monkeypatch.setenv("OMP_NUM_THREADS", given)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with threads_for(clock):
            assert torch.get_num_threads() == inside
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)


def test_a_budgeted_training_takes_one_thread(small_config, tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "")
    used = []
    monkeypatch.setattr(budget, "plan", lambda *_: used.append(torch.get_num_threads()))
    monkeypatch.setattr(budget, "ensure_trained", lambda *_: tmp_path / "model_final.pth")
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with pytest.raises(ValueError, match=r"without budget\.json"):
            train_within(small_config(tmp_path), 1)
    finally:
        torch.set_num_threads(threads)
    assert used == [1]
