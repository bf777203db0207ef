"""What an evaluation stores beyond its scores, on rectangles whose overlap is known."""

from __future__ import annotations

import json

import numpy as np
import pytest

from bccd_d2.evaluation.analysis import ScoredImage, analyse, verdicts
from bccd_d2.evaluation.failures import find_failures
from bccd_d2.evaluation.instances import compare
from bccd_d2.evaluation.scores import score_image
from bccd_d2.masks.cells import Cells
from bccd_d2.masks.rle import encode_crop, rle_from_json

SIZE = (40, 200)
SQUARE, FAR = (0, 0, 20, 20), (60, 0, 80, 20)


def rectangles(*boxes, scores=None) -> Cells:
    rles = [
        encode_crop(np.ones((y1 - y0, x1 - x0), dtype=bool), y0, x0, SIZE)
        for x0, y0, x1, y1 in boxes
    ]
    return Cells.from_rles(rles, SIZE, scores)


def scored(truth: Cells, predictions: Cells, threshold: float = 0.5) -> ScoredImage:
    shown = predictions.above(threshold)
    comparison = compare(truth, predictions)
    return ScoredImage(
        truth, predictions, shown, comparison,
        score_image(truth, predictions, threshold, comparison), find_failures(truth, shown),
    )  # fmt: skip


def test_numbers_of_two_images():
    wide = (0, 0, 20, 25)  # IoU .8 with the square
    images = [
        scored(rectangles(SQUARE, FAR), rectangles(SQUARE, (100, 0, 120, 20), scores=[0.95, 0.25])),
        scored(rectangles(SQUARE), rectangles(wide, scores=[0.95])),
    ]
    found = analyse(images, 0.5, max_detections=10, draws=50)
    assert "NaN" not in json.dumps(found)
    assert found["failures"]["missed"] == {"events": 1, "true_cells": 1, "predicted_cells": 0}
    assert sum(kind["events"] for kind in found["failures"].values()) == 1  # below .5: not counted
    assert found["matched_iou"]["median"] == pytest.approx(0.9)
    counts = found["matched_iou"]["counts"]
    assert len(counts) == 25 and counts[15] == 1 and counts[24] == 1 and sum(counts) == 2
    table = found["calibration"]
    assert table["counts"] == [0, 0, 1, 0, 0, 0, 0, 0, 0, 2]
    assert table["matched"][2] == 0 and table["matched"][9] == 1
    assert table["error"] == pytest.approx((0.25 + 2 * 0.05) / 3, abs=1e-6)
    low, high = found["intervals_95"]["instances"]["recall@.5"]
    assert (low, high) == (0.5, 1.0)  # an image alone, drawn twice
    assert 0 < found["intervals_95"]["segm"]["AP"][0] < found["intervals_95"]["segm"]["AP"][1] <= 1


def test_numbers_without_cells():
    nothing = scored(rectangles(), rectangles())
    found = analyse([nothing], 0.5, max_detections=10, draws=5)
    assert found["matched_iou"] == {"counts": [0] * 25, "median": None}
    assert sum(found["calibration"]["counts"]) == 0 and found["intervals_95"]["segm"] == {}
    assert {k for kind in found["failures"].values() for k in kind.values()} == {0}
    with pytest.raises(ValueError, match="needs images"):
        analyse([], 0.5, max_detections=10)


def test_verdicts_give_the_cells_back():
    truth = rectangles(SQUARE, FAR)
    image = scored(truth, rectangles((100, 0, 120, 20), SQUARE, scores=[0.25, 0.95]))
    found = json.loads(json.dumps(verdicts(image)))
    assert found["size"] == list(SIZE)
    assert found["truth"]["verdicts"] == ["found", "missed"]
    assert found["prediction"]["verdicts"] == ["found"]  # the one below .5 is not shown
    assert found["events"] == [{"kind": "missed", "truth": [1], "prediction": []}]
    rles = [rle_from_json({"size": SIZE, "counts": c}) for c in found["truth"]["masks"]]
    assert [r["counts"] for r in rles] == [r["counts"] for r in truth.rles]
