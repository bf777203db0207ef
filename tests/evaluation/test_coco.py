"""COCO scores against plain pycocotools on dense images, and known answers."""

from __future__ import annotations

import contextlib
import io
from dataclasses import replace

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from bccd_d2.evaluation.coco import area_bins, average_precision, coco_scores
from bccd_d2.masks.cells import Cells
from bccd_d2.masks.rle import encode_crop, rle_to_json

MAIN = ("AP", "AP50", "AP75", "AR", "AR50", "AR75")


def plain_pycocotools(truth, predictions, task, cap, bins) -> dict[str, float]:
    """The same figures by the reference implementation, through its own json interface."""
    images, annotations, results = [], [], []
    for image_id, (cells, found) in enumerate(zip(truth, predictions, strict=True), start=7):
        height, width = cells.image_size
        images.append({"id": image_id, "height": height, "width": width})
        for rle in cells.rles:
            annotation = {"id": len(annotations) + 1, "image_id": image_id, "category_id": 1}
            annotation |= {"segmentation": rle_to_json(rle), "area": float(coco_mask.area(rle))}
            annotation |= {"bbox": coco_mask.toBbox(rle).tolist(), "iscrowd": 0}
            annotations.append(annotation)
        for rle, score in zip(found.rles, found.scores.tolist(), strict=True):
            result = {"image_id": image_id, "category_id": 1, "score": score}
            key = "segmentation" if task == "segm" else "bbox"
            result[key] = rle_to_json(rle) if task == "segm" else coco_mask.toBbox(rle).tolist()
            results.append(result)
    with contextlib.redirect_stdout(io.StringIO()):
        ground_truth = COCO()
        ground_truth.dataset = {"images": images, "annotations": annotations, "info": {}}
        ground_truth.dataset["categories"] = [{"id": 1, "name": "cell"}]
        ground_truth.createIndex()
        evaluator = COCOeval(ground_truth, ground_truth.loadRes(results), task)
        evaluator.params.maxDets = [1, 10, cap]
        evaluator.params.areaRng = [[0, 1e10], *bins.values()]
        evaluator.params.areaRngLbl = ["all", *bins]
        evaluator.evaluate()
        evaluator.accumulate()
    precision = evaluator.eval["precision"][:, :, 0, :, 2]
    recall = evaluator.eval["recall"][:, 0, :, 2]
    values = {"AP": precision[..., 0].mean(), "AR": recall[:, 0].mean()}
    for name, index in (("50", 0), ("75", 5)):
        values |= {f"AP{name}": precision[index, :, 0].mean(), f"AR{name}": recall[index, 0]}
    for index, name in enumerate(bins, start=1):
        values |= {
            f"AP_{name}": precision[..., index].mean(),
            f"AR_{name}": recall[:, index].mean(),
        }
    return values


@pytest.mark.parametrize("task", ["segm", "bbox"])
@pytest.mark.parametrize("cap", [40, 100, 300])
def test_equal_to_plain_pycocotools_on_dense_images(dense, task: str, cap: int) -> None:
    truth, predictions = dense
    assert sum(len(cells) > 100 for cells in truth) >= 4
    areas = np.concatenate([cells.areas for cells in truth])
    bins = area_bins({33: np.percentile(areas, 33), 67: np.percentile(areas, 67)})
    wanted = plain_pycocotools(truth, predictions, task, cap, bins)
    got = coco_scores(truth, predictions, task=task, max_detections=cap, bins=bins)
    assert got.values.keys() == wanted.keys()
    for key, value in wanted.items():
        assert got.values[key] == pytest.approx(value, abs=1e-6), key
    assert got.precision.mean() == pytest.approx(got.values["AP"])
    assert got.precision[0].mean() == pytest.approx(got.values["AP50"])


def test_a_cap_of_100_costs_recall_and_the_true_cap_does_not(dense) -> None:
    truth = dense[0][:1]
    capped = coco_scores(truth, truth, task="segm", max_detections=100).values
    full = coco_scores(truth, truth, task="segm", max_detections=200).values
    assert len(truth[0]) == 130
    assert capped["AR"] == pytest.approx(100 / 130) and capped["AP"] < 0.8
    assert all(full[key] == 1.0 for key in MAIN)


def one_square(shift: int = 0, score: float = 1.0) -> Cells:
    rle = encode_crop(np.ones((10, 10), bool), 5, 5 + shift, (30, 60))
    return Cells.from_rles([rle], (30, 60), [score])


