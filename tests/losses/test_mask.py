"""Mask losses against closed forms, limits and plain cross-entropy."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from bccd_d2.losses.mask import mask_loss, outline_weights


def square(side: int = 8) -> torch.Tensor:
    target = torch.zeros(1, side, side)
    target[:, 2:6, 2:6] = 1
    return target


def test_without_extras_it_is_cross_entropy() -> None:
    torch.manual_seed(0)
    logits = torch.randn(3, 8, 8)
    target = (torch.rand(3, 8, 8) > 0.5).float()
    wanted = F.binary_cross_entropy_with_logits(logits, target)
    torch.testing.assert_close(mask_loss(logits, target), wanted)
    torch.testing.assert_close(mask_loss(torch.zeros(3, 8, 8), target), torch.tensor(math.log(2)))


def test_weights_stand_on_both_sides_of_the_outline() -> None:
    weights = outline_weights(square(), 3.0)[0]
    # A 4 x 4 square: 12 pixels inside it touch the outline, and 20 around it do.
    assert (weights == 4).sum() == 12 + 20 and (weights == 1).sum() == 64 - 32
    assert (outline_weights(torch.ones(1, 5, 5), 3.0) == 1).all()


def test_an_error_at_the_outline_costs_more_with_its_weight() -> None:
    target = square()
    sure = (target * 2 - 1) * 4
    edge, corner = sure.clone(), sure.clone()
    edge[0, 2, 3] *= -1
    corner[0, 0, 0] *= -1
    plain = mask_loss(edge, target) - mask_loss(corner, target)
    assert abs(float(plain)) < 1e-6
    assert mask_loss(edge, target, outline=4.0) > 1.5 * mask_loss(corner, target, outline=4.0)


def test_dice_is_added_with_its_weight_and_vanishes_on_a_perfect_mask() -> None:
    target = square()
    perfect = (target * 2 - 1) * 50
    assert float(mask_loss(perfect, target, dice=1.0)) < 1e-4
    empty = torch.full_like(target, -50.0)
    added = mask_loss(empty, target, dice=2.0) - mask_loss(empty, target)
    assert float(added) == pytest.approx(2 * (1 - 1 / (16 / 2 + 1)), abs=1e-4)


def test_no_masks_cost_nothing_but_keep_the_graph() -> None:
    logits = torch.zeros(0, 8, 8, requires_grad=True)
    loss = mask_loss(logits, torch.zeros(0, 8, 8), dice=1.0, outline=1.0)
    loss.backward()
    assert float(loss.detach()) == 0 and logits.grad is not None


def test_bad_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="equal shapes"):
        mask_loss(torch.zeros(1, 4, 4), torch.zeros(1, 5, 5))
    with pytest.raises(ValueError, match="dice -1"):
        mask_loss(torch.zeros(1, 4, 4), torch.zeros(1, 4, 4), dice=-1)
