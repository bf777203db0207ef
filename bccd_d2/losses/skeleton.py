"""Loss on centre lines: is what is found connected as the truth is? Maps are (B, C, H, W)."""

from __future__ import annotations

import torch
from torch.nn import functional as F


def soft_skeleton(chance: torch.Tensor, iterations: int = 5) -> torch.Tensor:
    """(B, C, H, W) in [0, 1]: how much each pixel lies on the centre line of its region.

    What an opening removes, gathered while the map is eroded ``iterations`` times; regions wider
    than about twice that have no skeleton yet in their middle. Minima and maxima over 3x3 stand
    for erosion and dilation, so it has a gradient. The map's edge does not erode.
    Source: Shit et al., CVPR 2021 (arXiv 2003.07311), algorithm 1; theirs erodes with a cross.

    Args:
        chance: (B, C, H, W) in [0, 1].
        iterations: >= 0; half of the widest region's width.

    Raises:
        ValueError: not four-dimensional, ``iterations`` < 0.
    """
    if chance.dim() != 4 or iterations < 0:
        raise ValueError(
            "chance, iterations: wanted (B, C, H, W) and >= 0, "
            f"got {tuple(chance.shape)} and {iterations}"
        )
    skeleton = F.relu(chance - _opened(chance))
    for _ in range(iterations):
        chance = _eroded(chance)
        removed = F.relu(chance - _opened(chance))
        skeleton = skeleton + F.relu(removed - skeleton * removed)
    return skeleton


def cldice_loss(
    logits: torch.Tensor,
    target: torch.Tensor,
    iterations: int = 5,
    smooth: float = 1.0,
    weight: torch.Tensor | None = None,
) -> torch.Tensor:
    """Mean over images of 1 - clDice, a scalar in [0, 1]: harmonic mean of two shares.

    How much of the found skeleton lies in the true region, and of the true skeleton in the found
    one. For thin maps such as boundaries; a gap in a line costs as much as the line is long.
    Empty target: nearly 0 when nothing is predicted, towards 1 as the predicted skeleton grows;
    ``smooth`` > 0 decides how soon. A map of one value has no skeleton and costs 0 or, against
    lines, up to 1.
    Source: Shit et al., CVPR 2021 (arXiv 2003.07311), eq. 3.

    Args:
        logits: (B, C, H, W).
        target: the same shape, 0..1.
        iterations: see `soft_skeleton`.
        smooth: in pixels of skeleton.
        weight: broadcastable, 1 where pixels count and 0 where they do not.

    Raises:
        ValueError: unequal or empty shapes, not four-dimensional, ``smooth`` <= 0.
    """
    if logits.shape != target.shape or logits.dim() != 4 or logits.numel() == 0:
        raise ValueError(
            "logits and target: wanted one non-empty shape (B, C, H, W), "
            f"got {tuple(logits.shape)} and {tuple(target.shape)}"
        )
    if smooth <= 0:
        raise ValueError(f"smooth: wanted > 0, got {smooth}")
    chance, truth = logits.sigmoid(), target.to(logits.dtype)
    found_line = soft_skeleton(chance, iterations)
    true_line = soft_skeleton(truth, iterations)
    if weight is not None:
        found_line, true_line = found_line * weight, true_line * weight
    precision = _share(found_line, truth, smooth)
    recall = _share(true_line, chance, smooth)
    return (1 - 2 * precision * recall / (precision + recall)).mean()


def _share(line: torch.Tensor, region: torch.Tensor, smooth: float) -> torch.Tensor:
    inside = (line * region).flatten(1).sum(1)
    return (inside + smooth) / (line.flatten(1).sum(1) + smooth)


def _eroded(maps: torch.Tensor) -> torch.Tensor:
    return -F.max_pool2d(-maps, 3, stride=1, padding=1)


def _opened(maps: torch.Tensor) -> torch.Tensor:
    return F.max_pool2d(_eroded(maps), 3, stride=1, padding=1)