@pytest.mark.parametrize("task", ["segm", "bbox"])
def test_one_cell_moved_by_one_tenth(task: str) -> None:
    # IoU 9/11 = .818: right at .5 to .8 (7 of the 10 thresholds), wrong above.
    values = coco_scores([one_square()], [one_square(1)], task=task, max_detections=5).values
    assert values["AP"] == values["AR"] == pytest.approx(0.7)
    assert values["AP50"] == values["AP75"] == values["AR50"] == 1.0


def test_a_better_scored_false_cell_halves_precision() -> None:
    false = one_square(30, score=0.9)
    both = Cells.from_rles([false.rles[0], one_square().rles[0]], (30, 60), [0.9, 0.8])
    values = coco_scores([one_square()], [both], task="segm", max_detections=5).values
    assert values["AP"] == pytest.approx(0.5) and values["AR"] == 1.0
    reverse = Cells.from_rles(both.rles, (30, 60), [0.8, 0.9])
    values = coco_scores([one_square()], [reverse], task="segm", max_detections=5).values
    assert values["AP"] == 1.0


def test_disjoint_predictions_score_0_and_nothing_to_find_scores_none() -> None:
    nothing = Cells.empty((30, 60))
    cases = (
        ([one_square()], [one_square(20)], 0.0),
        ([one_square()], [nothing], 0.0),
        ([nothing], [one_square()], None),
        ([nothing], [nothing], None),
    )
    for truth, found, wanted in cases:
        for task in ("segm", "bbox"):
            scores = coco_scores(truth, found, task=task, max_detections=5)
            assert {key: scores.values[key] for key in MAIN} == dict.fromkeys(MAIN, wanted)
            assert np.isfinite(scores.precision).all() and scores.precision.shape == (10, 101)


def test_what_is_chosen_by_ap_needs_a_true_cell() -> None:
    cell = Cells((8, 8), [encode_crop(np.ones((4, 4), bool), 0, 0, (8, 8))], [0.9], [0])
    nothing = Cells((8, 8), [], [], [])
    assert average_precision([cell], [cell], 100) == pytest.approx(1)
    assert average_precision([cell], [nothing], 100) == 0
    with pytest.raises(ValueError, match="the 2 images to score have none"):
        average_precision([nothing, nothing], [cell, nothing], 100)


def test_a_size_bin_without_truth_is_left_out() -> None:
    bins = area_bins({33: 50, 67: 200})
    for found in (one_square(), Cells.empty((30, 60))):
        values = coco_scores(
            [one_square()], [found], task="segm", max_detections=5, bins=bins
        ).values
        assert {key for key in values if "_" in key} == {"AP_medium", "AR_medium"}
        assert values["AP_medium"] == float(len(found))


def test_bins_cover_every_area_once() -> None:
    bins = area_bins({"67": 900.5, "33": 400})
    for area in (1, 400, 401, 900, 901, 10**7):
        assert sum(low <= area <= high for low, high in bins.values()) == 1
    assert bins["small"] == (0, 400)
    assert area_bins({}) == {}
    for wrong in ({33: 5}, {33: 9, 67: 4}):
        with pytest.raises(ValueError, match="two ascending areas"):
            area_bins(wrong)


def test_predicted_boxes_replace_the_masks_boxes() -> None:
    box = np.array([[5.0, 5.0, 25.0, 15.0]])  # twice as wide as the mask: IoU .5
    found = [replace(one_square(), detected_boxes=box)]
    values = coco_scores([one_square()], found, task="bbox", max_detections=5).values
    assert values["AP50"] == 1.0 and values["AP"] == pytest.approx(0.1)
    masks = coco_scores([one_square()], found, task="segm", max_detections=5).values
    assert masks["AP"] == pytest.approx(1)


def test_what_cannot_be_scored_is_refused() -> None:
    one = [one_square()]
    with pytest.raises(ValueError, match="task must be one of"):
        coco_scores(one, one, task="mask", max_detections=5)
    with pytest.raises(ValueError, match="max_detections must be at least 1"):
        coco_scores(one, one, task="segm", max_detections=0)
    with pytest.raises(ValueError, match="one per image"):
        coco_scores(one, [], task="segm", max_detections=5)
    with pytest.raises(ValueError, match="scale them to the original image"):
        coco_scores(one, [Cells.empty((9, 9))], task="segm", max_detections=5)
