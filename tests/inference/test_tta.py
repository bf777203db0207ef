"""Views and their way back: what is found in a turned image lies where it was."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bccd_d2.inference.tta import View, agreement, merge_views, parse_views
from bccd_d2.masks.cells import Cells


@pytest.fixture(scope="module")
def label_map() -> np.ndarray:
    label_map = np.zeros((40, 70), np.int32)
    label_map[3:10, 5:30], label_map[20:39, 50:58], label_map[22, 60:70] = 1, 2, 3
    label_map[30:33, 0:2] = 4
    return label_map


@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("turns", range(4))
def test_undo_brings_every_cell_back(label_map, mirror, turns):
    view = View(mirror, turns)
    seen = Cells.from_label_map(view.apply(label_map), [0.1, 0.2, 0.3, 0.4])
    seen = replace(seen, detected_boxes=seen.boxes)
    back = view.undo(seen, label_map.shape)
    np.testing.assert_array_equal(back.detected_boxes, back.boxes)
    assert back.image_size == label_map.shape
    truth = {rle["counts"] for rle in Cells.from_label_map(label_map).rles}
    assert {rle["counts"] for rle in back.rles} == truth
    np.testing.assert_array_equal(back.scores, seen.scores)


@pytest.mark.parametrize("turns", range(4))
def test_no_cells_and_empty_masks_survive(turns):
    view = View(True, turns)
    size = view.apply(np.zeros((5, 9))).shape
    assert view.undo(Cells.empty(size), (5, 9)).image_size == (5, 9)
    blank = Cells.from_rles([{"size": list(size), "counts": b"]1"}], size)
    assert view.undo(blank, (5, 9)).areas.tolist() == [0]


def test_views_by_name():
    assert parse_views("") == parse_views(None) == parse_views(()) == (View(),)
    assert parse_views("flip") == (View(), View(mirror=True), View(mirror=True, turns=2))
    assert len(parse_views(["flip", "turn", 0.8, "1.25"])) == 8
    assert parse_views(0.8) == parse_views("0.8,0.8") == (View(), View(zoom=0.8))
    assert parse_views("1") == (View(),)
    for wrong in ("flips", "0", "-1", "nan", 50):
        with pytest.raises(ValueError, match="tta must be of flip, turn"):
            parse_views(wrong)


def test_agreement_is_one_where_all_say_the_same_and_falls_with_it(label_map):
    same = Cells.from_label_map(label_map)
    merged = merge_views([same, same, same])
    np.testing.assert_array_equal(merged.uncertainty, 0)
    smaller = label_map.copy()
    smaller[3:10, 17:30] = 0  # less than half of cell 1 goes: still one cell, IoU .48 + shared
    smaller[smaller == 4] = 0
    merged = merge_views([same, Cells.from_label_map(smaller)], iou_threshold=0.4)
    by_area = dict(zip(merged.areas.tolist(), merged.uncertainty.tolist(), strict=True))
    assert by_area[19 * 8] == 0
    assert by_area[6] == pytest.approx(0.5)
    assert by_area[7 * 25] == pytest.approx(1 - (1 + 12 / 25) / 2)
    assert merge_views([same]) is same
    assert agreement(Cells.empty((4, 4)), [Cells.empty((4, 4))]).shape == (0,)
