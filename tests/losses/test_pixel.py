from __future__ import annotations

import math

import pytest
import torch

from bccd_d2.losses.pixel import focal_bce


@pytest.mark.parametrize("value, weight", [(1.0, 0.25), (0.0, 0.75)])
def test_known_value_and_limits(value, weight):
    target = torch.full((1, 4), value)
    wanted = weight * 0.25 * math.log(2)
    assert focal_bce(torch.zeros(1, 4), target).item() == pytest.approx(wanted)
    assert focal_bce(100 * (2 * target - 1), target).item() == pytest.approx(0, abs=1e-6)
    assert focal_bce(-100 * (2 * target - 1), target).item() == pytest.approx(100 * weight)


def test_gradient():
    logits = torch.linspace(-2, 2, 6, dtype=torch.double, requires_grad=True)
    target = torch.tensor([0, 1, 0, 1, 0, 1])
    assert torch.autograd.gradcheck(lambda x: focal_bce(x, target), (logits,))


def test_refusals():
    with pytest.raises(ValueError, match="one non-empty shape"):
        focal_bce(torch.zeros(3), torch.zeros(4))
    with pytest.raises(ValueError, match="alpha"):
        focal_bce(torch.zeros(3), torch.zeros(3), alpha=2)
