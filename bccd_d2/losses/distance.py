"""Loss weighted by the distance to the true outline. Maps are (B, C, H, W)."""

from __future__ import annotations

import torch

from bccd_d2.losses.pixel import check_shapes, weighted_mean


def boundary_loss(
    logits: torch.Tensor,
    target: torch.Tensor,
    limit: int = 20,
    weight: torch.Tensor | None = None,
) -> torch.Tensor:
    """Mean of chance times the signed distance to the true outline, a scalar in [-1, 1].

    Distances (see `signed_distance`) are divided by ``limit``. Pixels far outside cost most and
    those deep inside are rewarded, so the least value is below 0, -mean of the inner distances. It
    cannot be trained alone: use it beside an overlap loss, as the paper does. An empty or a full
    target has no outline and costs 0, with a gradient of 0.
    Source: Kervadec et al., MIDL 2019 (arXiv 1812.07032), eq. 5; theirs has no limit.

    Args:
        logits: (B, C, H, W).
        target: the same shape; 1 from .5 on.
        limit: px >= 1, distances beyond count as this.
        weight: as in `bccd_d2.losses.pixel.weighted_bce`.

    Raises:
        ValueError: unequal or empty shapes, not four-dimensional, ``limit`` < 1.
    """
    check_shapes(logits, target)
    distance = signed_distance(target, limit).to(logits.dtype)
    return weighted_mean(logits.sigmoid() * distance / limit, weight)


@torch.no_grad()
def signed_distance(target: torch.Tensor, limit: int = 20) -> torch.Tensor:
    """(B, C, H, W) float32 Euclidean distance to the other side, negative inside, 0 if none.

    From pixel centre to pixel centre, so the two sides of an outline have -1 and 1; at most
    ``limit`` either way. A map that is all 0 or all 1 has 0 everywhere.

    Args:
        target: (B, C, H, W), a pixel is inside from .5 on.
        limit: px >= 1; the cost grows with it.

    Raises:
        ValueError: not four-dimensional, ``limit`` < 1.
    """
    if target.dim() != 4 or limit < 1:
        raise ValueError(
            f"target, limit: wanted (B, C, H, W) and >= 1, got {tuple(target.shape)}, {limit}"
        )
    inside = target >= 0.5
    outward = _distance_to(inside, limit)
    inward = _distance_to(~inside, limit)
    outline = inside.flatten(2).any(2) & ~inside.flatten(2).all(2)
    return torch.where(inside, -inward, outward) * outline[..., None, None]


def _distance_to(mask: torch.Tensor, limit: int) -> torch.Tensor:
    """Distance of each pixel to the nearest of ``mask``, at most ``limit``: column, then row.

    The squared distance is the least over a row of (columns away)^2 + (rows away)^2, so one pass
    each way is exact (Felzenszwalb and Huttenlocher 2012, for bounded distances).
    """
    far = float(limit) ** 2
    squared = torch.where(mask, 0.0, far)
    for dim in (2, 3):
        least = squared.clone()
        size = squared.shape[dim]
        for step in range(1, min(limit, size - 1) + 1):
            near = squared.narrow(dim, step, size - step) + step**2
            lower = least.narrow(dim, 0, size - step)
            torch.minimum(lower, near, out=lower)
            near = squared.narrow(dim, 0, size - step) + step**2
            upper = least.narrow(dim, step, size - step)
            torch.minimum(upper, near, out=upper)
        squared = least
    return squared.clamp_max(far).sqrt()
