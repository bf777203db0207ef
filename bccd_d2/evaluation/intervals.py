"""Confidence intervals of a dataset's scores: how they would move with other images.

Images are drawn with replacement and every score is computed anew from the drawn ones, pooled as
the score itself is (Efron and Tibshirani 1993, chapter 13). AP needs no new matching: which cell
matches which is settled image by image, so a draw is a weight an image on one ranked list.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bccd_d2.evaluation.coco import IOU_THRESHOLDS, RECALL_POINTS
from bccd_d2.evaluation.instances import InstanceCounts, pooled_scores
from bccd_d2.evaluation.paired import resamples
from bccd_d2.evaluation.pixels import PixelCounts, pixel_ratios
from bccd_d2.evaluation.scores import ImageScores
from bccd_d2.masks.cells import Cells
from bccd_d2.masks.overlap import iou_matrix

Intervals = dict[str, dict[str, tuple[float, float]]]


@dataclass(frozen=True, eq=False)
class RankedCells:
    """All predicted cells of a dataset, best score first, as COCO's AP ranks them.

    Attributes:
        image: (D,) int64 place of each cell's image.
        hit: (10, D) bool, it matches a true cell at each of COCO's IoU thresholds.
        truth: (N,) int64 true cells per image.
    """

    image: np.ndarray
    hit: np.ndarray
    truth: np.ndarray


def rank_cells(
    truth: Sequence[Cells], predictions: Sequence[Cells], max_detections: int
) -> RankedCells:
    """Match masks image by image as COCO does: best scores first, each takes its best free cell.

    Args:
        truth, predictions: one per image, in the same order; masks may overlap.
        max_detections: cells per image that count, the best-scored first.

    Raises:
        ValueError: the lists do not fit, or images are of different sizes.
    """
    images, scores, hits = [], [], [np.zeros((len(IOU_THRESHOLDS), 0), dtype=bool)]
    for number, (true, found) in enumerate(zip(truth, predictions, strict=True)):
        best = np.argsort(-found.scores, kind="stable")[:max_detections]
        found = found[best]
        images.append(np.full(len(found), number))
        scores.append(found.scores)
        hits.append(_hits(iou_matrix(found.rles, true.rles)))
    order = np.argsort(-np.concatenate([np.zeros(0), *scores]), kind="stable")
    return RankedCells(
        np.concatenate([np.zeros(0, dtype=np.int64), *images])[order],
        np.concatenate(hits, axis=1)[:, order],
        np.array([len(cells) for cells in truth], dtype=np.int64),
    )


def _hits(iou: np.ndarray) -> np.ndarray:
    """(10, N) bool of an image's (N, M) IoU, predicted cells in order of their scores."""
    hit = np.zeros((len(IOU_THRESHOLDS), len(iou)), dtype=bool)
    choices = [np.flatnonzero(row >= IOU_THRESHOLDS[0] - 1e-10) for row in iou]
    for level, threshold in enumerate(IOU_THRESHOLDS):
        free = np.ones(iou.shape[1], dtype=bool)
        for row, near in enumerate(choices):
            near = near[free[near]]
            if near.size:
                # COCO takes the last of equally good partners.
                best = near[::-1][iou[row, near[::-1]].argmax()]
                hit[level, row] = iou[row, best] >= threshold - 1e-10
                free[best] = not hit[level, row]
    return hit


def average_precision(ranked: RankedCells, weights: np.ndarray | None = None) -> np.ndarray:
    """(10,) AP in [0, 1] at each of COCO's IoU thresholds, 101-point interpolated.

    Without true cells it is NaN, with some and without predictions 0.

    Args:
        weights: (N,) how often each image counts; None is once.
    """
    weights = np.ones(len(ranked.truth)) if weights is None else np.asarray(weights, dtype=float)
    weight, total = weights[ranked.image], float((weights * ranked.truth).sum())
    if not total or not weight.sum():
        return np.full(len(IOU_THRESHOLDS), 0.0 if total else np.nan)
    true = np.cumsum(ranked.hit * weight, axis=1)
    every = np.cumsum(weight)
    precision = np.divide(true, every, out=np.zeros_like(true), where=every > 0)
    precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    values = []
    for recall, one in zip(true / total, precision, strict=True):
        place = np.searchsorted(recall, RECALL_POINTS, side="left")
        values.append(np.append(one, 0.0)[place].mean())
    return np.array(values)


