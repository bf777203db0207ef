"""Box scores worked out by hand, ignored boxes, and AP against plain pycocotools."""

from __future__ import annotations

import contextlib
import io

import numpy as np
import pytest

from bccd_d2.evaluation.boxes import (
    TrueBoxes,
    box_scores,
    coco_box_scores,
    compare_boxes,
    count_boxes,
)
from bccd_d2.masks.overlap import box_iou

SIZE = (100, 200)
NONE = np.zeros((0, 4))


def square(x: float, y: float, side: float = 10) -> list[float]:
    return [x, y, x + side, y + side]


def truth_of(*boxes, ignored=NONE) -> TrueBoxes:
    return TrueBoxes(np.array(boxes).reshape(-1, 4), np.array(ignored).reshape(-1, 4), SIZE)


def test_iou_by_hand() -> None:
    first = np.array([square(0, 0), square(50, 50), [5, 5, 5, 9]])
    second = np.array([square(0, 0), square(5, 0), [0, 0, 20, 10], square(90, 90)])
    expected = [[1, 50 / 150, 100 / 200, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    np.testing.assert_allclose(box_iou(first, second), expected)
    assert box_iou(NONE, second).shape == (0, 4) and box_iou(second, NONE).shape == (4, 0)


def test_scores_by_hand() -> None:
    """Three true; found: one right, one at IoU .6, one elsewhere, one below the threshold."""
    truth = truth_of(square(0, 0), square(30, 0), square(60, 0))
    near = [30, 0, 40, 6]  # 60 of 100 px
    found = np.array([square(0, 0), near, square(100, 50), square(60, 0)])
    comparison = compare_boxes(truth, found, np.array([0.9, 0.8, 0.7, 0.2]))
    values = box_scores([count_boxes(comparison, 0.5)])
    assert values["precision@.5"] == values["recall@.5"] == values["F1@.5"] == pytest.approx(2 / 3)
    assert values["F1@.75"] == pytest.approx(1 / 3)
    assert (values["truth"], values["predicted"], values["matched"]) == (3, 3, 2)
    assert values["count_mae"] == 0 and "PQ" not in values
    assert box_scores([count_boxes(comparison, 0.1)])["recall@.5"] == 1
    partial = box_scores([count_boxes(comparison, 0.5)], complete=False)
    assert set(partial) == {"recall@.5", "recall@.75", "truth", "matched"}


def test_what_lies_on_an_ignored_box_counts_for_nothing() -> None:
    crowd = [100, 0, 160, 60]
    truth = truth_of(square(0, 0), square(105, 5), ignored=[crowd])
    # In the crowd: two that match nothing, one that matches a cell of its own; one half outside.
    found = np.array(
        [square(0, 0), square(120, 20), square(140, 20), square(105, 5), square(152, 20, 20)]
    )
    values = box_scores([count_boxes(compare_boxes(truth, found, np.ones(5)), 0.5)])
    assert (values["predicted"], values["matched"]) == (3, 2)
    assert values["precision@.5"] == pytest.approx(2 / 3) and values["recall@.5"] == 1


def test_nothing_to_find_has_no_scores() -> None:
    nothing = truth_of()
    for found, predicted in ((NONE, 0), (np.array([square(0, 0)]), 1)):
        scores = np.ones(len(found))
        values = box_scores([count_boxes(compare_boxes(nothing, found, scores), 0.5)])
        assert values["F1@.5"] is None and values["precision@.5"] is None
        assert values["count_bias"] == predicted
        assert set(coco_box_scores([nothing], [found], [scores], 10).values.values()) == {None}
    one = truth_of(square(0, 0))
    assert coco_box_scores([one], [NONE], [np.zeros(0)], 10).values["AP"] == 0
    assert box_scores([count_boxes(compare_boxes(one, NONE, []), 0.5)])["F1@.5"] == 0
    with pytest.raises(ValueError, match="one per image"):
        coco_box_scores([], [], [], 10)


def test_ap_is_that_of_pycocotools_with_crowds() -> None:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    rng = np.random.default_rng(4)
    truth, boxes, scores, annotations, results = [], [], [], [], []
    for image in range(1, 5):
        corners = rng.uniform(0, 150, (25, 2))
        every = np.concatenate([corners, corners + rng.uniform(8, 40, (25, 2))], axis=1)
        truth.append(TrueBoxes(every[:20], every[20:], SIZE))
        found = every[rng.random(25) < 0.8] + rng.normal(0, 3, (1, 4))
        found = np.concatenate([found, found[:5] + 30])
        boxes.append(found)
        scores.append(np.round(rng.random(len(found)), 2))
        for index, (x0, y0, x1, y1) in enumerate(every.tolist()):
            annotations.append(
                {"id": len(annotations) + 1, "image_id": image, "category_id": 1,
                 "bbox": [x0, y0, x1 - x0, y1 - y0], "area": (x1 - x0) * (y1 - y0),
                 "iscrowd": int(index >= 20)}
            )  # fmt: skip
        for (x0, y0, x1, y1), score in zip(found.tolist(), scores[-1].tolist(), strict=True):
            results.append({"image_id": image, "category_id": 1, "score": score,
                            "bbox": [x0, y0, x1 - x0, y1 - y0]})  # fmt: skip
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {"images": [{"id": i} for i in range(1, 5)], "annotations": annotations,
                        "categories": [{"id": 1}], "info": {}}  # fmt: skip
        coco.createIndex()
        reference = COCOeval(coco, coco.loadRes(results), "bbox")
        reference.evaluate()
        reference.accumulate()
        reference.summarize()
    values = coco_box_scores(truth, boxes, scores, 100).values
    found = [values[name] for name in ("AP", "AP50", "AP75", "AR")]
    assert found == pytest.approx([reference.stats[i] for i in (0, 1, 2, 8)], abs=1e-6)
    assert 0.1 < values["AP"] < 0.9
