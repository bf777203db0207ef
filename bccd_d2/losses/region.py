"""Losses on the overlap of regions. Maps are (B, ...) of any matching shape."""

from __future__ import annotations

import torch


def dice_loss(
    logits: torch.Tensor,
    target: torch.Tensor,
    smooth: float = 1.0,
    weight: torch.Tensor | None = None,
) -> torch.Tensor:
    """Mean over images of 1 - (2 TP + 2 s) / (2 TP + FP + FN + 2 s), a scalar in [0, 1].

    ``target`` holds 0..1 and has the shape of ``logits``, (B, ...); the logits go through a
    sigmoid. ``smooth`` > 0 decides the empty case: an image without target costs nearly 0 when
    nothing is predicted and approaches 1 as the predicted area grows. ``weight`` >= 0,
    broadcastable, counts pixels more than once or, at 0, not at all. ValueError for unequal
    shapes, an empty batch or ``smooth`` <= 0.

    Source: Milletari et al., 3DV 2016 (arXiv 1606.04797); theirs squares the denominator's terms.
    """
    if logits.shape != target.shape or logits.dim() < 2 or logits.numel() == 0:
        raise ValueError(
            "logits and target: wanted one non-empty shape (B, ...), "
            f"got {tuple(logits.shape)} and {tuple(target.shape)}"
        )
    if smooth <= 0:
        raise ValueError(f"smooth: wanted > 0, got {smooth}")
    chance = logits.sigmoid()
    truth = target.to(chance.dtype)
    parts = [chance * truth, chance * (1 - truth), (1 - chance) * truth]
    if weight is not None:
        parts = [part * weight for part in parts]
    hit, false, missed = (part.flatten(1).sum(1) for part in parts)
    return (1 - (hit + smooth) / (hit + (false + missed) / 2 + smooth)).mean()
