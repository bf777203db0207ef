"""What a prediction got right and wrong, cell by cell, in words that a picture can colour."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pycocotools import mask as coco_mask

from bccd_d2.masks.cells import Cells
from bccd_d2.masks.overlap import iou_matrix, match

FOUND, MISSED, MERGED, SPURIOUS = "found", "missed", "merged", "spurious"


@dataclass(frozen=True)
class Comparison:
    """A verdict for every cell.

    Attributes:
        truth: (M,) str array: "found" by a prediction, "merged" (unfound, but most of it lies in a
            prediction that swallows several cells), else "missed".
        prediction: (N,) str array: "merged" (holds most of two or more true cells), else "found"
            (matches a true cell), else "spurious".
    """

    truth: np.ndarray
    prediction: np.ndarray

    def count(self, side: str, verdict: str) -> int:
        """How many cells of ``side`` ("truth" or "prediction") have a verdict."""
        return int(np.count_nonzero(getattr(self, side) == verdict))


def compare(truth: Cells, prediction: Cells, iou: float = 0.5) -> Comparison:
    """Match cells one to one at IoU >= ``iou`` and judge the rest.

    Without cells on either side the arrays are empty or all "missed", all "spurious".

    Raises:
        ValueError: the two are of different image sizes.
    """
    if truth.image_size != prediction.image_size:
        raise ValueError(
            f"truth is of an image of {truth.image_size}, prediction of {prediction.image_size}; "
            "rescale one of them first"
        )
    pairs = match(iou_matrix(prediction.rles, truth.rles), iou)
    truth_is = np.full(len(truth), MISSED, dtype="U8")
    prediction_is = np.full(len(prediction), SPURIOUS, dtype="U8")
    if len(truth) and len(prediction):
        # With the crowd flag pycocotools divides by the first mask's area, here the true cell's.
        crowd = [1] * len(prediction)
        inside = np.asarray(coco_mask.iou(truth.rles, prediction.rles, crowd)) > 0.5
        swallows = inside.sum(axis=0) >= 2
        truth_is[inside[:, swallows].any(axis=1)] = MERGED
        prediction_is[pairs.pred_index] = FOUND
        prediction_is[swallows] = MERGED
    truth_is[pairs.truth_index] = FOUND
    return Comparison(truth_is, prediction_is)
