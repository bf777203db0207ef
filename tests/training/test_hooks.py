"""Each hook's one job, on a trainer that only counts."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator

import pytest
import torch
from detectron2.engine import HookBase, TrainerBase
from torch import nn

from bccd_d2.models.checkpoint import CellCheckpointer
from bccd_d2.training.hooks import (
    BestCheckpoint,
    Checkpoints,
    EarlyStopping,
    Evaluation,
    ProgressLine,
    ValidationLoss,
)
from bccd_d2.training.trainer import CellTrainer


class Counter(TrainerBase):
    def run_step(self) -> None:
        self.storage.put_scalar("total_loss", 10.0 - self.iter)


class Step(nn.Module):
    """A model whose only weight is set to the iteration by the test."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))


def run(hooks: list, start: int = 0, stop: int = 10) -> Counter:
    trainer = Counter()
    trainer.register_hooks(hooks)
    trainer.train(start, stop)
    return trainer


def test_evaluation_is_due_by_period_and_at_the_end() -> None:
    seen = []
    trainer = run([Evaluation(lambda: seen.append(1) or {"segm": {"AP": 0.1 * len(seen)}}, 4)])
    assert len(seen) == 3  # after 4, 8 and 10 iterations
    assert trainer.storage.history("segm/AP").values() == [
        (pytest.approx(0.1), 3), (pytest.approx(0.2), 7), (pytest.approx(0.3), 9)]  # fmt: skip


def best(tmp_path, values: list[float], hook_state: dict | None = None, start: int = 0):
    model, scores = Step(), iter(values)
    checkpointer = CellCheckpointer(model, str(tmp_path))
    hook = BestCheckpoint(checkpointer, "segm/AP", 1)
    if hook_state:
        hook.load_state_dict(hook_state)

    def evaluate() -> dict:
        with torch.no_grad():
            model.weight.add_(1)
        return {"segm": {"AP": next(scores)}}

    run([Evaluation(evaluate, 1), hook], start, start + len(values))
    return hook


def test_best_keeps_the_highest_and_is_restored_on_resume(tmp_path) -> None:
    hook = best(tmp_path, [0.2, 0.6, 0.4, 0.6])
    saved = torch.load(tmp_path / "model_best.pth", weights_only=True)
    assert saved["best"] == {"metric": "segm/AP", "value": 0.6, "iteration": 2}
    assert float(saved["model"]["weight"]) == 2
    best(tmp_path, [0.5], hook.state_dict(), start=4)
    again = torch.load(tmp_path / "model_best.pth", weights_only=True)
    assert again["best"]["value"] == 0.6


def test_a_metric_that_does_not_exist_is_named(tmp_path) -> None:
    checkpointer = CellCheckpointer(Step(), str(tmp_path))
    hooks = [Evaluation(lambda: {"segm": {"AP50": 1.0}}, 1), BestCheckpoint(checkpointer, "AP", 1)]
    with pytest.raises(KeyError, match="BEST_METRIC 'AP'.*segm/AP50"):
        run(hooks, stop=1)


def test_only_the_newest_periodic_checkpoints_stay(tmp_path) -> None:
    run([Checkpoints(CellCheckpointer(Step(), str(tmp_path)), period=2, keep=2)], stop=9)
    names = sorted(p.name for p in tmp_path.glob("*.pth"))
    assert names == ["model_0000005.pth", "model_0000007.pth", "model_final.pth"]
    assert (tmp_path / "last_checkpoint").read_text() == "model_final.pth"


class Random(nn.Module):
    """A loss that depends on torch's random stream, as sampling proposals does."""

    def forward(self, batch):
        return {"a": torch.rand(()) + batch[0], "b": torch.zeros(())}


def test_validation_loss_repeats_and_leaves_the_random_stream_alone() -> None:
    import contextlib

    hook = ValidationLoss(Random(), [[1.0], [3.0]], 1, contextlib.nullcontext)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    trainer = run([hook], stop=2)
    torch.testing.assert_close(torch.rand(3), expected)
    (first, _), (second, _) = trainer.storage.history("validation/total_loss").values()
    assert first == second and 2.0 < first < 3.0
    assert trainer.storage.history("validation/b").latest() == 0


def test_progress_line_tells_the_time_left(caplog) -> None:
    from detectron2.engine import hooks

    with caplog.at_level(logging.INFO):
        run([hooks.PeriodicWriter([ProgressLine(lambda: 10)], period=4)])
    lines = [r.message for r in caplog.records if r.message.startswith("iteration")]
    assert "iteration 8/10" in lines[1] and "eta" in lines[1] and "total_loss" in lines[1]
    caplog.clear()
    with caplog.at_level("INFO"):
        run([hooks.PeriodicWriter([ProgressLine(lambda: 10)], period=5)])
    lines = [r.message for r in caplog.records if r.message.startswith("iteration")]
    assert [line.split()[1] for line in lines] == ["5/10", "10/10"]


def stopping(tmp_path, values: list[float], *, patience: int, state: dict | None = None, start=0):
    """Train to 20 with a score every 2 iterations; the number of iterations done, and the hooks."""
    checkpointer, scores = CellCheckpointer(Step(), str(tmp_path)), iter(values)
    watch = BestCheckpoint(checkpointer, "validation/total_loss", 2, "min")
    if state:
        watch.load_state_dict(state)
    evaluate = Score(scores)
    last = Checkpoints(checkpointer, 0)
    model = Toy()
    trainer = CellTrainer(model, itertools.repeat([1.0]), torch.optim.SGD(model.parameters(), 0.1))
    trainer.register_hooks([evaluate, watch, EarlyStopping(watch, patience, 2), last])
    trainer.train(start, 20)
    return trainer.iter, watch


class Score(HookBase):
    def __init__(self, scores: Iterator[float]) -> None:
        self.scores = scores

    def after_step(self) -> None:
        if self.trainer.iter % 2:
            self.trainer.storage.put_scalar("validation/total_loss", next(self.scores))


class Toy(Step):
    def forward(self, batch):
        return {"loss": (self.weight * batch[0]).sum()}


def test_training_stops_when_the_lowest_loss_is_too_old(tmp_path) -> None:
    done, watch = stopping(tmp_path, [3.0, 2.0, 2.5, 2.0, 1.0], patience=2)
    assert done == 8 and watch.best == 2.0 and watch.best_iteration == 3
    assert torch.load(tmp_path / "model_final.pth", weights_only=True)["iteration"] == 7
    again, _ = stopping(tmp_path, [1.0], patience=2, state=watch.state_dict(), start=8)
    assert again == 8  # resumed with the same patience: nothing
    more, _ = stopping(tmp_path, [1.0] * 6, patience=3, state=watch.state_dict(), start=8)
    assert more > 8


def test_training_goes_on_while_the_score_improves(tmp_path) -> None:
    done, watch = stopping(tmp_path, [10.0 - i for i in range(10)], patience=1)
    assert done == 20 and watch.best == 1.0


def test_a_score_that_is_not_finite_is_never_the_best(tmp_path) -> None:
    _, watch = stopping(tmp_path, [float("inf"), 2.0, float("-inf"), 3.0], patience=2)
    assert watch.best == 2.0
