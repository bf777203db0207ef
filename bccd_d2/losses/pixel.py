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


def quality_focal(
    logits: torch.Tensor,
    target: torch.Tensor,
    gamma: float = 2.0,
    weight: torch.Tensor | None = None,
) -> torch.Tensor:
    """Focal loss for soft targets: mean of |target - chance|^gamma times cross-entropy, >= 0.

    For heat maps and distances in [0, 1]; it is 0 exactly where chance equals target. With a
    target of 0 and 1 it is `focal_bce` without alpha; an empty target has the zeros' term alone.
    ``weight`` as in `weighted_bce`. ValueError for unequal or empty shapes, ``gamma`` < 1 (its
    slope would be infinite at the target).
    Source: Li et al., NeurIPS 2020 (arXiv 2006.04388), eq. 2; theirs sums over positives.
    """
    check_shapes(logits, target)
    if gamma < 1:
        raise ValueError(f"gamma: wanted >= 1, got {gamma}")
    truth = target.to(logits.dtype)
    cost = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    return weighted_mean((truth - logits.sigmoid()).abs() ** gamma * cost, weight)


def hard_bce(
    logits: torch.Tensor,
    target: torch.Tensor,
    share: float = 0.25,
    weight: torch.Tensor | None = None,
) -> torch.Tensor:
    """Mean cross-entropy of each image's hardest pixels, at least the mean over all, a scalar.

    Only the ``share`` of pixels that cost most, at least one an image, have a gradient. A pixel
    costs ``weight`` times its cross-entropy, so pixels of weight 0 come last and add 0. An empty
    target is no special case: its hardest pixels are the false ones.
    Source: Shrivastava et al., CVPR 2016 (arXiv 1604.03540), who mine regions; pixels as in Wu et
    al. 2016 (arXiv 1605.06885).

    Args:
        logits: (B, ...).
        target: the same shape, 0..1.
        share: in (0, 1].
        weight: broadcastable to it, >= 0.

    Raises:
        ValueError: unequal or empty shapes, ``share`` out of range.
    """
    check_shapes(logits, target)
    if not 0 < share <= 1:
        raise ValueError(f"share: wanted in (0, 1], got {share}")
    cost = F.binary_cross_entropy_with_logits(logits, target.to(logits.dtype), reduction="none")
    if weight is not None:
        cost = cost * weight
    cost = cost.flatten(1)
    return cost.topk(max(1, round(share * cost.shape[1])), dim=1).values.mean()


def cross_entropy(
    logits: torch.Tensor,
    target: torch.Tensor,
    weight: torch.Tensor | None = None,
    ignore: int = -100,
) -> torch.Tensor:
    """Mean cross-entropy of exclusive classes, a scalar >= 0.

    Args:
        logits: (B, C, ...), C >= 2.
        target: (B, ...) int64 class of each pixel, or ``ignore``. A class that is nowhere in it
            has no term of its own.
        weight: (B, ...) >= 0, as in `weighted_bce`. If no pixel counts the loss is 0, where
            torch's own answers NaN.
        ignore: label of pixels that do not count.

    Raises:
        ValueError: shapes that do not fit.
    """
    fits = logits.dim() >= 2 and logits.shape[:1] + logits.shape[2:] == target.shape
    if not fits or logits.shape[1] < 2 or target.numel() == 0:
        raise ValueError(
            "logits and target: wanted (B, C >= 2, ...) and (B, ...), not empty, "
            f"got {tuple(logits.shape)} and {tuple(target.shape)}"
        )
    target = target.long()
    cost = F.cross_entropy(logits, target, reduction="none", ignore_index=ignore)
    counts = (target != ignore).to(cost.dtype)
    return weighted_mean(cost, counts if weight is None else counts * weight)


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
