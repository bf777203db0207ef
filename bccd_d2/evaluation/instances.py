"""Instance scores at an operating point: PQ, F1, precision, recall, accuracy, count error.

Unlike COCO AP these look at one fixed set of cells, those that a user gets at a score threshold.
Predicted masks are made disjoint first (the higher score keeps shared pixels, as in the label
image that is exported), so that every pixel belongs to one cell, as PQ demands. Cells are matched
one to one at IoU >= t; Kirillov et al. ask for > .5, which differs at exactly .5 only.

Empty cases: an image where neither truth nor prediction holds a cell scores 1; where one of them
holds none, 0. A dataset without any true cell has no scores: they are None. Nothing is ever NaN.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bccd_d2.masks.cells import Cells
from bccd_d2.masks.overlap import (
    Matches,
    best_pairs,
    candidate_pairs,
    check_image_size,
    iou_matrix,
    resolve_overlaps,
)

IOU_THRESHOLDS = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9)


@dataclass(frozen=True, eq=False)
class Comparison:
    """What the instance scores of one image need, for any score threshold.

    Attributes:
        scores: (N,) float32 of the predicted cells.
        pred_border: (N,) bool, the predicted cell touches the image's edge.
        truth_border: (M,) bool, the same for true cells.
        pairs: all pairs with IoU >= .5, not yet one to one.
    """

    scores: np.ndarray
    pred_border: np.ndarray
    truth_border: np.ndarray
    pairs: Matches


@dataclass(frozen=True, eq=False)
class InstanceCounts:
    """Counts of one image, or summed over several, at T IoU thresholds.

    Attributes:
        truth: number of true cells.
        predicted: number of predicted cells.
        matched: (T,) int64 matched pairs (true positives) at each IoU threshold.
        iou_sum: (T,) float64 their summed IoU.
        iou_thresholds: the T thresholds.
    """

    truth: int
    predicted: int
    matched: np.ndarray
    iou_sum: np.ndarray
    iou_thresholds: tuple[float, ...] = IOU_THRESHOLDS

    def __add__(self, other: InstanceCounts) -> InstanceCounts:
        """The counts of both; ValueError where their IoU thresholds differ."""
        if self.iou_thresholds != other.iou_thresholds:
            raise ValueError(
                f"counts at IoU {self.iou_thresholds} and {other.iou_thresholds} cannot be added"
            )
        return InstanceCounts(
            self.truth + other.truth,
            self.predicted + other.predicted,
            self.matched + other.matched,
            self.iou_sum + other.iou_sum,
            self.iou_thresholds,
        )


def compare(truth: Cells, predictions: Cells) -> Comparison:
    """The pairs of overlapping cells of one image; predicted masks are made disjoint first.

    Raises:
        ValueError: the two are of different image sizes.
    """
    check_image_size(truth.image_size, predictions)
    visible = resolve_overlaps(predictions)
    pairs = candidate_pairs(iou_matrix(visible.rles, truth.rles), IOU_THRESHOLDS[0])
    return Comparison(
        predictions.scores, predictions.touches_border(), truth.touches_border(), pairs
    )


def count_instances(
    comparison: Comparison,
    score_threshold: float,
    *,
    interior: bool = False,
    iou_thresholds: tuple[float, ...] = IOU_THRESHOLDS,
) -> InstanceCounts:
    """Counts of one image with the predicted cells whose score is at least ``score_threshold``.

    Args:
        interior: leave the image's edge out, where the annotators drew some cells and skipped
            others. A true cell that touches the edge is ignored. A predicted cell is ignored when
            its partner at IoU .5 is an ignored true cell, or when it has no partner and touches
            the edge itself. Which cells count is the same at all IoU thresholds.
        iou_thresholds: each at least .5.

    Raises:
        ValueError: an IoU threshold is below .5.
    """
    if min(iou_thresholds) < IOU_THRESHOLDS[0]:
        raise ValueError(f"iou_thresholds must be at least .5, got {iou_thresholds}")
    # A plain float: against np.float64 a float32 score of .45 would count as below .45.
    pred_counts = comparison.scores >= float(score_threshold)
    truth_counts = np.ones(len(comparison.truth_border), dtype=bool)
    pairs = comparison.pairs[pred_counts[comparison.pairs.pred_index]]
    if interior:
        partners = best_pairs(pairs, IOU_THRESHOLDS[0])
        truth_counts = ~comparison.truth_border
        ignored = comparison.pred_border.copy()
        ignored[partners.pred_index] = comparison.truth_border[partners.truth_index]
        pred_counts = pred_counts & ~ignored
        pairs = pairs[pred_counts[pairs.pred_index] & truth_counts[pairs.truth_index]]
    chosen = [best_pairs(pairs, threshold) for threshold in iou_thresholds]
    return InstanceCounts(
        truth=int(truth_counts.sum()),
        predicted=int(pred_counts.sum()),
        matched=np.array([len(pairs) for pairs in chosen], dtype=np.int64),
        iou_sum=np.array([pairs.iou.sum() for pairs in chosen], dtype=np.float64),
        iou_thresholds=iou_thresholds,
    )


def pooled_scores(counts: InstanceCounts) -> dict[str, float]:
    """Scores in [0, 1] of the counts of one image or of their sum over images.

    Keys, with t an IoU threshold written ".5":
        PQ, SQ, RQ: panoptic quality and its factors (Kirillov et al. 2019, eq. 1 and 2) at IoU .5;
            RQ is F1@.5, SQ the mean IoU of matched pairs, PQ = SQ * RQ.
        mean_matched_iou: the same figure as SQ, under the name that cell papers use.
        F1@t, precision@t, recall@t: at .5 and .75.
        accuracy@t: TP / (TP + FP + FN) at every threshold. Cellpose, StarDist and the 2018 Data
            Science Bowl call this figure AP. It is not COCO's AP: it judges one set of cells, COCO
            averages precision over all score thresholds.
    """
    truth, predicted = counts.truth, counts.predicted
    empty = float(truth == 0 and predicted == 0)
    values: dict[str, float] = {}
    by_threshold = dict(zip(counts.iou_thresholds, counts.matched.tolist(), strict=True))
    if 0.5 in by_threshold:
        iou_sum = float(counts.iou_sum[counts.iou_thresholds.index(0.5)])
        quality = ratio(iou_sum, by_threshold[0.5], empty)
        recognition = ratio(2 * by_threshold[0.5], truth + predicted, empty)
        values = {"PQ": quality * recognition, "SQ": quality, "RQ": recognition}
        values["mean_matched_iou"] = quality
    for threshold in (0.5, 0.75):
        if threshold in by_threshold:
            name, matched = short(threshold), by_threshold[threshold]
            values[f"F1@{name}"] = ratio(2 * matched, truth + predicted, empty)
            values[f"precision@{name}"] = ratio(matched, predicted, empty)
            values[f"recall@{name}"] = ratio(matched, truth, empty)
    for threshold, matched in by_threshold.items():
        values[f"accuracy@{short(threshold)}"] = ratio(matched, truth + predicted - matched, empty)
    return values


def count_errors(images: Sequence[InstanceCounts]) -> dict[str, float]:
    """How far the number of cells per image is off; all 0 for no images.

    Keys: count_mae, mean |predicted - true| in cells; count_bias, mean predicted - true (positive:
    too many); count_relative_error, mean |predicted - true| / max(true, 1).
    """
    truth = np.array([image.truth for image in images], dtype=np.float64)
    difference = np.array([image.predicted for image in images], dtype=np.float64) - truth
    number = max(len(images), 1)
    return {
        "count_mae": float(np.abs(difference).sum() / number),
        "count_bias": float(difference.sum() / number),
        "count_relative_error": float((np.abs(difference) / np.maximum(truth, 1)).sum() / number),
    }


def instance_scores(images: Sequence[InstanceCounts]) -> dict[str, float | None]:
    """`pooled_scores` of the summed counts, `count_errors`, and the cells they rest on.

    The last are ``truth``, ``predicted`` and ``matched`` (at IoU .5), in cells. Without any true
    cell the pooled scores are None: there is nothing that a model could have found.

    Raises:
        ValueError: no images.
    """
    total = summed(images)
    cells = {
        "truth": float(total.truth),
        "predicted": float(total.predicted),
        "matched": float(total.matched[0]),
    }
    known = total.truth > 0
    pooled = {k: value if known else None for k, value in pooled_scores(total).items()}
    return pooled | count_errors(images) | cells


def summed(images: Sequence[Any]) -> Any:
    """The counts of all images, of whichever class they are, added up.

    Raises:
        ValueError: no images.
    """
    if not images:
        raise ValueError("images is empty: there is nothing to score; check the dataset's split")
    return sum(images[1:], start=images[0])


def ratio(numerator: float, denominator: float, otherwise: float) -> float:
    """``numerator / denominator``, or ``otherwise`` where the denominator is 0."""
    return float(numerator / denominator) if denominator else float(otherwise)


def short(threshold: float) -> str:
    """A threshold below 1 as the score names write it: ".5", ".75"."""
    return f"{threshold:.2f}".lstrip("0").rstrip("0")
