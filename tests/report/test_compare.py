"""Verdicts on cells whose overlap is known by hand."""

from __future__ import annotations

import numpy as np
import pytest

from bccd_d2.masks.cells import Cells
from bccd_d2.masks.rle import encode_crop
from bccd_d2.report.compare import compare

SIZE = (60, 200)


def rectangles(*boxes: tuple[int, int, int, int], size: tuple[int, int] = SIZE) -> Cells:
    """Cells that fill boxes (x0, y0, x1, y1)."""
    rles = [
        encode_crop(np.ones((y1 - y0, x1 - x0), dtype=bool), y0, x0, size)
        for x0, y0, x1, y1 in boxes
    ]
    return Cells.from_rles(rles, size)


def test_each_kind_of_error_has_its_word():
    truth = rectangles(
        (0, 0, 20, 20),  # found exactly
        (30, 0, 50, 20),  # missed
        (60, 0, 80, 20),  # merged with the next, the smaller part of the union
        (80, 0, 110, 20),
        (120, 0, 140, 20),  # met with IoU 1/3 only
    )
    prediction = rectangles(
        (0, 0, 20, 20), (60, 0, 110, 20), (130, 0, 150, 20), (0, 40, 20, 60)
    )
    verdicts = compare(truth, prediction)
    assert verdicts.truth.tolist() == ["found", "missed", "merged", "found", "missed"]
    assert verdicts.prediction.tolist() == ["found", "merged", "spurious", "spurious"]
    assert verdicts.count("truth", "missed") == 2 and verdicts.count("prediction", "found") == 1


def test_the_threshold_counts_as_a_match():
    truth, prediction = rectangles((0, 0, 20, 20)), rectangles((0, 0, 10, 20))
    assert compare(truth, prediction, iou=0.5).truth.tolist() == ["found"]
    assert compare(truth, prediction, iou=0.51).prediction.tolist() == ["spurious"]


def test_one_true_cell_inside_a_large_prediction_is_no_merge():
    verdicts = compare(rectangles((0, 0, 20, 20)), rectangles((0, 0, 60, 60)))
    assert verdicts.truth.tolist() == ["missed"]
    assert verdicts.prediction.tolist() == ["spurious"]


@pytest.mark.parametrize(("true", "predicted"), [(0, 0), (1, 0), (0, 1)])
def test_without_cells_all_is_missed_or_spurious(true, predicted):
    box = (0, 0, 20, 20)
    verdicts = compare(rectangles(*[box] * true), rectangles(*[box] * predicted))
    assert verdicts.truth.tolist() == ["missed"] * true
    assert verdicts.prediction.tolist() == ["spurious"] * predicted


def test_images_of_two_sizes_are_refused():
    with pytest.raises(ValueError, match="rescale"):
        compare(rectangles(), rectangles(size=(10, 10)))
