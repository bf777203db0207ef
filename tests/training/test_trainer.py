"""One optimizer step: accumulation, clipping, precision, and what is not finite."""

from __future__ import annotations

import pytest
import torch
from detectron2.engine import hooks
from torch import nn

from bccd_d2.training.trainer import CellTrainer


class Toy(nn.Module):
    """Squared error of a linear map over a micro-batch of vectors."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.linear = nn.Linear(3, 1)
        self.dtypes = []

    def forward(self, batch):
        answer = self.linear(torch.stack([sample["x"] for sample in batch]))
        self.dtypes.append(answer.dtype)
        return {"loss": answer.float().square().mean()}


def vectors(count: int) -> list[dict]:
    generator = torch.Generator().manual_seed(1)
    return [{"x": torch.randn(3, generator=generator)} for _ in range(count)]


def train(batches: list[list[dict]], steps: int, **kwargs) -> tuple[Toy, CellTrainer]:
    model = Toy()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    trainer = CellTrainer(model, batches, optimizer, **kwargs)
    trainer.train(0, steps)
    return model, trainer


def test_accumulation_equals_the_large_batch() -> None:
    samples = vectors(8)
    whole, _ = train([samples[:4], samples[4:]], 2)
    parts, _ = train([samples[i : i + 2] for i in range(0, 8, 2)], 2, accumulate=2)
    torch.testing.assert_close(whole.linear.weight, parts.linear.weight)
    half, _ = train([samples[:2], samples[4:6]], 2)
    assert not torch.allclose(half.linear.weight, whole.linear.weight)


def test_clipping_bounds_the_step() -> None:
    samples = [[{"x": 100 * s["x"]} for s in vectors(4)]]
    start = Toy().linear
    model, trainer = train(samples, 1, clip=0.5)
    moved = torch.cat([(model.linear.weight - start.weight).flatten(),
                       model.linear.bias - start.bias])  # fmt: skip
    assert float(moved.detach().norm()) == pytest.approx(0.1 * 0.5, rel=1e-4)
    assert trainer.storage.history("gradient_norm").latest() > 100


def test_bf16_runs_the_model_in_bf16_and_keeps_float_weights() -> None:
    model, _ = train([vectors(4)], 1, precision="bf16")
    assert model.dtypes == [torch.bfloat16] and model.linear.weight.dtype == torch.float32


def test_a_loss_that_is_not_finite_stops_and_is_named() -> None:
    batch = vectors(2)
    batch[0]["x"][0] = float("nan")
    with pytest.raises(FloatingPointError, match="iteration 0.*loss"):
        train([batch], 1)


def test_state_restores_optimizer_and_iteration() -> None:
    model, trainer = train([vectors(4)] * 3, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.7)
    other = CellTrainer(model, [], optimizer)
    other.register_hooks([hooks.IterationTimer()])
    other.load_state_dict(trainer.state_dict())
    assert other.iter == trainer.iter and optimizer.param_groups[0]["lr"] == 0.1
