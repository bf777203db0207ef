"""Losses of box-sized instance masks, (N, M, M): outline-weighted cross-entropy and Dice."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from bccd_d2.losses.region import dice_loss


def outline_weights(target: torch.Tensor, factor: float) -> torch.Tensor:
    """1 + ``factor`` where a pixel's 3 x 3 neighbourhood is not all one value, else 1.

    Args:
        target: (N, H, W) in {0, 1}; beyond the edge counts as the edge's own pixel.
        factor: >= 0.
    """
    given = target.to(torch.float32)[:, None]
    padded = F.pad(given, (1, 1, 1, 1), mode="replicate")
    spread = F.max_pool2d(padded, 3, 1) + F.max_pool2d(-padded, 3, 1)
    return 1 + factor * (spread[:, 0] > 0).to(torch.float32)


def mask_loss(
    logits: torch.Tensor, target: torch.Tensor, *, dice: float = 0.0, outline: float = 0.0
) -> torch.Tensor:
    """Binary cross-entropy plus ``dice`` times the Dice loss; a scalar >= 0, 0 without masks.

    Args:
        logits: (N, M, M).
        target: (N, M, M) in {0, 1}.
        dice: weight of `dice_loss`, 0 = none.
        outline: further weight of pixels at the outline (`outline_weights`); the weights are
            normalised to mean 1, so that this moves attention and not the size of the loss.

    Raises:
        ValueError: unequal shapes or a negative weight.
    """
    if logits.shape != target.shape or dice < 0 or outline < 0:
        raise ValueError(
            f"wanted equal shapes and weights >= 0, got {tuple(logits.shape)}, "
            f"{tuple(target.shape)}, dice {dice}, outline {outline}"
        )
    if not len(logits):
        return logits.sum() * 0
    logits, truth = logits.float(), target.float()
    weights = None
    if outline > 0:
        weights = outline_weights(truth, outline)
        weights = weights / weights.mean()
    loss = F.binary_cross_entropy_with_logits(logits, truth, weights)
    return loss + dice * dice_loss(logits, truth) if dice else loss
