"""Losses of gradient flows, within cells. Maps are (B, 2, H, W), vectors (dy, dx)."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from bccd_d2.losses.pixel import weighted_mean


def flow_mse(
    flow: torch.Tensor, target: torch.Tensor, weight: torch.Tensor | None = None
) -> torch.Tensor:
    """Mean squared length of the difference of vectors, a scalar >= 0.

    For unit vectors it is 4 for opposite ones and 1 for a prediction of 0. Without ``weight`` the
    whole map counts, background, whose target is 0, included. Without any pixel that counts the
    loss is 0, with a gradient of 0.
    Source: Stringer et al., Nature Methods 2021, who take 5 times the vectors, half the loss and
    the whole map.

    Args:
        flow: (B, 2, H, W).
        target: the same shape.
        weight: (B, H, W) or (B, 1, H, W), >= 0; a cell mask confines the loss to cells.

    Raises:
        ValueError: unequal or empty shapes, or not two channels.
    """
    _check(flow, target)
    return weighted_mean(((flow - target) ** 2).sum(1), _flat(weight))


def flow_cosine(
    flow: torch.Tensor, target: torch.Tensor, weight: torch.Tensor | None = None
) -> torch.Tensor:
    """Mean of 1 - cosine of the angle between vectors, a scalar in [0, 2]; lengths do not count.

    Pixels whose target is 0 (background, centres) have no direction and are left out; if none
    remain the loss is 0, with a gradient of 0. A prediction of 0 costs 1. Since lengths are free
    it wants `flow_mse` beside it where flows are followed without scaling them.

    Arguments and errors are those of `flow_mse`.
    """
    _check(flow, target)
    away = 1 - F.cosine_similarity(flow, target, dim=1, eps=1e-6)
    counts = (target != 0).any(1).to(away.dtype)
    return weighted_mean(away, counts if weight is None else counts * _flat(weight))


def _flat(weight: torch.Tensor | None) -> torch.Tensor | None:
    return weight.squeeze(1) if weight is not None and weight.dim() == 4 else weight


def _check(flow: torch.Tensor, target: torch.Tensor) -> None:
    fits = flow.shape == target.shape and flow.dim() == 4 and flow.numel() > 0
    if not fits or flow.shape[1] != 2:
        raise ValueError(
            "flow and target: wanted one non-empty shape (B, 2, H, W), "
            f"got {tuple(flow.shape)} and {tuple(target.shape)}"
        )
