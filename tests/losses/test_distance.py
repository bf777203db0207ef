from __future__ import annotations

import pytest
import torch

from bccd_d2.losses.distance import boundary_loss, signed_distance


def plain_distance(inside: torch.Tensor, limit: float) -> torch.Tensor:
    """All pairs of pixels: (H, W)."""
    rows, columns = torch.meshgrid(*(torch.arange(n) for n in inside.shape), indexing="ij")
    points = torch.stack([rows, columns], -1).reshape(-1, 2).float()
    apart = torch.cdist(points, points)
    other = inside.flatten()[None] != inside.flatten()[:, None]
    nearest = torch.where(other, apart, torch.inf).min(1).values.clamp_max(limit)
    return torch.where(inside.flatten(), -nearest, nearest).reshape(inside.shape)


@pytest.mark.parametrize("limit", [3, 50])
def test_equals_all_pairs(limit):
    generator = torch.Generator().manual_seed(1)
    target = (torch.rand(2, 2, 13, 17, generator=generator) < 0.1).float()
    found = signed_distance(target, limit)
    for image in range(2):
        for channel in range(2):
            wanted = plain_distance(target[image, channel] > 0, limit)
            assert torch.allclose(found[image, channel], wanted, atol=1e-5)


def test_by_hand():
    target = torch.zeros(1, 1, 5, 7)
    target[..., 2:6] = 1
    assert signed_distance(target)[0, 0, 2].tolist() == [2, 1, -1, -2, -2, -1, 1]
    # All of row: inside chance 1, outside 0: 5 rows of -6 among 35 pixels, in units of 10.
    loss = boundary_loss(40 * (2 * target - 1), target, limit=10)
    assert loss.item() == pytest.approx(-5 * 6 / 35 / 10)
    wrong = boundary_loss(-40 * (2 * target - 1), target, limit=10)
    assert wrong.item() == pytest.approx(5 * 4 / 35 / 10)


@pytest.mark.parametrize("fill", [0.0, 1.0])
def test_without_an_outline_it_says_nothing(fill):
    logits = torch.randn(2, 1, 6, 6, requires_grad=True)
    value = boundary_loss(logits, torch.full((2, 1, 6, 6), fill))
    value.backward()
    assert value.item() == 0 and not logits.grad.any()


def test_one_empty_image_does_not_silence_the_other():
    target = torch.zeros(2, 1, 6, 6)
    target[1, :, 2:4, 2:4] = 1
    distance = signed_distance(target)
    assert not distance[0].any() and (distance[1] != 0).all()


def test_weight_and_gradient():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 1, 5, 5, generator=generator, dtype=torch.double, requires_grad=True)
    target = torch.zeros(2, 1, 5, 5)
    target[0, 0, 1:3, 1:4] = 1
    weight = torch.ones(2, 1, 5, 5)
    weight[..., 3:] = 0
    assert torch.autograd.gradcheck(lambda x: boundary_loss(x, target, 4, weight), (logits,))
    boundary_loss(logits, target, 4, weight).backward()
    assert not logits.grad[..., 3:].any() and logits.grad[0, ..., :3].all()


def test_refusals():
    with pytest.raises(ValueError, match="one non-empty shape"):
        boundary_loss(torch.zeros(1, 1, 3, 3), torch.zeros(1, 1, 3, 4))
    with pytest.raises(ValueError, match="limit"):
        signed_distance(torch.zeros(1, 1, 3, 3), 0)
