"""Loss of types: coarse labels teach the coarse level only; rare classes are not drowned."""

import math

import pytest
import torch

from bccd_d2.losses.types import coarse_cross_entropy, counted_cross_entropy


def test_a_label_of_one_class_is_plain_cross_entropy():
    logits = torch.tensor([[2.0, 0.0, -1.0]])
    allowed = torch.tensor([[True, False, False]])
    wanted = torch.nn.functional.cross_entropy(logits, torch.tensor([0]))
    assert coarse_cross_entropy(logits, allowed) == pytest.approx(float(wanted))


def test_a_coarse_label_teaches_its_sum_and_not_which_of_its_classes():
    logits = torch.tensor([[1.0, -2.0, 0.5]], requires_grad=True)
    allowed = torch.tensor([[True, True, False]])
    loss = coarse_cross_entropy(logits, allowed)
    odds = math.exp(1) + math.exp(-2)
    assert float(loss) == pytest.approx(math.log((odds + math.exp(0.5)) / odds))
    loss.backward()
    pushed = logits.grad[0]
    # Both red classes gain in the proportion they had: their difference is not taught.
    assert float(pushed[0] / pushed[1]) == pytest.approx(math.exp(3), rel=1e-4)


def test_labels_that_allow_all_or_nothing_teach_nothing():
    logits = torch.randn(2, 3, requires_grad=True)
    allowed = torch.tensor([[True, True, True], [False, False, False]])
    loss = coarse_cross_entropy(logits, allowed)
    loss.backward()
    assert float(loss) == 0 and not logits.grad.any()


def test_frequencies_ask_more_of_rare_classes():
    logits, allowed = torch.zeros(1, 2), torch.tensor([[False, True]])
    loss = coarse_cross_entropy(logits, allowed, torch.tensor([0.9, 0.1]))
    assert float(loss) == pytest.approx(-math.log(0.1), rel=1e-5)


def test_what_nobody_knows_of_being_counted_does_not_count():
    logits = torch.tensor([0.0, 3.0, 50.0])
    loss = counted_cross_entropy(logits, torch.tensor([1, 0, -1]))
    assert float(loss) == pytest.approx((math.log(2) + math.log1p(math.exp(3))) / 2, rel=1e-5)
    assert float(counted_cross_entropy(logits, torch.tensor([-1, -1, -1]))) == 0
