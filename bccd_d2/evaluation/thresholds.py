"""The operating point: the score threshold that finds cells best on validation images.

Example:
    threshold = choose(sweep(truth, predictions))
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bccd_d2.evaluation.instances import (
    Comparison,
    compare,
    count_errors,
    count_instances,
    pooled_scores,
    summed,
)
from bccd_d2.masks.cells import Cells

THRESHOLDS = tuple(float(t) for t in np.round(np.arange(0.05, 0.96, 0.01), 2))
F1_TIE = 0.002


@dataclass(frozen=True, eq=False)
class SweepTable:
    """Scores of a dataset at each of S score thresholds, all cells, IoU .5.

    Attributes:
        thresholds: (S,) ascending.
        f1, precision, recall, pq: (S,) in [0, 1].
        count_mae, count_bias: (S,) cells per image.
    """

    thresholds: np.ndarray
    f1: np.ndarray
    precision: np.ndarray
    recall: np.ndarray
    pq: np.ndarray
    count_mae: np.ndarray
    count_bias: np.ndarray

    def to_dict(self) -> dict[str, Any]:
        """Plain lists by column, for JSON, with the choice under ``chosen``."""
        columns = {name: getattr(self, name).tolist() for name in self.__dataclass_fields__}
        return columns | {"chosen": choose(self)}


def sweep(
    truth: Sequence[Cells],
    predictions: Sequence[Cells],
    thresholds: Sequence[float] = THRESHOLDS,
) -> SweepTable:
    """Scores at each threshold; the masks of an image are compared once, not once a threshold.

    Args:
        truth: one per image.
        predictions: one per image, in the same order, with all scores the thresholds reach down to.
        thresholds: at least one.

    Raises:
        ValueError: the lists do not fit, or one is empty.
    """
    if len(truth) != len(predictions):
        raise ValueError(
            f"truth and predictions must be one per image, got {len(truth)} and {len(predictions)}"
        )
    pairs = zip(truth, predictions, strict=True)
    return sweep_comparisons([compare(true, found) for true, found in pairs], thresholds)


def sweep_comparisons(
    comparisons: Sequence[Comparison], thresholds: Sequence[float] = THRESHOLDS
) -> SweepTable:
    """`sweep` over images that are already compared.

    Raises:
        ValueError: no images or no thresholds.
    """
    if not len(comparisons) or not len(thresholds):
        raise ValueError(
            f"a sweep needs images and thresholds, got {len(comparisons)} and {len(thresholds)}"
        )
    ordered = sorted(float(t) for t in thresholds)
    rows = []
    for threshold in ordered:
        images = [count_instances(c, threshold, iou_thresholds=(0.5,)) for c in comparisons]
        rows.append(pooled_scores(summed(images)) | count_errors(images))
    keys = ("F1@.5", "precision@.5", "recall@.5", "PQ", "count_mae", "count_bias")
    return SweepTable(np.array(ordered), *(np.array([row[key] for row in rows]) for key in keys))


def choose(table: SweepTable) -> float:
    """The threshold of best F1; among those within .002 of it the one of least count error.

    Where that too is equal, the middle one of the thresholds that are left: a plateau's middle
    lasts longest on other images.
    """
    good = np.flatnonzero(table.f1 >= table.f1.max() - F1_TIE)
    best = good[table.count_mae[good] <= table.count_mae[good].min() + 1e-9]
    return float(table.thresholds[best[(best.size - 1) // 2]])
