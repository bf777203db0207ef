"""Losses of gradient flows, within cells. Maps are (B, 2, H, W), vectors (dy, dx)."""

from __future__ import annotations

import torch

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


def _flat(weight: torch.Tensor | None) -> torch.Tensor | None:
    return weight.squeeze(1) if weight is not None and weight.dim() == 4 else weight


def _check(flow: torch.Tensor, target: torch.Tensor) -> None:
    fits = flow.shape == target.shape and flow.dim() == 4 and flow.numel() > 0
    if not fits or flow.shape[1] != 2:
        raise ValueError(
            "flow and target: wanted one non-empty shape (B, 2, H, W), "
            f"got {tuple(flow.shape)} and {tuple(target.shape)}"
        )
