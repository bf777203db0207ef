from __future__ import annotations

import pytest
import torch

from bccd_d2.losses.flow import flow_mse


def field(*vectors: tuple[float, float]) -> torch.Tensor:
    """(1, 2, 1, N) of the given (dy, dx)."""
    return torch.tensor(vectors, dtype=torch.float32).T[None, :, None, :]


TRUE = field((1, 0), (0, 1), (0, -1), (0, 0))
FOUND = field((1, 0), (0, -1), (2, 0), (0.6, 0.8))


def test_by_hand():
    # Squared differences 0, 4, 4 + 1, 1.
    assert flow_mse(FOUND, TRUE).item() == pytest.approx(10 / 4)
    cells = torch.tensor([[[[1.0, 0.0, 1.0, 0.0]]]])
    assert flow_mse(FOUND, TRUE, cells).item() == pytest.approx(5 / 2)
    assert flow_mse(FOUND, TRUE, cells[:, 0]).item() == pytest.approx(5 / 2)
    assert flow_mse(TRUE, TRUE).item() == 0


def test_no_cell_costs_nothing():
    flow = torch.randn(2, 2, 3, 3, requires_grad=True)
    value = flow_mse(flow, torch.zeros(2, 2, 3, 3), torch.zeros(2, 1, 3, 3))
    value.backward()
    assert value.item() == 0 and not flow.grad.any()


def test_gradient():
    generator = torch.Generator().manual_seed(0)
    flow = torch.randn(2, 2, 3, 4, generator=generator, dtype=torch.double, requires_grad=True)
    target = torch.randn(2, 2, 3, 4, generator=generator, dtype=torch.double)
    target[..., 0] = 0
    weight = torch.rand(2, 1, 3, 4, generator=generator, dtype=torch.double)
    assert torch.autograd.gradcheck(lambda x: flow_mse(x, target, weight), (flow,))


def test_refusals():
    with pytest.raises(ValueError, match=r"\(B, 2, H, W\)"):
        flow_mse(torch.zeros(1, 1, 3, 3), torch.zeros(1, 1, 3, 3))
