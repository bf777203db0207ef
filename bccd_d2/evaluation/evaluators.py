"""The evaluators, one for each kind of annotations."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from bccd_d2.evaluation.analysis import ScoredImage, analyse, verdicts
from bccd_d2.evaluation.base import Evaluator, Results, metadata_of
from bccd_d2.evaluation.boxes import (
    RECALL_LIKE,
    TrueBoxes,
    box_dataset,
    box_row,
    box_scores,
    coco_box_scores,
    compare_boxes,
    count_boxes,
    counted_boxes,
    with_crowds,
)
from bccd_d2.evaluation.coco import TASKS, CocoScores, area_bins, coco_dataset, coco_scores
from bccd_d2.evaluation.failures import find_failures
from bccd_d2.evaluation.instances import Comparison, InstanceCounts, compare
from bccd_d2.evaluation.points import (
    PointCounts,
    count_points,
    point_row,
    point_scores,
    points_in_masks,
)
from bccd_d2.evaluation.scores import ImageScores, dataset_scores, score_image
from bccd_d2.evaluation.thresholds import THRESHOLDS, SweepTable, sweep_comparisons
from bccd_d2.evaluation.truth import TrueImage, read_true_boxes, read_true_points, read_truth
from bccd_d2.evaluation.typed import class_precisions
from bccd_d2.evaluation.types import IOU, TypedImage
from bccd_d2.masks.cells import Cells
from bccd_d2.masks.overlap import Matches, box_iou, candidate_pairs, check_image_size

logger = logging.getLogger(__name__)


def evaluator_for(
    dataset_name: str, *, metadata: Mapping[str, Any] | None = None, **settings: Any
) -> Evaluator:
    """The evaluator of a dataset, by what its annotations are.

    Args:
        metadata, settings: see `Evaluator`.
    """
    kinds: dict[str, Callable[..., Evaluator]]
    kinds = {"masks": CellEvaluator, "boxes": BoxEvaluator, "points": PointEvaluator}
    kind = getattr(metadata_of(dataset_name, metadata), "annotations", "masks")
    return kinds[kind](dataset_name, metadata=metadata, **settings)


@dataclass(frozen=True, eq=False)
class _Found:
    """What one image's prediction leaves behind: masks stay run-length encoded."""

    cells: Cells
    comparison: Comparison
    scores: ImageScores


