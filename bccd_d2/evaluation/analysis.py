"""What an evaluation keeps beyond its scores, so that a report only has to read and draw.

Computed once, when the evaluation is written: how certain the scores are, whether the model's own
scores mean what they say, and what became of every cell.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from bccd_d2.evaluation.calibration import reliability
from bccd_d2.evaluation.failures import Failures, count_kinds
from bccd_d2.evaluation.instances import Comparison
from bccd_d2.evaluation.intervals import rank_cells, score_intervals
from bccd_d2.evaluation.scores import ImageScores
from bccd_d2.masks.cells import Cells
from bccd_d2.masks.overlap import best_pairs
from bccd_d2.masks.rle import rle_to_json

IOU_BINS = 25  # of found cells, from IoU .5 to 1


@dataclasses.dataclass(frozen=True, eq=False)
class ScoredImage:
    """One image compared and scored.

    Attributes:
        truth: its true cells.
        predictions: its predicted cells of all scores.
        shown: those of them that count at the operating point.
        comparison: of truth and ``predictions``.
        scores: at the operating point.
        failures: of truth and ``shown``.
    """

    truth: Cells
    predictions: Cells
    shown: Cells
    comparison: Comparison
    scores: ImageScores
    failures: Failures


def analyse(
    images: Sequence[ScoredImage],
    score_threshold: float,
    max_detections: int,
    draws: int = 1000,
) -> dict[str, Any]:
    """The numbers beyond the scores, as JSON data; of images without cells they are {} or 0.

    Keys:
        intervals_95: by group and score [low, high]; see `score_intervals`.
        calibration: the fields of `Reliability`, of all predicted cells whatever their score.
        matched_iou: of the found cells at the operating point: ``counts`` by IoU in `IOU_BINS` bins
            from .5 to 1, and the ``median``, None where none was found.
        failures: see `count_kinds`.

    Args:
        score_threshold: of the operating point.
        max_detections: cells per image that count in AP, the best-scored first.
        draws: of the bootstrap.

    Raises:
        ValueError: no images.
    """
    ranked = rank_cells(
        [image.truth for image in images], [image.predictions for image in images], max_detections
    )
    table = dataclasses.asdict(reliability([image.comparison for image in images]))
    return {
        "intervals_95": score_intervals([image.scores for image in images], ranked, draws=draws),
        "calibration": {
            name: value.tolist() if isinstance(value, np.ndarray) else value
            for name, value in table.items()
        },
        "matched_iou": _matched_iou([image.comparison for image in images], score_threshold),
        "failures": count_kinds(image.failures for image in images),
    }


def _matched_iou(comparisons: Sequence[Comparison], score_threshold: float) -> dict[str, Any]:
    found = [np.zeros(0)]
    for one in comparisons:
        counts = one.scores[one.pairs.pred_index] >= score_threshold
        found.append(best_pairs(one.pairs[counts], 0.5).iou)
    iou = np.concatenate(found)
    counts, _ = np.histogram(iou, bins=IOU_BINS, range=(0.5, 1.0))
    return {"counts": counts.tolist(), "median": float(np.median(iou)) if iou.size else None}


def verdicts(image: ScoredImage) -> dict[str, Any]:
    """What became of an image's cells at the operating point, as JSON data.

    Keys: ``size`` (height, width); ``truth`` and ``prediction``, each with the ``masks`` (the
    counts of their RLEs) and ``verdicts`` of its cells; ``events``, each with its ``kind`` and the
    places of its cells in ``truth`` and ``prediction``.
    """
    failures = image.failures
    sides = (
        ("truth", image.truth, failures.truth),
        ("prediction", image.shown, failures.prediction),
    )
    return {
        "size": list(image.truth.image_size),
        **{
            name: {
                "masks": [rle_to_json(rle)["counts"] for rle in cells.rles],
                "verdicts": found.tolist(),
            }
            for name, cells, found in sides
        },
        "events": [dataclasses.asdict(event) for event in failures.events],
    }
