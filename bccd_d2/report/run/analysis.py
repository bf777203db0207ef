"""What a report says beyond the stored scores: intervals, calibration, failures, image by image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from bccd_d2.evaluation.calibration import Reliability, reliability
from bccd_d2.evaluation.instances import compare
from bccd_d2.evaluation.intervals import Intervals, rank_cells, score_intervals
from bccd_d2.evaluation.scores import score_image
from bccd_d2.masks.cells import Cells
from bccd_d2.masks.overlap import best_pairs
from bccd_d2.report.failures import Failures, find_failures
from bccd_d2.report.run.files import Evaluated


@dataclass(frozen=True, eq=False)
class Analysis:
    """Everything that needs the cells themselves.

    Attributes:
        intervals: 95% intervals by group and score; see `score_intervals`.
        reliability: of all predicted cells, whatever their score.
        shown: by image id the predicted cells that count at the operating point.
        failures: by image id.
        matched_iou: IoU of every found cell with its true one, at the operating point.
    """

    intervals: Intervals
    reliability: Reliability
    shown: Mapping[int, Cells]
    failures: Mapping[int, Failures]
    matched_iou: np.ndarray


def analyse(evaluated: Evaluated, draws: int = 1000) -> Analysis | None:
    """Compare truth and predictions again; None where the cells are not there any more.

    Args:
        draws: of the bootstrap.
    """
    if not evaluated.truth:
        return None
    truth = {image_id: image.cells for image_id, image in evaluated.truth.items()}
    threshold = evaluated.threshold
    comparisons = {i: compare(truth[i], evaluated.predictions[i]) for i in truth}
    scored = [score_image(truth[i], evaluated.predictions[i], threshold, comparisons[i])
              for i in truth]  # fmt: skip
    ranked = rank_cells(
        list(truth.values()),
        [evaluated.predictions[i] for i in truth],
        int(evaluated.scores["max_detections"]),
    )
    shown = {i: evaluated.predictions[i].above(threshold) for i in truth}
    overlaps = []
    for one in comparisons.values():
        counts = one.scores[one.pairs.pred_index] >= threshold
        overlaps.append(best_pairs(one.pairs[counts], 0.5).iou)
    return Analysis(
        intervals=score_intervals(scored, ranked, draws=draws),
        reliability=reliability(list(comparisons.values())),
        shown=shown,
        failures={i: find_failures(truth[i], shown[i]) for i in truth},
        matched_iou=np.concatenate(overlaps),
    )