class CellEvaluator(Evaluator):
    """COCO AP of boxes and masks, instance scores and pixel scores of a dataset with masks.

    Groups: ``bbox`` and ``segm`` (see `coco_scores`), ``instances`` and ``interior`` (see
    `instance_scores`), ``pixels`` (see `pixel_scores`). The metadata may have
    ``area_percentiles``, which define the size bins. See `Evaluator` for the arguments.
    """

    def _read_truth(self, path: Path) -> Mapping[int, TrueImage]:
        return read_truth(path)

    def _score(self, true: TrueImage, cells: Cells) -> _Found:
        if true.ignored is not None and len(true.ignored):
            cells = cells[_not_ignored(true, true.ignored, cells)]
        comparison = compare(true.cells, cells)
        scores = score_image(true.cells, cells, self._score_threshold, comparison)
        return _Found(cells, comparison, scores)

    def _results(self, found: Sequence[_Found]) -> Results:
        self._warn_about_cap()
        results: Results = OrderedDict()
        for task, scores in self._coco(found).items():
            results[task] = scores.values
            if any(map(len, self.truth())):
                self.curves[task] = scores.precision
        results.update(dataset_scores([item.scores for item in found]))
        if self.complete:
            return results
        self.curves = {}
        kept = {"bbox": RECALL_LIKE, "segm": RECALL_LIKE, "pixels": ("recall",),
                "instances": (*RECALL_LIKE, "mean_matched_iou"),
                "interior": (*RECALL_LIKE, "mean_matched_iou")}  # fmt: skip
        return OrderedDict(
            (group, {k: v for k, v in values.items() if k in kept[group]} | {"complete": False})
            for group, values in results.items()
        )

    def _details(self) -> tuple[dict[str, Any], dict[int, dict[str, Any]] | None]:
        if not self.complete:
            return {}, None
        images = {}
        for image_id, found in self._found.items():
            true, shown = self._truth[image_id].cells, found.cells.above(self._score_threshold)
            images[image_id] = ScoredImage(
                true, found.cells, shown, found.comparison, found.scores, find_failures(true, shown)
            )
        numbers = analyse(list(images.values()), self._score_threshold, self._max_detections)
        return numbers, {image_id: verdicts(image) for image_id, image in images.items()}

    def _row(self, found: _Found) -> dict[str, Any]:
        row = found.scores.row()
        if any(map(len, self.truth())):
            return row
        counts = ("truth", "predicted", "count_error")
        return {k: v if k.removeprefix("interior_") in counts else "" for k, v in row.items()}

    def truth(self) -> list[Cells]:
        """True cells, one per image in the order of image ids."""
        return [image.cells for image in self._truth.values()]

    def sweep(self, thresholds: Sequence[float] = THRESHOLDS) -> SweepTable | None:
        """Scores at each score threshold from what is already compared; after `evaluate`.

        None where no threshold can be chosen: without cells, or where some are not annotated.
        """
        if not self.complete or not any(map(len, self.truth())):
            return None
        return sweep_comparisons([f.comparison for f in self._found.values()], thresholds)

    def _typed(self, true: TrueImage, found: _Found, allowed: np.ndarray) -> TypedImage:
        return typed_image(found.cells, allowed, found.comparison.pairs)

    def _precisions(self, images: Sequence[TypedImage]) -> list[dict[str, float | None]]:
        return class_precisions(
            images,
            coco_dataset(self.truth(), "segm"),
            coco_dataset(self.predictions(), "segm"),
            ("segm", self._max_detections),
            images[0].allowed.shape[1],
        )

    def _coco(self, found: Sequence[_Found]) -> dict[str, CocoScores]:
        percentiles = getattr(self._metadata(), "area_percentiles", None) or {}
        terciles = {k: v for k, v in percentiles.items() if int(k) in (33, 67)}
        return {
            task: coco_scores(
                self.truth(),
                self.predictions(),
                task=task,
                max_detections=self._max_detections,
                bins=area_bins(terciles),
            )
            for task in TASKS
        }

    def _warn_about_cap(self) -> None:
        densest = max(len(cells) for cells in self.truth())
        if densest > self._max_detections:
            logger.warning(
                "%s has an image of %d cells but only %d detections count: recall is cut off; "
                "raise TEST.DETECTIONS_PER_IMAGE",
                self._name,
                densest,
                self._max_detections,
            )


def typed_image(cells: Cells, allowed: np.ndarray, pairs: Matches) -> TypedImage:
    """The types of one image's predicted cells; where nobody doubts them their probability is 1."""
    confidence = cells.class_confidence
    if confidence is None:
        confidence = np.ones(len(cells), dtype=np.float32)
    return TypedImage(allowed, cells.class_ids, cells.scores, confidence, pairs)


def _not_ignored(true: TrueImage, ignored: Cells, cells: Cells) -> np.ndarray:
    """(N,) bool: not those without a partner at IoU .5 that lie by half in an ignored mask."""
    check_image_size(true.cells.image_size, cells)
    if not len(cells):
        return np.zeros(0, dtype=bool)
    crowds = ignored.rles
    share = np.asarray(coco_mask.iou(cells.rles, crowds, [1] * len(crowds)))  # of the prediction
    partner: np.ndarray = np.zeros(len(cells), dtype=bool)
    if len(true.cells):
        alone = [0] * len(true.cells)
        iou = np.asarray(coco_mask.iou(cells.rles, true.cells.rles, alone))
        partner = np.any(iou >= 0.5, axis=1)
    return partner | ~(share >= 0.5).any(axis=1)


@dataclass(frozen=True, eq=False)
class _FoundBoxes:
    cells: Cells
    boxes: np.ndarray
    truth: TrueBoxes
    counts: InstanceCounts


