"""COCO average precision of boxes and masks, with the true cap and size bins from the data.

The C++ evaluator of faster-coco-eval does the work; its figures equal plain pycocotools' (a test
holds them to 1e-6). Three things differ from what COCO's own `summarize` prints: AP counts up to
``max_detections`` cells per image instead of 100, the size bins are terciles of this data instead
of 32 and 96 px squares, and nothing is ever -1 or NaN: where there is no true cell there is no
score, which is None.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bccd_d2.masks.cells import Cells

# The very floats of pycocotools: an IoU or a recall can lie exactly on one of them.
IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALL_POINTS = np.linspace(0, 1, 101)
TASKS = ("bbox", "segm")
CATEGORY_ID = 1
_LARGEST_AREA = 1e10


@dataclass(frozen=True, eq=False)
class CocoScores:
    """COCO scores of one task.

    Attributes:
        values: AP (mean over IoU .5 to .95), AP50, AP75, AR, AR50, AR75 in [0, 1], and AP_<bin>
            and AR_<bin> for each size bin that holds a true cell. None without any true cell.
        precision: (10, 101) float64, interpolated precision at each of `IOU_THRESHOLDS` and
            `RECALL_POINTS`: the precision-recall curves, whose mean is AP.
    """

    values: dict[str, float | None]
    precision: np.ndarray = field(repr=False)

    @classmethod
    def without_matches(cls, value: float | None) -> CocoScores:
        """0 where there are cells to find and no predictions; None where there are no cells."""
        shape = (IOU_THRESHOLDS.size, RECALL_POINTS.size)
        values: dict[str, float | None]
        values = dict.fromkeys(("AP", "AP50", "AP75", "AR", "AR50", "AR75"), value)
        return cls(values, np.zeros(shape))


def area_bins(percentiles: Mapping[int | str, float]) -> dict[str, tuple[float, float]]:
    """Size bins small, medium, large: cell areas in px up to the lower, upper and no percentile.

    Args:
        percentiles: two areas by their percentile, as ``dataset.json`` holds: {33: 6000, 67: 9000}.

    Returns:
        Inclusive ranges (least, greatest) that do not overlap; {} for no percentiles, and where
        both are one area: cells of one size fill no bins.

    Raises:
        ValueError: not two, or not in ascending order.
    """
    if not percentiles:
        return {}
    areas = [float(percentiles[key]) for key in sorted(percentiles, key=float)]
    if len(areas) != 2 or not 0 < areas[0] <= areas[1]:
        raise ValueError(
            f"percentiles must be two ascending areas such as {{33: 6000, 67: 9000}}, got "
            f"{dict(percentiles)}"
        )
    low, high = areas
    if low == high:
        return {}
    return {
        "small": (0.0, low),
        "medium": (float(np.nextafter(low, np.inf)), high),
        "large": (float(np.nextafter(high, np.inf)), _LARGEST_AREA),
    }


def coco_scores(
    truth: Sequence[Cells],
    predictions: Sequence[Cells],
    *,
    task: str,
    max_detections: int,
    bins: Mapping[str, tuple[float, float]] | None = None,
) -> CocoScores:
    """COCO scores of a dataset; all cells are of one class. Boxes are `Cells.scored_boxes`.

    Predicted masks may overlap and are taken as they are. With no predictions everything is 0.
    With no truth at all nothing can be scored, and every value is None. A size bin without a true
    cell is left out.

    Args:
        truth: one per image.
        predictions: one per image, in the same order, with scores.
        task: "segm" or "bbox".
        max_detections: cells per image that count, the best-scored first.
        bins: size bins by name; see `area_bins`. True cells are binned by the mask's area,
            predictions by the mask's ("segm") or the box's ("bbox"), as COCO does.

    Raises:
        ValueError: an unknown task, a cap below 1, or lists that do not fit.
    """
    _check(truth, predictions, task, max_detections)
    bins = dict(bins or {})
    if not any(map(len, truth)) or not any(map(len, predictions)):
        return _without_matches(truth, bins)
    found = run_coco(
        coco_dataset(truth, "segm"),
        coco_dataset(predictions, task),
        (task, max_detections, [(0.0, _LARGEST_AREA), *bins.values()]),
    )
    precision = found["precision"][:, :, 0, :, -1]
    recall = found["recall"][:, 0, :, -1]
    values = summary_values(precision[..., 0], recall[:, 0])
    for index, name in enumerate(bins, start=1):
        if recall[0, index] >= 0:
            values[f"AP_{name}"] = float(precision[..., index].mean())
            values[f"AR_{name}"] = float(recall[:, index].mean())
    return CocoScores(values, precision[..., 0].copy())


def average_precision(
    truth: Sequence[Cells], predictions: Sequence[Cells], max_detections: int
) -> float:
    """Mask AP over IoU .5 to .95, for what is chosen by it; see `coco_scores`.

    Raises:
        ValueError: there is no true cell, so that nothing is better than anything else.
    """
    scores = coco_scores(truth, predictions, task="segm", max_detections=max_detections)
    value = scores.values["AP"]
    if value is None:
        raise ValueError(
            f"AP needs a true cell, and the {len(truth)} images to score have none; "
            "score more of them, or others"
        )
    return value


def _without_matches(
    truth: Sequence[Cells], bins: Mapping[str, tuple[float, float]]
) -> CocoScores:
    scores = CocoScores.without_matches(0.0 if any(map(len, truth)) else None)
    for name, (least, greatest) in bins.items():
        if any(((cells.areas >= least) & (cells.areas <= greatest)).any() for cells in truth):
            scores.values.update({f"AP_{name}": 0.0, f"AR_{name}": 0.0})
    return scores


def summary_values(precision: np.ndarray, recall: np.ndarray) -> dict[str, float | None]:
    """AP, AR and those at IoU .5 and .75 from (10, 101) precision and (10,) recall."""
    at_50, at_75 = (int(np.abs(IOU_THRESHOLDS - t).argmin()) for t in (0.5, 0.75))
    return {
        "AP": float(precision.mean()),
        "AP50": float(precision[at_50].mean()),
        "AP75": float(precision[at_75].mean()),
        "AR": float(recall.mean()),
        "AR50": float(recall[at_50]),
        "AR75": float(recall[at_75]),
    }


def _check(
    truth: Sequence[Cells], predictions: Sequence[Cells], task: str, max_detections: int
) -> None:
    if task not in TASKS:
        raise ValueError(f"task must be one of {TASKS}, got {task!r}")
    if max_detections < 1:
        raise ValueError(f"max_detections must be at least 1, got {max_detections}")
    if not truth or len(truth) != len(predictions):
        raise ValueError(
            f"truth and predictions must be one per image, at least one, got {len(truth)} and "
            f"{len(predictions)}"
        )
    for number, (true, found) in enumerate(zip(truth, predictions, strict=True)):
        if true.image_size != found.image_size:
            raise ValueError(
                f"image {number}: predictions of size {found.image_size}, truth {true.image_size}; "
                f"scale them to the original image first"
            )


def coco_dataset(images: Sequence[Cells], task: str) -> dict[str, Any]:
    """COCO's json structure of the cells; image i has id i + 1."""
    annotations: list[dict[str, Any]] = []
    for image_id, cells in enumerate(images, start=1):
        corners = (cells.boxes if task == "segm" else cells.scored_boxes).astype(np.float64)
        sides = corners[:, 2:] - corners[:, :2]
        areas = cells.areas if task == "segm" else sides.prod(axis=1)
        rows = np.concatenate([corners[:, :2], sides], axis=1).tolist()
        for rle, score, area, box in zip(
            cells.rles, cells.scores.tolist(), areas.tolist(), rows, strict=True
        ):
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": CATEGORY_ID,
                    "segmentation": rle,
                    "bbox": box,
                    "area": float(area),
                    "iscrowd": 0,
                    "score": score,
                }
            )
    sizes = [cells.image_size for cells in images]
    return {
        "images": [{"id": i, "height": h, "width": w} for i, (h, w) in enumerate(sizes, start=1)],
        "annotations": annotations,
        "categories": [{"id": CATEGORY_ID, "name": "cell"}],
    }


def run_coco(truth: dict, predictions: dict, settings: tuple) -> dict[str, np.ndarray]:
    """Precision (iou, recall, class, bin, cap) and recall, the same without its own axis.

    Args:
        truth, predictions: COCO's json structure.
        settings: the task, the cap on detections and the ranges of areas.
    """
    from faster_coco_eval import COCO, COCOeval_faster

    task, max_detections, ranges = settings
    evaluator = COCOeval_faster(COCO(truth), COCO(predictions), iouType=task)
    evaluator.params.iouThrs = IOU_THRESHOLDS
    evaluator.params.recThrs = RECALL_POINTS
    evaluator.params.maxDets = [max_detections]
    evaluator.params.areaRng = [list(bounds) for bounds in ranges]
    evaluator.params.areaRngLbl = [str(index) for index in range(len(ranges))]
    evaluator.evaluate()
    evaluator.accumulate()
    return {
        "precision": np.asarray(evaluator.eval["precision"]),
        "recall": np.asarray(evaluator.eval["recall"]),
    }
