"""Losses pixel by pixel, averaged."""

from __future__ import annotations

import torch
from torch.nn import functional as F


def focal_bce(
    logits: torch.Tensor, target: torch.Tensor, alpha: float = 0.25, gamma: float = 2.0
) -> torch.Tensor:
    """Mean over pixels of the focal binary cross-entropy, a scalar >= 0.

    ``target`` holds exactly 0 or 1 and has the shape of ``logits``. ``alpha`` in [0, 1] weighs
    the ones, 1 - alpha the zeros, so an empty target is the zeros' term alone. ValueError for
    unequal or empty shapes, or weights out of range.
    Source: Lin et al., ICCV 2017 (arXiv 1708.02002); theirs divides by the count of positives.
    """
    if logits.shape != target.shape or logits.numel() == 0:
        raise ValueError(
            "logits and target: wanted one non-empty shape, "
            f"got {tuple(logits.shape)} and {tuple(target.shape)}"
        )
    if not 0 <= alpha <= 1 or gamma < 0:
        raise ValueError(f"alpha, gamma: wanted 0..1 and >= 0, got {alpha}, {gamma}")
    truth = target.to(logits.dtype)
    cost = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    miss = (logits * (1 - 2 * truth)).sigmoid()
    return ((alpha * truth + (1 - alpha) * (1 - truth)) * miss**gamma * cost).mean()
