from __future__ import annotations

import pytest
import torch

from bccd_d2.losses.region import dice_loss


def test_known_values_at_chance_one_half():
    target = torch.tensor([[1.0, 1.0, 0.0, 0.0]])
    logits = torch.zeros(1, 4)  # TP = FP = FN = 1
    assert dice_loss(logits, target).item() == pytest.approx(1 - 2 / 3)


@pytest.mark.parametrize("sign, expected", [(1, 0.0), (-1, 1 - 1 / 9)])
def test_limits_of_right_and_wrong(sign, expected):
    target = torch.zeros(2, 1, 4, 4)
    target[..., :2] = 1  # all wrong: FP = FN = 8
    loss = dice_loss(sign * 100 * (2 * target - 1), target)
    assert loss.item() == pytest.approx(expected, abs=1e-6)


def test_empty_target():
    target = torch.zeros(1, 64)
    assert dice_loss(torch.full((1, 64), -100.0), target).item() == pytest.approx(0, abs=1e-6)
    assert dice_loss(torch.full((1, 64), 100.0), target).item() == pytest.approx(1 - 1 / 33)


@pytest.mark.parametrize("fill", [None, 0.0, 1.0])
def test_gradient(fill):
    generator = torch.Generator().manual_seed(0)
    shape = (2, 1, 3, 3)
    logits = torch.randn(shape, generator=generator, dtype=torch.double, requires_grad=True)
    target = torch.rand(shape, generator=generator, dtype=torch.double).round()
    target = target if fill is None else torch.full_like(target, fill)
    assert torch.autograd.gradcheck(lambda x: dice_loss(x, target), (logits,))


def test_pixels_of_weight_zero_do_not_count():
    logits, target = torch.randn(2, 1, 4, 6), (torch.rand(2, 1, 4, 6) < 0.5).float()
    weight = torch.ones(2, 1, 4, 6)
    weight[..., 4:] = 0
    masked = dice_loss(logits, target, weight=weight)
    cut = dice_loss(logits[..., :4], target[..., :4])
    assert masked.item() == pytest.approx(cut.item(), rel=1e-5)
    assert dice_loss(logits, target, weight=0 * weight).item() == 0


def test_refusals():
    with pytest.raises(ValueError, match="one non-empty shape"):
        dice_loss(torch.zeros(1, 3), torch.zeros(1, 4))
    with pytest.raises(ValueError, match="smooth"):
        dice_loss(torch.zeros(1, 3), torch.zeros(1, 3), smooth=0)