def score_intervals(
    images: Sequence[ImageScores],
    ranked: RankedCells | None = None,
    *,
    level: float = 0.95,
    draws: int = 1000,
    seed: int = 0,
) -> Intervals:
    """For each group and score (low, high), percentile bootstrap over images.

    Groups and scores are those of `dataset_scores` without ``_image_mean``, and with ``ranked``
    ``segm``: AP, AP50, AP75. With few images (below about 20) intervals are somewhat too narrow;
    one image gives intervals of no width. Draws without any true cell have no score and do not
    count; a score that no draw has is left out.

    Args:
        images: one per image.
        ranked: of the same images in the same order.

    Raises:
        ValueError: no images, or ``level`` outside (0, 1).
    """
    if not images or not 0 < level < 1:
        raise ValueError(f"needs images and a level in (0, 1), got {len(images)} and {level}")
    chosen = resamples(len(images), draws, seed)
    weights = np.stack([np.bincount(row, minlength=len(images)) for row in chosen])
    drawn = {
        "instances": _instance_draws([image.instances for image in images], weights),
        "interior": _instance_draws([image.interior for image in images], weights),
        "pixels": _pixel_draws([image.pixels for image in images], weights),
    }
    if ranked is not None:
        drawn["segm"] = [_ap_values(average_precision(ranked, row)) for row in weights]
    tails = ((1 - level) / 2, (1 + level) / 2)
    return {group: _bounds(rows, tails) for group, rows in drawn.items()}


def _bounds(rows: Sequence[dict[str, float]], tails: tuple[float, float]) -> dict:
    """Quantiles of each score over the draws that have cells; without any it is left out."""
    found = {}
    for name in rows[0]:
        values = np.array([row[name] for row in rows], dtype=np.float64)
        values = values[np.isfinite(values)]
        if values.size:
            found[name] = tuple(float(v) for v in np.quantile(values, tails))
    return found


def _ap_values(by_threshold: np.ndarray) -> dict[str, float]:
    return {"AP": by_threshold.mean(), "AP50": by_threshold[0], "AP75": by_threshold[5]}


def _instance_draws(counts: Sequence[InstanceCounts], weights: np.ndarray) -> list[dict]:
    number = len(counts)
    whole = weights @ np.array([[c.truth, c.predicted] for c in counts])
    matched = weights @ np.stack([c.matched for c in counts])
    iou_sum = weights @ np.stack([c.iou_sum for c in counts])
    error = np.array([c.predicted - c.truth for c in counts], dtype=np.float64)
    share = np.abs(error) / np.maximum([c.truth for c in counts], 1)
    means = weights @ np.stack([np.abs(error), error, share], axis=1) / number
    rows = []
    for (truth, predicted), hits, overlap, mean in zip(
        whole.tolist(), matched, iou_sum, means.tolist(), strict=True
    ):
        total = InstanceCounts(truth, predicted, hits, overlap, counts[0].iou_thresholds)
        names = ("count_mae", "count_bias", "count_relative_error")
        pooled = pooled_scores(total)
        pooled = pooled if truth else dict.fromkeys(pooled, np.nan)
        rows.append(pooled | dict(zip(names, mean, strict=True)))
    return rows


def _pixel_draws(counts: Sequence[PixelCounts], weights: np.ndarray) -> list[dict]:
    table = np.array([[c.shared, c.truth, c.predicted, c.total] for c in counts], dtype=np.int64)
    rows = []
    for drawn in (weights @ table).tolist():
        ratios = pixel_ratios(PixelCounts(*drawn))
        rows.append(ratios if drawn[1] else dict.fromkeys(ratios, np.nan))
    return rows
