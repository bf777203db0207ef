"""Losses pixel by pixel, averaged. ``weight`` is 0 where a pixel does not count, as in padding."""

from __future__ import annotations

import torch
from torch.nn import functional as F


def pixel_weights(
    boundary: torch.Tensor | None = None,
    centre: torch.Tensor | None = None,
    boundary_weight: float = 1.5,
    centre_weight: float = 2.0,
) -> torch.Tensor:
    """Weights >= 0 of the maps' shape: 1, towards the given ones on boundaries and at centres.

    1 + (boundary_weight - 1) boundary + (centre_weight - 1) centre, for maps in [0, 1]; where
    both are 1 the raises add up. Source: the idea is U-Net's weight map (Ronneberger et al.,
    MICCAI 2015, eq. 2), which raises the background between touching cells by their distance.

    Raises:
        ValueError: no map at all, or a negative weight.
    """
    maps = ((boundary, boundary_weight), (centre, centre_weight))
    given = [(values, raised) for values, raised in maps if values is not None]
    if not given:
        raise ValueError("boundary, centre: wanted at least one map, got none")
    if min(boundary_weight, centre_weight) < 0:
        raise ValueError(
            f"boundary_weight, centre_weight: wanted >= 0, got {boundary_weight}, {centre_weight}"
        )
    total = torch.ones_like(given[0][0])
    for values, raised in given:
        total = total + (raised - 1) * values
    return total.clamp_min(0)


def weighted_bce(
    logits: torch.Tensor,
    target: torch.Tensor,
    weight: torch.Tensor | None = None,
    pos_weight: float = 1.0,
) -> torch.Tensor:
    """Binary cross-entropy averaged with ``weight``, a scalar >= 0.

    Args:
        logits: any shape.
        target: the same shape, 0..1; soft targets are allowed, their least cost is above 0.
        weight: broadcastable to it, >= 0; the mean is over the weights' sum, so doubling all of
            them changes nothing. All 0 gives 0.
        pos_weight: > 0, times the term of the ones. An empty target has the zeros' term alone,
            whatever it is.

    Raises:
        ValueError: unequal or empty shapes, ``pos_weight`` <= 0.
    """
    check_shapes(logits, target)
    if pos_weight <= 0:
        raise ValueError(f"pos_weight: wanted > 0, got {pos_weight}")
    raised = None if pos_weight == 1 else logits.new_tensor(pos_weight)
    cost = F.binary_cross_entropy_with_logits(
        logits, target.to(logits.dtype), reduction="none", pos_weight=raised
    )
    return weighted_mean(cost, weight)


def focal_bce(
    logits: torch.Tensor,
    target: torch.Tensor,
    alpha: float = 0.25,
    gamma: float = 2.0,
    weight: torch.Tensor | None = None,
) -> torch.Tensor:
    """Mean over pixels of the focal binary cross-entropy, a scalar >= 0.

    ``target`` holds exactly 0 or 1 and has the shape of ``logits``. ``alpha`` in [0, 1] weighs
    the ones, 1 - alpha the zeros, so an empty target is the zeros' term alone. ``weight`` as in
    `weighted_bce`. ValueError for unequal or empty shapes, or weights out of range.
    Source: Lin et al., ICCV 2017 (arXiv 1708.02002); theirs divides by the count of positives.
    """
    check_shapes(logits, target)
    if not 0 <= alpha <= 1 or gamma < 0:
        raise ValueError(f"alpha, gamma: wanted 0..1 and >= 0, got {alpha}, {gamma}")
    truth = target.to(logits.dtype)
    cost = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    miss = (logits * (1 - 2 * truth)).sigmoid()
    balance = alpha * truth + (1 - alpha) * (1 - truth)
    return weighted_mean(balance * miss**gamma * cost, weight)


def mean_square(
    logits: torch.Tensor, target: torch.Tensor, weight: torch.Tensor | None = None
) -> torch.Tensor:
    """Mean squared difference of chance (the logits' sigmoid) and target, a scalar in [0, 1].

    For heat maps and distances; an empty target asks for 0 everywhere. ``weight`` as in
    `weighted_bce`. ValueError for unequal or empty shapes. Source: Brier, 1950.
    """
    check_shapes(logits, target)
    return weighted_mean((logits.sigmoid() - target.to(logits.dtype)) ** 2, weight)


def weighted_mean(cost: torch.Tensor, weight: torch.Tensor | None) -> torch.Tensor:
    """Mean of ``cost``, by ``weight`` where given; 0, with a gradient of 0, if all weights are."""
    if weight is None:
        return cost.mean()
    weight = weight.to(cost.dtype).expand_as(cost)
    return (cost * weight).sum() / weight.sum().clamp_min(torch.finfo(cost.dtype).tiny)


def check_shapes(logits: torch.Tensor, target: torch.Tensor) -> None:
    """ValueError unless both have one non-empty shape."""
    if logits.shape != target.shape or logits.numel() == 0:
        raise ValueError(
            "logits and target: wanted one non-empty shape, "
            f"got {tuple(logits.shape)} and {tuple(target.shape)}"
        )
