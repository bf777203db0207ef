"""Scores against boxes, where a dataset has no masks: AP, F1 and counts at box IoU.

Boxes are (N, 4) x0 y0 x1 y1 in px, half-open. An ignored box (a crowd, a difficult cell) is neither
a cell to find nor background: a prediction that lies on one counts for nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bccd_d2.evaluation.coco import CATEGORY_ID, CocoScores, run_coco, summary_values
from bccd_d2.evaluation.instances import (
    Comparison,
    InstanceCounts,
    count_instances,
    instance_scores,
    pooled_scores,
)
from bccd_d2.masks.labels import touches_border
from bccd_d2.masks.overlap import box_iou, candidate_pairs, shared_areas

IOU_THRESHOLDS = (0.5, 0.75)
RECALL_LIKE = ("recall@.5", "recall@.75", "AR", "AR50", "AR75", "truth", "matched")


@dataclass(frozen=True, eq=False)
class TrueBoxes:
    """The annotated boxes of one image.

    Attributes:
        boxes: (N, 4) of cells.
        ignored: (K, 4) of what is no cell and no background.
        image_size: height, width.
    """

    boxes: np.ndarray
    ignored: np.ndarray
    image_size: tuple[int, int]


def compare_boxes(truth: TrueBoxes, boxes: np.ndarray, scores: np.ndarray) -> Comparison:
    """The pairs of overlapping boxes of one image, for `count_instances`.

    A prediction without a partner at IoU .5, half or more of whose area lies in an ignored box, is
    left out.

    Args:
        boxes: (N, 4) predicted.
        scores: (N,) in [0, 1].
    """
    boxes = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
    kept = counted_boxes(truth, boxes)
    return Comparison(
        scores=np.asarray(scores, dtype=np.float32)[kept],
        pred_border=touches_border(boxes[kept], truth.image_size),
        truth_border=touches_border(truth.boxes, truth.image_size),
        pairs=candidate_pairs(box_iou(boxes[kept], truth.boxes), IOU_THRESHOLDS[0]),
    )


def counted_boxes(truth: TrueBoxes, boxes: np.ndarray) -> np.ndarray:
    """(N,) bool: the predicted boxes (N, 4) that count, not those that lie on ignored ones."""
    shared, areas, _ = shared_areas(boxes, truth.ignored)
    on_ignored = (shared >= 0.5 * np.maximum(areas, 1e-9)[:, None]).any(axis=1)
    return (box_iou(boxes, truth.boxes) >= IOU_THRESHOLDS[0]).any(axis=1) | ~on_ignored


def count_boxes(comparison: Comparison, score_threshold: float) -> InstanceCounts:
    """Counts of one image at box IoU .5 and .75 with the predictions of at least this score."""
    return count_instances(comparison, score_threshold, iou_thresholds=IOU_THRESHOLDS)


def box_scores(images: Sequence[InstanceCounts], complete: bool = True) -> dict[str, float | None]:
    """F1, precision, recall at box IoU .5 and .75, and count errors, pooled over images.

    Keys as in `instance_scores`, without PQ and what goes with it. Without any true box all but the
    counts are None.

    Args:
        complete: False: some cells have no box, so what is found beyond the boxes may be right, and
            only recall is given.

    Raises:
        ValueError: no images.
    """
    values = {k: v for k, v in instance_scores(images).items() if k in _kept_names()}
    if complete:
        return values
    return {name: value for name, value in values.items() if name in RECALL_LIKE}


def _kept_names() -> set[str]:
    names = {f"{name}@{t}" for name in ("F1", "precision", "recall") for t in (".5", ".75")}
    return names | {"count_mae", "count_bias", "count_relative_error",
                    "truth", "predicted", "matched"}  # fmt: skip


def box_row(counts: InstanceCounts) -> dict[str, float | None]:
    """One line of a per-image table; without a true box all but the counts are None."""
    row: dict[str, float | None]
    row = {"truth": counts.truth, "predicted": counts.predicted,
           "count_error": counts.predicted - counts.truth}  # fmt: skip
    for name, value in pooled_scores(counts).items():
        if name in _kept_names():
            row[name] = value if counts.truth else None
    return row


def coco_box_scores(
    truth: Sequence[TrueBoxes],
    boxes: Sequence[np.ndarray],
    scores: Sequence[np.ndarray],
    max_detections: int,
) -> CocoScores:
    """COCO AP and AR of boxes, with ignored boxes as COCO's crowds.

    Without any true box every value is None; without predictions everything is 0.

    Args:
        truth, boxes, scores: one per image, in the same order.
        max_detections: predictions an image that count, the best-scored first.

    Raises:
        ValueError: the lists do not fit or are empty.
    """
    if not truth or not len(truth) == len(boxes) == len(scores):
        raise ValueError(
            f"truth, boxes and scores must be one per image, at least one, got {len(truth)}, "
            f"{len(boxes)} and {len(scores)}"
        )
    cells = sum(len(true.boxes) for true in truth)
    if not cells or not sum(map(len, boxes)):
        return CocoScores.without_matches(None if not cells else 0.0)
    sizes = [true.image_size for true in truth]
    every, crowds = with_crowds(truth)
    found = run_coco(
        box_dataset(every, [np.ones(len(b)) for b in every], crowds, sizes),
        box_dataset(boxes, scores, [np.zeros(len(b), bool) for b in boxes], sizes),
        ("bbox", max_detections, [(0.0, 1e10)]),
    )
    precision, recall = found["precision"][:, :, 0, 0, -1], found["recall"][:, 0, 0, -1]
    return CocoScores(summary_values(precision, recall), precision.copy())


def with_crowds(truth: Sequence[TrueBoxes]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """For each image all boxes, the ignored ones last, and (N,) bool which those are."""
    every = [np.concatenate([true.boxes, true.ignored]) for true in truth]
    return every, [np.arange(len(b)) >= len(t.boxes) for b, t in zip(every, truth, strict=True)]


def box_dataset(
    boxes: Sequence[np.ndarray],
    scores: Sequence[np.ndarray],
    crowds: Sequence[np.ndarray],
    sizes: Sequence[tuple[int, int]],
) -> dict[str, Any]:
    """COCO's json structure of boxes; image i has id i + 1."""
    annotations: list[dict[str, Any]] = []
    for image_id, parts in enumerate(zip(boxes, scores, crowds, strict=True), start=1):
        for box, score, crowd in zip(*(np.asarray(part).tolist() for part in parts), strict=True):
            x0, y0, x1, y1 = box
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": CATEGORY_ID,
                    "bbox": [x0, y0, x1 - x0, y1 - y0],
                    "area": (x1 - x0) * (y1 - y0),
                    "iscrowd": int(crowd),
                    "score": score,
                }
            )
    return {
        "images": [{"id": i, "height": h, "width": w} for i, (h, w) in enumerate(sizes, start=1)],
        "annotations": annotations,
        "categories": [{"id": CATEGORY_ID, "name": "cell"}],
    }
