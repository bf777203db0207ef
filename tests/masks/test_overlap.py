"""IoU against closed forms and set arithmetic, matching against brute force, overlaps resolved."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from bccd_d2.masks.cells import Cells
from bccd_d2.masks.overlap import (
    iou_matrix,
    match,
    meeting_pairs,
    resolve_overlaps,
)
from bccd_d2.masks.rle import encode_crop, rle_to_mask

SIZE = (40, 60)


def rectangle(y0: int, x0: int, y1: int, x1: int) -> dict:
    return encode_crop(np.ones((y1 - y0, x1 - x0), bool), y0, x0, SIZE)


def random_labels(seed: int, cells: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    label_map = np.zeros(SIZE, np.int32)
    for label in range(1, cells + 1):
        y, x = rng.integers(0, SIZE[0] - 8), rng.integers(0, SIZE[1] - 8)
        label_map[y : y + rng.integers(2, 9), x : x + rng.integers(2, 9)] = label
    return label_map


@pytest.mark.parametrize("shift", [0, 1, 3, 9, 10])
def test_iou_of_a_shifted_rectangle(shift: int) -> None:
    iou = iou_matrix([rectangle(5, 5 + shift, 15, 15 + shift)], [rectangle(5, 5, 15, 15)])
    assert iou.shape == (1, 1)
    assert iou[0, 0] == pytest.approx((10 - shift) / (10 + shift))


def test_a_rolled_disc_loses_the_same_as_in_set_arithmetic() -> None:
    rows, columns = np.mgrid[:40, :60]
    disc = (rows - 20) ** 2 + (columns - 20) ** 2 <= 100
    for shift in (0, 2, 5, 25):
        rolled = np.roll(disc, shift, axis=1)
        wanted = (disc & rolled).sum() / (disc | rolled).sum()
        iou = iou_matrix([encode_crop(rolled, 0, 0, SIZE)], [encode_crop(disc, 0, 0, SIZE)])
        assert iou[0, 0] == pytest.approx(wanted, abs=1e-12)


@pytest.mark.parametrize(("rows", "columns"), [(0, 0), (0, 3), (2, 0)])
def test_no_cells_give_an_empty_matrix(rows: int, columns: int) -> None:
    some = rectangle(0, 0, 3, 3)
    assert iou_matrix([some] * rows, [some] * columns).shape == (rows, columns)
    pairs = match(np.zeros((rows, columns)))
    assert len(pairs) == 0 and pairs.pred_index.dtype.kind == "i"


def test_empty_masks_have_no_overlap_even_with_each_other() -> None:
    nothing = encode_crop(np.zeros((0, 0), bool), 0, 0, SIZE)
    iou = iou_matrix([nothing, rectangle(0, 0, 2, 2)], [nothing])
    np.testing.assert_array_equal(iou, [[0], [0]])


def test_masks_of_two_sizes_are_refused() -> None:
    other = encode_crop(np.ones((2, 2), bool), 0, 0, (60, 40))
    with pytest.raises(ValueError, match=r"one image size.*\(40, 60\), \(60, 40\)"):
        iou_matrix([other], [rectangle(0, 0, 2, 2)])


def best_by_brute_force(iou: np.ndarray, threshold: float) -> tuple[int, float]:
    if iou.shape[0] > iou.shape[1]:
        iou = iou.T
    best = (0, 0.0)
    for columns in itertools.permutations(range(iou.shape[1]), iou.shape[0]):
        values = iou[np.arange(iou.shape[0]), columns]
        values = values[values >= threshold]
        best = max(best, (values.size, float(values.sum())))
    return best


@pytest.mark.parametrize("seed", range(20))
def test_matching_is_optimal(seed: int) -> None:
    rng = np.random.default_rng(seed)
    iou = rng.random((rng.integers(1, 6), rng.integers(1, 6))).round(2)
    threshold = float(rng.choice([0.2, 0.5, 0.8]))
    pairs = match(iou, threshold)
    number, total = best_by_brute_force(iou, threshold)
    assert len(pairs) == number
    assert pairs.iou.sum() == pytest.approx(total)
    assert len(set(pairs.pred_index)) == len(set(pairs.truth_index)) == len(pairs)
    np.testing.assert_array_equal(iou[pairs.pred_index, pairs.truth_index], pairs.iou)


def test_greedy_would_lose_a_pair() -> None:
    pairs = match(np.array([[0.9, 0.6], [0.8, 0.1]]))
    assert list(zip(pairs.pred_index, pairs.truth_index, strict=True)) == [(0, 1), (1, 0)]


def test_threshold_is_inclusive_and_checked() -> None:
    assert len(match(np.array([[0.5]]), 0.5)) == 1
    assert len(match(np.array([[0.4999]]), 0.5)) == 0
    for wrong in (0.0, 1.5):
        with pytest.raises(ValueError, match="threshold must be in"):
            match(np.eye(2), wrong)
    with pytest.raises(ValueError, match="must be a matrix"):
        match(np.ones(3))


def overlapping(seed: int) -> Cells:
    rng = np.random.default_rng(seed)
    corners = rng.integers(0, [30, 50], size=(12, 2))
    rles = [rectangle(y, x, y + 7, x + 9) for y, x in corners]
    return Cells.from_rles(rles, SIZE, rng.permutation(12) / 12)


@pytest.mark.parametrize("seed", range(5))
def test_resolved_overlaps_are_what_the_label_map_shows(seed: int) -> None:
    cells = overlapping(seed)
    resolved = resolve_overlaps(cells)
    label_map = cells.to_label_map()
    for index, rle in enumerate(resolved.rles):
        np.testing.assert_array_equal(rle_to_mask(rle), label_map == index + 1)
    np.testing.assert_array_equal(resolved.scores, cells.scores)


def test_dropping_low_scores_first_or_last_is_the_same() -> None:
    cells = overlapping(7)
    first, last = resolve_overlaps(cells.above(0.4)), resolve_overlaps(cells).above(0.4)
    assert [r["counts"] for r in first.rles] == [r["counts"] for r in last.rles]


def test_a_covered_cell_becomes_empty_and_stays_in_place() -> None:
    rles = [rectangle(5, 5, 8, 8), rectangle(0, 0, 20, 20), rectangle(30, 30, 33, 33)]
    resolved = resolve_overlaps(Cells.from_rles(rles, SIZE, [0.3, 0.9, 0.5]))
    np.testing.assert_array_equal(resolved.areas, [0, 400, 9])


def test_disjoint_cells_come_back_as_they_are() -> None:
    cells = Cells.from_label_map(random_labels(3, 10))
    assert resolve_overlaps(cells) is cells
    assert len(resolve_overlaps(Cells.empty(SIZE))) == 0


@pytest.mark.parametrize("seed", range(3))
def test_meeting_pairs_are_those_that_share_area(seed: int) -> None:
    rng = np.random.default_rng(seed)
    corners = rng.integers(0, 40, (30, 2))
    boxes = np.concatenate([corners, corners + rng.integers(1, 12, (30, 2))], axis=1)
    expected = set()
    for i, j in itertools.combinations(range(30), 2):
        low, high = np.maximum(boxes[i, :2], boxes[j, :2]), np.minimum(boxes[i, 2:], boxes[j, 2:])
        if (low < high).all():
            expected.add(frozenset((i, j)))
    pairs = meeting_pairs(boxes)
    assert len(pairs) == len(expected) and {frozenset(pair) for pair in pairs.tolist()} == expected
    assert meeting_pairs(np.zeros((0, 4))).shape == (0, 2)


def test_equal_scores_share_as_the_label_map_does() -> None:
    cells = Cells.from_rles([rectangle(2, 2, 9, 9), rectangle(5, 5, 12, 12)], SIZE)
    label_map = cells.to_label_map()
    areas = [(label_map == 1).sum(), (label_map == 2).sum()]
    assert resolve_overlaps(cells).areas.tolist() == areas == [33, 49]


def test_resolving_keeps_kind_and_uncertainty() -> None:
    rles = [rectangle(2, 2, 9, 9), rectangle(5, 5, 12, 12)]
    cells = Cells(SIZE, rles, [0.9, 0.8], [0, 0], [0.1, 0.4])
    assert resolve_overlaps(cells).uncertainty.tolist() == pytest.approx([0.1, 0.4])
    assert cells[1:].uncertainty.tolist() == pytest.approx([0.4])
    with pytest.raises(ValueError, match="2 masks cannot have 1 uncertainties"):
        Cells(SIZE, rles, [0.9, 0.8], [0, 0], [0.1])
