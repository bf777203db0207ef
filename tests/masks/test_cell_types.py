"""From found cells and logits to typed cells, with networks that are plain functions."""

from dataclasses import replace

import numpy as np
import pytest

from bccd_d2.masks.cell_types import (
    SmallOptions,
    TypeNetworks,
    TypeOptions,
    probabilities,
    rescored,
    small_cells,
    together,
    typed,
    usual_diameter,
    with_types,
    without_copies,
)
from bccd_d2.masks.cells import Cells


def squares(size, places, scores=None):
    """Cells of squares (y, x, side)."""
    from bccd_d2.masks.rle import encode_crop

    rles = [encode_crop(np.ones((side, side), bool), y, x, size) for y, x, side in places]
    return Cells.from_rles(rles, size, scores)


def test_probabilities_are_a_softmax_with_temperature_and_biases():
    logits = np.array([[2.0, 0.0]])
    assert probabilities(logits)[0, 0] == pytest.approx(1 / (1 + np.exp(-2)))
    assert probabilities(logits, 2.0)[0, 0] == pytest.approx(1 / (1 + np.exp(-1)))
    assert probabilities(logits, 1.0, (0.0, 2.0))[0].tolist() == [0.5, 0.5]
    assert probabilities(np.zeros((0, 3))).shape == (0, 3)
    with pytest.raises(ValueError, match="as many biases"):
        probabilities(logits, 1.0, (0.0,))


def test_small_cells_are_scored_by_the_chance_that_annotators_mark_them():
    cells = squares((20, 20), [(1, 1, 5), (10, 10, 5)], [0.5, 0.5])
    logits = np.array([[3.0, 0.0, 2.0], [0.0, 3.0, -2.0]])
    plain = with_types(cells, logits, TypeOptions())
    assert plain.class_ids.tolist() == [0, 1] and plain.scores.tolist() == [0.5, 0.5]
    small = SmallOptions(counted=(0.0, 1.0, 0.0), reported_from=0.75)
    scores, logits = np.array([0.8, 0.7, 0.7, 0.9]), np.array([-9.0, 9.0, 0.0, -9.0])
    added = np.array([False, False, True, True])
    kept = rescored(scores, logits, small, added=added)
    assert kept == pytest.approx([0.8, 0.7, 0.75, 0.0], abs=1e-3)
    assert rescored(scores, logits, small) == pytest.approx(scores)
    with pytest.raises(ValueError, match="3 numbers or none.*bccd types"):
        SmallOptions(counted=(1.0,))


def test_small_cells_are_the_pieces_of_a_map_in_the_image_s_frame():
    shown = np.zeros((30, 40), np.float32)
    shown[10:16, 20:26] = 0.8
    shown[2, 2] = 0.9  # a speck
    cells = small_cells(shown, (60, 80), 10, SmallOptions(channels=(8,), threshold=0.5))
    assert len(cells) == 1 and cells.scores[0] == pytest.approx(0.8)
    assert cells.boxes[0] == pytest.approx([40, 20, 52, 32], abs=1)
    assert cells.areas[0] == pytest.approx(144, rel=0.15)
    assert len(small_cells(np.zeros((5, 5)), (5, 5), 1, SmallOptions())) == 0


def test_a_small_cell_stays_on_a_large_one_and_goes_where_it_doubles_its_like():
    found = squares((100, 100), [(10, 10, 40), (70, 70, 12)])
    small = squares((100, 100), [(20, 20, 10), (71, 71, 10), (5, 80, 10)])
    kept, left = without_copies(found, small)
    assert len(kept) == 2
    assert [tuple(box[:2]) for box in left.boxes] == [(20, 20), (80, 5)]
    assert len(without_copies(Cells.empty((100, 100)), small)[1]) == 3


def test_a_small_cell_takes_the_place_of_its_like_that_would_not_be_reported():
    found = squares((100, 100), [(10, 10, 40), (70, 70, 12)])
    found = replace(found, scores=np.array([0.9, 0.3]))
    small = squares((100, 100), [(71, 71, 10)])
    kept, left = without_copies(found, small, reported_from=0.75)
    assert [tuple(box[:2]) for box in kept.boxes] == [(10, 10)]
    assert [tuple(box[:2]) for box in left.boxes] == [(71, 71)]


def test_the_usual_diameter_is_that_of_whole_cells():
    cells = squares((100, 100), [(10, 10, 20), (40, 40, 20), (0, 0, 8), (0, 50, 8), (0, 80, 8)])
    assert usual_diameter(cells) == pytest.approx(2 * np.sqrt(400 / np.pi))
    assert usual_diameter(Cells.empty((5, 5))) == 1


def test_typed_adds_small_cells_and_asks_of_all_what_they_are():
    image = np.full((50, 50, 3), 200, np.uint8)
    found = squares((100, 100), [(10, 10, 40)], [0.9])

    def small(pixels):
        shown = np.zeros(pixels.shape[:2], np.float32)
        shown[40:45, 40:45] = 0.7
        return shown

    def look(crops, measures):
        assert crops.shape == (2, 4, 64, 64) and len(measures) == 2
        return np.stack([measures[:, 0], -measures[:, 0], measures[:, 0]], axis=1)  # by size

    cells = typed(image, found, TypeNetworks(look, small), TypeOptions(), diameter=22.0)
    assert len(cells) == 2 and cells.class_ids.tolist() == [0, 1]
    assert cells.class_probabilities.shape == (2, 2)
    assert cells.scores == pytest.approx([0.9, 0.7])
    assert len(typed(image, found, TypeNetworks(lambda c, m: np.zeros((1, 3))), TypeOptions())) == 1
    assert len(together(found, found)) == 2


def test_small_cells_that_touch_are_cut_apart_at_their_neck():
    rows, columns = np.mgrid[:40, :60]
    shown = np.zeros((40, 60), np.float32)
    for x in (22, 37):
        shown[np.hypot(rows - 20, columns - x) < 8.5] = 0.9
    options = SmallOptions(channels=(8,), threshold=0.5)
    cells = small_cells(shown, (40, 60), 20, options)
    assert sorted(cells.boxes.tolist()) == [[14, 12, 30, 29], [30, 12, 46, 29]]
    assert cells.areas.sum() == pytest.approx((shown > 0).sum(), abs=12)
    one = np.where(np.hypot(rows - 20, columns - 30) < 12, 0.9, 0).astype(np.float32)
    assert len(small_cells(one, (40, 60), 20, options)) == 1
