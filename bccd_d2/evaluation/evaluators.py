"""The evaluator that detectron2's loops drive: one pass over a dataset, all views of its cells."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from detectron2.data import MetadataCatalog
from detectron2.evaluation import DatasetEvaluator
from detectron2.utils import comm

from bccd_d2.evaluation.coco import TASKS, CocoScores, area_bins, coco_scores
from bccd_d2.evaluation.instances import Comparison, compare
from bccd_d2.evaluation.scores import ImageScores, dataset_scores, score_image
from bccd_d2.evaluation.table import format_scores
from bccd_d2.evaluation.thresholds import THRESHOLDS, SweepTable, sweep_comparisons
from bccd_d2.evaluation.truth import TrueImage, read_truth
from bccd_d2.io.atomic import write_json_atomic
from bccd_d2.io.tables import write_table
from bccd_d2.masks.cells import Cells
from bccd_d2.masks.rle import rle_to_json

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class _Found:
    """What one image's prediction leaves behind: masks stay run-length encoded."""

    cells: Cells
    boxes: np.ndarray | None
    comparison: Comparison
    scores: ImageScores


class CellEvaluator(DatasetEvaluator):
    """COCO AP of boxes and masks, instance scores and pixel scores of one registered dataset.

    Each process scores the images it is given; the main one gathers them and answers. All cells
    are of one class. All scores lie in [0, 1] (not 0 to 100), count errors are in cells.

    Args:
        dataset_name: registered with detectron2; the metadata needs ``json_file`` and may have
            ``area_percentiles``, which define the size bins.
        max_detections: cells an image that count in COCO AP and AR, the best-scored first; the
            number that the model is capped at.
        output_dir: where scores.json, per_image.csv and coco_instances_results.json go; None
            writes nothing.
        score_threshold: predicted cells below it do not count in instance and pixel scores; COCO
            AP always takes them all.

    Raises:
        ValueError: ``max_detections`` is below 1 or ``score_threshold`` is outside [0, 1].
    """

    def __init__(
        self,
        dataset_name: str,
        *,
        max_detections: int,
        output_dir: str | Path | None = None,
        score_threshold: float = 0.5,
    ) -> None:
        if max_detections < 1:
            raise ValueError(f"max_detections must be at least 1, got {max_detections}")
        if not 0 <= score_threshold <= 1:
            raise ValueError(f"score_threshold must be in [0, 1], got {score_threshold}")
        self._name = dataset_name
        self._max_detections = max_detections
        self._output_dir = None if output_dir is None else Path(output_dir)
        self._score_threshold = float(score_threshold)
        self._truth: Mapping[int, TrueImage] = {}
        self._truth_state: tuple | None = None
        self._found: dict[int, _Found] = {}
        self.curves: dict[str, np.ndarray] = {}

    def reset(self) -> None:
        """Forget all predictions; read the ground truth again if its file has changed."""
        path = Path(MetadataCatalog.get(self._name).json_file)
        status = path.stat() if path.is_file() else None
        state = (path, status.st_size, status.st_mtime_ns) if status else None
        if state is None or state != self._truth_state:
            self._truth, self._truth_state = read_truth(path), state
        self._found = {}
        self.curves = {}

    def process(self, inputs: Sequence[dict], outputs: Sequence[dict]) -> None:
        """Take the predictions of some images.

        Args:
            inputs: dataset dicts; only ``image_id`` is read.
            outputs: each with ``instances``: see `Cells.from_instances`; its ``pred_boxes``, where
                it has them, are what box AP scores, else the masks' tight boxes.

        Raises:
            KeyError: an image is not in the ground truth.
            ValueError: a prediction is not of its image's size.
        """
        for given, output in zip(inputs, outputs, strict=True):
            image_id = given["image_id"]
            if image_id not in self._truth:
                raise KeyError(
                    f"image {image_id} is not in the ground truth of {self._name}; call reset() "
                    f"first and use that dataset's loader"
                )
            true = self._truth[image_id]
            instances = output["instances"]
            cells = Cells.from_instances(instances)
            boxes = None
            if instances.has("pred_boxes"):
                boxes = np.asarray(instances.pred_boxes.tensor.detach().cpu().float())
            try:
                comparison = compare(true.cells, cells)
            except ValueError as error:
                raise ValueError(f"{true.file_name}: {error}") from error
            scores = score_image(true.cells, cells, self._score_threshold, comparison)
            self._found[image_id] = _Found(cells, boxes, comparison, scores)

    def evaluate(self) -> OrderedDict[str, dict[str, float]]:
        """All scores on the main process, {} on the others.

        Groups: ``bbox`` and ``segm`` (see `coco_scores`), ``instances`` and ``interior`` (see
        `instance_scores`), ``pixels`` (see `pixel_scores`).

        Raises:
            ValueError: an image of the dataset was never predicted.
        """
        gathered = comm.gather(self._found, dst=0)
        if not comm.is_main_process():
            return OrderedDict()
        found = {image_id: item for part in gathered for image_id, item in part.items()}
        missing = [image_id for image_id in self._truth if image_id not in found]
        if missing:
            raise ValueError(
                f"{len(missing)} of {len(self._truth)} images of {self._name} have no prediction, "
                f"the first is {self._truth[missing[0]].file_name}; run over the whole dataset"
            )
        self._found = {image_id: found[image_id] for image_id in self._truth}
        self._warn_about_cap()
        results: OrderedDict[str, dict[str, float]] = OrderedDict()
        for task, scores in self._coco().items():
            results[task] = scores.values
            self.curves[task] = scores.precision
        results.update(dataset_scores([item.scores for item in self._found.values()]))
        if self._output_dir is not None:
            self._write(results)
        logger.info("scores on %s:\n%s", self._name, format_scores(results))
        return results

    def truth(self) -> list[Cells]:
        """True cells, one an image in the order of image ids."""
        return [image.cells for image in self._truth.values()]

    def predictions(self) -> list[Cells]:
        """Predicted cells in the order of `truth`, all scores; after `evaluate`, main process."""
        return [item.cells for item in self._found.values()]

    def sweep(self, thresholds: Sequence[float] = THRESHOLDS) -> SweepTable:
        """Scores at each score threshold from what is already compared; after `evaluate`."""
        return sweep_comparisons([f.comparison for f in self._found.values()], thresholds)

    # -- parts of evaluate ---------------------------------------------------------------------

    def _coco(self) -> dict[str, CocoScores]:
        percentiles = getattr(MetadataCatalog.get(self._name), "area_percentiles", None) or {}
        terciles = {k: v for k, v in percentiles.items() if int(k) in (33, 67)}
        return {
            task: coco_scores(
                self.truth(),
                self.predictions(),
                task=task,
                max_detections=self._max_detections,
                bins=area_bins(terciles),
                boxes=[f.boxes for f in self._found.values()] if task == "bbox" else None,
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

    def _write(self, results: Mapping[str, Mapping[str, float]]) -> None:
        folder = self._output_dir
        summary = {
            "dataset": self._name,
            "images": len(self._truth),
            "max_detections": self._max_detections,
            "score_threshold": self._score_threshold,
            "scores": results,
            "precision_curves": {k: np.round(v, 5).tolist() for k, v in self.curves.items()},
        }
        write_json_atomic(folder / "scores.json", summary)
        write_table(folder / "per_image.csv", self._per_image_rows())
        write_json_atomic(folder / "coco_instances_results.json", self._coco_results())

    def _per_image_rows(self) -> list[dict[str, Any]]:
        return [
            {"image_id": image_id, "file_name": self._truth[image_id].file_name} | item.scores.row()
            for image_id, item in self._found.items()
        ]

    def _coco_results(self) -> list[dict[str, Any]]:
        mapping = getattr(MetadataCatalog.get(self._name), "thing_dataset_id_to_contiguous_id", {})
        category = next(iter(mapping), 1)
        results = []
        for image_id, item in self._found.items():
            boxes = item.cells.boxes if item.boxes is None else item.boxes
            for rle, score, (x0, y0, x1, y1) in zip(
                item.cells.rles, item.cells.scores.tolist(), boxes.tolist(), strict=True
            ):
                results.append(
                    {
                        "image_id": image_id,
                        "category_id": category,
                        "segmentation": rle_to_json(rle),
                        "bbox": [x0, y0, x1 - x0, y1 - y0],
                        "score": score,
                    }
                )
        return results
