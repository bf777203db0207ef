"""Do scores mean what they say? The share of cells that are true, score by score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bccd_d2.evaluation.instances import Comparison


@dataclass(frozen=True, eq=False)
class Reliability:
    """A reliability diagram's numbers, in B bins of score of one width.

    Attributes:
        edges: (B + 1,) from 0 to 1; a bin holds its lower edge, the last one its upper edge too.
        counts: (B,) int64 predicted cells.
        confidence: (B,) their mean score, in [0, 1]; 0 in a bin without cells.
        matched: (B,) the share of them that meets a true cell, in [0, 1]; 0 in such a bin.
        error: expected calibration error in [0, 1]: the mean over all cells of
            |matched - confidence| of their bin (Guo et al. 2017, eq. 3); 0 for no cells.
    """

    edges: np.ndarray
    counts: np.ndarray
    confidence: np.ndarray
    matched: np.ndarray
    error: float


def reliability(comparisons: Sequence[Comparison], bins: int = 10) -> Reliability:
    """How often predicted cells of each score match a true cell at IoU .5.

    As in COCO, cells take their best free partner in the order of their scores, so of two
    predictions for one cell the lesser-scored is wrong. True cells that nothing found have no
    score and no part in it.

    Args:
        comparisons: one an image; see `instances.compare`.
        bins: at least 1.

    Raises:
        ValueError: ``bins`` is below 1.
    """
    if bins < 1:
        raise ValueError(f"bins must be at least 1, got {bins}")
    by_image = [greedy_hits(comparison) for comparison in comparisons]
    # As float32, which scores are: a score of .7 lies at the edge .7, not just below it.
    scores = np.concatenate([np.zeros(0, dtype=np.float32), *(c.scores for c in comparisons)])
    hits = np.concatenate([np.zeros(0, dtype=bool), *by_image])
    edges = np.linspace(0, 1, bins + 1)
    place = np.searchsorted(edges.astype(np.float32), scores.astype(np.float32), side="right")
    place = np.clip(place - 1, 0, bins - 1)
    counts = np.bincount(place, minlength=bins)
    some = np.maximum(counts, 1)
    confidence = np.bincount(place, scores, minlength=bins) / some
    matched = np.bincount(place, hits, minlength=bins) / some
    error = float((counts * np.abs(matched - confidence)).sum() / max(int(counts.sum()), 1))
    return Reliability(edges, counts, confidence, matched, error)


def greedy_hits(comparison: Comparison) -> np.ndarray:
    """(N,) bool: the predicted cell gets a true one at IoU .5, best scores choosing first."""
    hits = np.zeros(len(comparison.scores), dtype=bool)
    taken = np.zeros(len(comparison.truth_border), dtype=bool)
    pairs = comparison.pairs
    order = np.lexsort((-pairs.iou, pairs.pred_index, -comparison.scores[pairs.pred_index]))
    for predicted, true in zip(
        pairs.pred_index[order].tolist(), pairs.truth_index[order].tolist(), strict=True
    ):
        if not hits[predicted] and not taken[true]:
            hits[predicted] = taken[true] = True
    return hits
