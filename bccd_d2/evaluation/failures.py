"""Every way in which an image's prediction went wrong, as a list of events to count and to show.

The kinds split what F1 at IoU .5 counts as wrong: the true cells that nothing matched are merged,
split, badly outlined or missed; the predicted cells that match nothing are merged, split, badly
outlined or spurious.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from pycocotools import mask as coco_mask

from bccd_d2.masks.cells import Cells
from bccd_d2.masks.overlap import iou_matrix, match, resolve_overlaps

FOUND = "found"
MERGED, SPLIT, MISSED = "merged", "split", "missed"
SPURIOUS, OUTLINE = "spurious", "badly outlined"
KINDS = (MERGED, SPLIT, MISSED, SPURIOUS, OUTLINE)
MEANINGS = {
    MERGED: "one predicted cell covers more than half of two or more true cells",
    SPLIT: "two or more predicted cells lie more than half inside one true cell",
    MISSED: "a true cell that no prediction meets",
    SPURIOUS: "a predicted cell where the annotators drew none",
    OUTLINE: "a true cell met by one prediction, but at an IoU from .1 to below .5",
}
LEAST_IOU = 0.1


@dataclass(frozen=True)
class Failure:
    """One event: its kind and the places of the true and predicted cells that take part."""

    kind: str
    truth: tuple[int, ...]
    prediction: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Failures:
    """What happened to the cells of one image.

    Attributes:
        truth: (M,) str array, the verdict on each true cell: found, merged, split, missed or badly
            outlined.
        prediction: (N,) str array, the same for predicted cells: found, merged, split, spurious or
            badly outlined. One that swallows several cells is "merged" also where it matches the
            largest of them.
        matched: (N,) bool, the predicted cells that F1 counts as right.
        events: in the order of `KINDS`. One event may hold several cells, found ones among them.
    """

    truth: np.ndarray
    prediction: np.ndarray
    matched: np.ndarray
    events: list[Failure]

    def count(self, kind: str) -> int:
        """How many events are of a kind."""
        return sum(event.kind == kind for event in self.events)


def find_failures(truth: Cells, prediction: Cells, iou: float = 0.5) -> Failures:
    """Match cells one to one as the instance scores do, and say what the rest is.

    Kinds are tried in the order merged, split, badly outlined, and a cell counts for the first
    that holds; see `MEANINGS`.

    Raises:
        ValueError: the two are of different image sizes.
    """
    if truth.image_size != prediction.image_size:
        raise ValueError(
            f"truth is of an image of {truth.image_size}, prediction of {prediction.image_size}; "
            "rescale one of them first"
        )
    overlap = iou_matrix(resolve_overlaps(prediction).rles, truth.rles)
    pairs = match(overlap, iou)
    truth_is = np.full(len(truth), MISSED, dtype="U16")
    prediction_is = np.full(len(prediction), SPURIOUS, dtype="U16")
    truth_is[pairs.truth_index] = prediction_is[pairs.pred_index] = FOUND
    matched = prediction_is == FOUND
    events = _merged(truth, prediction, truth_is, prediction_is)
    events += _split(truth, prediction, truth_is, prediction_is)
    outlines = _badly_outlined(overlap, truth_is, prediction_is)
    missed = [Failure(MISSED, (int(i),), ()) for i in np.flatnonzero(truth_is == MISSED)]
    extra = [Failure(SPURIOUS, (), (int(i),)) for i in np.flatnonzero(prediction_is == SPURIOUS)]
    return Failures(truth_is, prediction_is, matched, events + missed + extra + outlines)


def _merged(
    truth: Cells, prediction: Cells, truth_is: np.ndarray, prediction_is: np.ndarray
) -> list[Failure]:
    """Predictions over several true cells of which one at least is not found otherwise."""
    inside = _share_inside(truth, prediction) > 0.5
    events = []
    for index in range(len(prediction)):
        swallowed = np.flatnonzero(inside[:, index])
        lost = swallowed[truth_is[swallowed] != FOUND]
        if len(swallowed) < 2 or not len(lost):
            continue
        truth_is[lost] = MERGED
        prediction_is[index] = MERGED
        events.append(Failure(MERGED, tuple(swallowed.tolist()), (index,)))
    return events


def _split(
    truth: Cells, prediction: Cells, truth_is: np.ndarray, prediction_is: np.ndarray
) -> list[Failure]:
    """True cells that hold several predictions of which one at least is not used otherwise."""
    inside = _share_inside(prediction, truth) > 0.5
    events = []
    for index in range(len(truth)):
        pieces = np.flatnonzero(inside[:, index])
        wrong = pieces[prediction_is[pieces] == SPURIOUS]
        if len(pieces) < 2 or not len(wrong) or truth_is[index] == MERGED:
            continue
        prediction_is[wrong] = SPLIT
        if truth_is[index] != FOUND:
            truth_is[index] = SPLIT
        events.append(Failure(SPLIT, (index,), tuple(pieces.tolist())))
    return events


def _badly_outlined(
    overlap: np.ndarray, truth_is: np.ndarray, prediction_is: np.ndarray
) -> list[Failure]:
    """Pairs of what is left that meet, one to one."""
    left = np.outer(prediction_is == SPURIOUS, truth_is == MISSED)
    pairs = match(np.where(left, overlap, 0), LEAST_IOU)
    truth_is[pairs.truth_index] = prediction_is[pairs.pred_index] = OUTLINE
    both = zip(pairs.truth_index.tolist(), pairs.pred_index.tolist(), strict=True)
    return [Failure(OUTLINE, (true,), (found,)) for true, found in both]


def _share_inside(inner: Cells, outer: Cells) -> np.ndarray:
    """(inner, outer) float64: the share of each inner cell's area inside each outer cell."""
    if not len(inner) or not len(outer):
        return np.zeros((len(inner), len(outer)))
    # With the crowd flag pycocotools divides by the first mask's area.
    shares = np.asarray(coco_mask.iou(inner.rles, outer.rles, [1] * len(outer)))
    return np.nan_to_num(shares, nan=0.0, posinf=0.0)


def count_kinds(images: Iterable[Failures]) -> dict[str, dict[str, int]]:
    """For each of `KINDS` its ``events``, ``true_cells`` lost and ``predicted_cells`` wrong.

    The cells sum up to the unmatched ones of F1 at IoU .5; matched cells of an event do not count.
    """
    images = list(images)
    return {
        kind: {
            "events": sum(image.count(kind) for image in images),
            "true_cells": sum(int((image.truth == kind).sum()) for image in images),
            "predicted_cells": sum(
                int(((image.prediction == kind) & ~image.matched).sum()) for image in images
            ),
        }
        for kind in KINDS
    }
