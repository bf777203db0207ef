from __future__ import annotations

import math

import pytest
import torch

from bccd_d2.losses.pixel import focal_bce, mean_square, pixel_weights, weighted_bce

LOG2 = math.log(2)
BINARY = (weighted_bce, focal_bce, mean_square)


@pytest.mark.parametrize("value, weight", [(1.0, 0.25), (0.0, 0.75)])
def test_focal_known_value_and_limits(value, weight):
    target = torch.full((1, 4), value)
    wanted = weight * 0.25 * LOG2
    assert focal_bce(torch.zeros(1, 4), target).item() == pytest.approx(wanted)
    assert focal_bce(100 * (2 * target - 1), target).item() == pytest.approx(0, abs=1e-6)
    assert focal_bce(-100 * (2 * target - 1), target).item() == pytest.approx(100 * weight)


def test_weighted_bce_by_hand():
    logits = torch.tensor([[0.0, 0.0, -3.0, 3.0]])
    target = torch.tensor([[1.0, 0.0, 1.0, 1.0]])
    right, wrong = math.log1p(math.exp(-3)), math.log1p(math.exp(3))
    plain = (2 * LOG2 + wrong + right) / 4
    assert weighted_bce(logits, target).item() == pytest.approx(plain)
    weight = torch.tensor([1.0, 2.0, 0.0, 1.0])
    wanted = (LOG2 + 2 * LOG2 + right) / 4
    assert weighted_bce(logits, target, weight).item() == pytest.approx(wanted)
    assert weighted_bce(logits, target, 7 * weight).item() == pytest.approx(wanted)
    heavy = (3 * LOG2 + LOG2 + 3 * wrong + 3 * right) / 4
    assert weighted_bce(logits, target, pos_weight=3).item() == pytest.approx(heavy)


@pytest.mark.parametrize("loss", BINARY)
def test_no_pixel_that_counts_costs_nothing(loss):
    logits = torch.randn(2, 1, 3, 3, requires_grad=True)
    value = loss(logits, torch.ones(2, 1, 3, 3), weight=torch.zeros(2, 1, 3, 3))
    value.backward()
    assert value.item() == 0 and not logits.grad.any()


@pytest.mark.parametrize("loss", BINARY)
def test_weights_of_zero_are_as_if_the_pixels_were_not_there(loss):
    logits, target = torch.randn(1, 8), (torch.rand(1, 8) < 0.5).float()
    weight = torch.tensor([[1.0] * 4 + [0.0] * 4])
    whole = loss(logits, target, weight=weight)
    assert whole.item() == pytest.approx(loss(logits[:, :4], target[:, :4]).item())


@pytest.mark.parametrize("loss", BINARY)
def test_an_empty_target_asks_for_nothing(loss):
    target = torch.zeros(2, 1, 4, 4)
    assert loss(torch.full_like(target, -50.0), target).item() == pytest.approx(0, abs=1e-6)
    assert loss(torch.full_like(target, 50.0), target).item() > 0.5


def test_mean_square_by_hand():
    assert mean_square(torch.zeros(1, 2), torch.tensor([[1.0, 0.0]])).item() == 0.25


def test_pixel_weights_by_hand():
    boundary, centre = torch.tensor([0.0, 1.0, 0.0, 1.0]), torch.tensor([0.0, 0.0, 0.5, 1.0])
    assert pixel_weights(boundary, centre, 1.5, 2.0).tolist() == [1, 1.5, 1.5, 2.5]
    assert pixel_weights(None, centre, centre_weight=0).tolist() == [1, 1, 0.5, 0]
    with pytest.raises(ValueError, match="at least one map"):
        pixel_weights()
    with pytest.raises(ValueError, match=">= 0"):
        pixel_weights(boundary, boundary_weight=-1)


@pytest.mark.parametrize("loss", BINARY)
@pytest.mark.parametrize("fill", [None, 0.0])
def test_gradient(loss, fill):
    logits = torch.linspace(-2, 2, 8, dtype=torch.double).reshape(2, 4).requires_grad_()
    target = torch.tensor([[0.0, 1, 0, 1], [1, 0, 1, 0]])
    target = target if fill is None else torch.full_like(target, fill)
    weight = torch.tensor([1.0, 2.0, 0.0, 0.5])
    assert torch.autograd.gradcheck(lambda x: loss(x, target, weight=weight), (logits,))


@pytest.mark.parametrize("loss", BINARY)
def test_unequal_or_empty_shapes_are_refused(loss):
    with pytest.raises(ValueError, match="one non-empty shape"):
        loss(torch.zeros(1, 3), torch.zeros(1, 4))
    with pytest.raises(ValueError, match="one non-empty shape"):
        loss(torch.zeros(0, 3), torch.zeros(0, 3))


def test_numbers_out_of_range_are_refused():
    maps = torch.zeros(1, 3), torch.zeros(1, 3)
    for loss, wrong in (
        (focal_bce, {"alpha": 2}),
        (weighted_bce, {"pos_weight": 0}),
    ):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            loss(*maps, **wrong)


def test_focal_with_alpha_a_quarter_answers_an_even_chance_with_two_fifths() -> None:
    """Why uni_watershed takes seeds from .25: a threshold of .5 asks for three chances in four."""
    answers = torch.arange(0.001, 1, 0.001)
    both = torch.stack([torch.ones(()), torch.zeros(())])

    def likely(chance: float) -> float:
        losses = [
            sum(w * focal_bce(a.logit().view(1, 1), t.view(1, 1), alpha=0.25, gamma=2).item()
                for t, w in zip(both, (chance, 1 - chance), strict=True))
            for a in answers
        ]  # fmt: skip
        return answers[int(torch.tensor(losses).argmin())].item()

    assert likely(0.5) == pytest.approx(0.399, abs=0.005)
    assert likely(0.7) < 0.5 < likely(0.8)