class BoxEvaluator(Evaluator):
    """Box AP, F1, precision, recall and counts of a dataset with boxes.

    Groups: ``bbox`` (see `coco_box_scores`) and ``boxes`` (see `box_scores`). See `Evaluator` for
    the arguments.
    """

    def _read_truth(self, path: Path) -> Mapping[int, TrueImage]:
        return read_true_boxes(path)

    def _score(self, true: TrueImage, cells: Cells) -> _FoundBoxes:
        check_image_size(true.cells.image_size, cells)
        boxes = cells.scored_boxes
        comparison = compare_boxes(true.cells, boxes, cells.scores)
        counts = count_boxes(comparison, self._score_threshold)
        return _FoundBoxes(cells, boxes, true.cells, counts)

    def _results(self, found: Sequence[_FoundBoxes]) -> Results:
        coco = coco_box_scores(
            [item.truth for item in found],
            [item.boxes for item in found],
            [item.cells.scores for item in found],
            self._max_detections,
        )
        boxes = box_scores([item.counts for item in found], self.complete)
        if not self.complete:
            recall = {k: v for k, v in coco.values.items() if k in RECALL_LIKE}
            return OrderedDict(
                bbox=recall | {"complete": False}, boxes=boxes | {"complete": False}
            )
        if boxes["truth"]:
            self.curves["bbox"] = coco.precision
        return OrderedDict(bbox=coco.values, boxes=boxes)

    def sweep(self, thresholds: Sequence[float] = THRESHOLDS) -> SweepTable | None:
        """As that of `CellEvaluator`, at box IoU .5."""
        if not self.complete or not any(len(f.truth.boxes) for f in self._found.values()):
            return None
        compared = [compare_boxes(f.truth, f.boxes, f.cells.scores) for f in self._found.values()]
        return sweep_comparisons(compared, thresholds)

    def _typed(self, true: TrueImage, found: _FoundBoxes, allowed: np.ndarray) -> TypedImage:
        kept = counted_boxes(found.truth, found.boxes)
        pairs = candidate_pairs(box_iou(found.boxes[kept], found.truth.boxes), IOU)
        return typed_image(found.cells[kept], allowed, pairs)

    def _precisions(self, images: Sequence[TypedImage]) -> list[dict[str, float | None]]:
        found: list[_FoundBoxes] = list(self._found.values())
        kept = [one.boxes[counted_boxes(one.truth, one.boxes)] for one in found]
        every, crowds = with_crowds([one.truth for one in found])
        sizes = [one.truth.image_size for one in found]
        none = [np.zeros(len(boxes), dtype=bool) for boxes in kept]
        return class_precisions(
            images,
            box_dataset(every, [np.ones(len(b)) for b in every], crowds, sizes),
            box_dataset(kept, [image.scores for image in images], none, sizes),
            ("bbox", self._max_detections),
            images[0].allowed.shape[1],
        )

    def _row(self, found: _FoundBoxes) -> dict[str, Any]:
        row = box_row(found.counts)
        kept = (*RECALL_LIKE, "truth") if not self.complete else row
        return {k: v for k, v in row.items() if k in kept}


@dataclass(frozen=True, eq=False)
class _FoundPoints:
    cells: Cells
    counts: PointCounts


class PointEvaluator(Evaluator):
    """Found, merged and split cells of a dataset with points.

    Group: ``points`` (see `point_scores`). See `Evaluator` for the arguments.
    """

    def _read_truth(self, path: Path) -> Mapping[int, TrueImage]:
        return read_true_points(path)

    def _score(self, true: TrueImage, cells: Cells) -> _FoundPoints:
        check_image_size(true.image_size, cells)
        counted = count_points(true.cells, cells.above(self._score_threshold))
        return _FoundPoints(cells, counted)

    def _results(self, found: Sequence[_FoundPoints]) -> Results:
        scores = point_scores([item.counts for item in found], self.complete)
        return OrderedDict(points=scores | ({} if self.complete else {"complete": False}))

    def _typed(self, true: TrueImage, found: _FoundPoints, allowed: np.ndarray) -> TypedImage:
        inside = points_in_masks(true.cells, found.cells).T.astype(np.float64)
        return typed_image(found.cells, allowed, candidate_pairs(inside, 1.0))

    def _row(self, found: _FoundPoints) -> dict[str, Any]:
        row = point_row(found.counts)
        beyond = ("outlines", "spurious")
        return row if self.complete else {k: v for k, v in row.items() if k not in beyond}
