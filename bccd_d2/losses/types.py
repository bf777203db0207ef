"""Loss of cell types whose labels may be coarse and whose classes are unequally common."""

from __future__ import annotations

import torch
import torch.nn.functional as F


def coarse_cross_entropy(
    logits: torch.Tensor, allowed: torch.Tensor, frequencies: torch.Tensor | None = None
) -> torch.Tensor:
    """Mean of -log of the probability that a label's classes have together.

    A label that allows one class is plain cross entropy; "red" teaches that it is one of the red
    classes and not which; one that allows all classes, or none, teaches nothing. With
    ``frequencies`` their logarithms are added to the logits in training only, so that the logits
    themselves treat rare and common classes alike (Menon et al., "Long-tail learning via logit
    adjustment", ICLR 2021, equation 10; there every label is one class).

    Args:
        logits: (N, K).
        allowed: (N, K) bool.
        frequencies: (K,) above 0, of the classes among what is trained on.

    Returns:
        A scalar; 0 where no row teaches anything.
    """
    if frequencies is not None:
        logits = logits + frequencies.clamp_min(1e-6).log()
    teaches = allowed.any(dim=1) & ~allowed.all(dim=1)
    logits, allowed = logits[teaches], allowed[teaches]
    if not len(logits):
        return logits.sum()
    inside = torch.logsumexp(logits.masked_fill(~allowed, float("-inf")), dim=1)
    return (torch.logsumexp(logits, dim=1) - inside).mean()


def counted_cross_entropy(logits: torch.Tensor, counted: torch.Tensor) -> torch.Tensor:
    """Mean binary cross entropy where it is known whether annotators count an outline.

    Args:
        logits: (N,).
        counted: (N,) 1 they do, 0 they do not, -1 nobody knows.

    Returns:
        A scalar; 0 where nothing is known.
    """
    known = counted >= 0
    if not known.any():
        return logits[known].sum()
    return F.binary_cross_entropy_with_logits(logits[known], counted[known].float())
