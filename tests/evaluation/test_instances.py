"""PQ, F1 and the rest worked out by hand on discs, cells at the border, and empty images."""

from __future__ import annotations

import numpy as np
import pytest

from bccd_d2.evaluation.instances import (
    IOU_THRESHOLDS,
    compare,
    count_errors,
    count_instances,
    instance_scores,
    pooled_scores,
)
from bccd_d2.masks.cells import Cells
from bccd_d2.masks.rle import encode_crop

SIZE = (50, 80)


def squares(*corners: tuple[int, int], side: int = 10, scores: list[float] | None = None) -> Cells:
    """Squares by their top left corner (row, column): moved by s columns two share s-wise area."""
    block = np.ones((side, side), bool)
    return Cells.from_rles([encode_crop(block, y, x, SIZE) for y, x in corners], SIZE, scores)


def scores_of(truth: Cells, found: Cells, threshold: float = 0.5, **options) -> dict[str, float]:
    return instance_scores([count_instances(compare(truth, found), threshold, **options)])


PERFECT = ("PQ", "SQ", "RQ", "mean_matched_iou", "F1@.5", "F1@.75", "precision@.5", "recall@.75")
ACCURACY = tuple(f"accuracy@{t}".replace("@0", "@") for t in IOU_THRESHOLDS)


def test_a_perfect_prediction_scores_one() -> None:
    truth = squares((5, 5), (20, 30), (30, 60))
    values = scores_of(truth, truth)
    assert all(values[key] == 1.0 for key in PERFECT + ACCURACY)
    assert values["count_mae"] == values["count_bias"] == values["count_relative_error"] == 0
    assert (values["truth"], values["predicted"], values["matched"]) == (3, 3, 3)


def test_a_disjoint_prediction_scores_zero() -> None:
    values = scores_of(squares((5, 5), (20, 30)), squares((5, 25), (35, 30)))
    assert all(values[key] == 0.0 for key in PERFECT + ACCURACY)


@pytest.mark.parametrize("interior", [False, True])
def test_empty_cases_are_defined(interior: bool) -> None:
    nothing, some = Cells.empty(SIZE), squares((5, 5))
    cases = ((some, nothing, 0.0, -1), (nothing, some, None, 1), (nothing, nothing, None, 0))
    for truth, found, wanted, bias in cases:
        values = scores_of(truth, found, interior=interior)
        assert {values[key] for key in PERFECT + ACCURACY} == {wanted}
        assert values["count_bias"] == bias and values["count_relative_error"] == abs(bias)
    # An image without cells that is left empty is right; it counts where others have cells.
    empty = count_instances(compare(nothing, nothing), 0.5, interior=interior)
    assert all(pooled_scores(empty)[key] == 1.0 for key in PERFECT + ACCURACY)
    full = count_instances(compare(some, some), 0.5, interior=interior)
    assert instance_scores([empty, full])["F1@.5"] == 1.0


def test_one_good_one_poor_one_missed_one_spurious_by_hand() -> None:
    truth = squares((5, 5), (5, 25), (30, 5))
    # Moved by 1 of 10 columns: IoU 9/11 = .818; by 3: 7/13 = .538; the third is elsewhere.
    found = squares((5, 6), (5, 28), (30, 40))
    values = scores_of(truth, found)
    assert values["SQ"] == values["mean_matched_iou"] == pytest.approx((9 / 11 + 7 / 13) / 2)
    assert values["RQ"] == values["F1@.5"] == pytest.approx(2 / 3)
    assert values["PQ"] == pytest.approx((9 / 11 + 7 / 13) / (2 + 0.5 + 0.5))
    assert values["precision@.5"] == values["recall@.5"] == pytest.approx(2 / 3)
    assert values["F1@.75"] == values["precision@.75"] == pytest.approx(1 / 3)
    assert values["accuracy@.5"] == pytest.approx(2 / 4)
    assert values["accuracy@.55"] == values["accuracy@.8"] == pytest.approx(1 / 5)
    assert values["accuracy@.85"] == 0


def test_counts_at_each_threshold_on_rolled_discs() -> None:
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    disc = (rows - 25) ** 2 + (columns - 30) ** 2 <= 15**2
    truth = Cells.from_rles([encode_crop(disc, 0, 0, SIZE)], SIZE)
    for shift in range(0, 14):
        rolled = np.roll(disc, shift, axis=1)
        iou = (disc & rolled).sum() / (disc | rolled).sum()
        found = Cells.from_rles([encode_crop(rolled, 0, 0, SIZE)], SIZE)
        counts = count_instances(compare(truth, found), 0.5)
        np.testing.assert_array_equal(counts.matched, [int(iou >= t) for t in IOU_THRESHOLDS])
        np.testing.assert_allclose(counts.iou_sum, counts.matched * iou)


def test_cells_below_the_score_threshold_do_not_count() -> None:
    truth = squares((5, 5), (5, 25))
    found = squares((5, 5), (5, 25), (30, 40), scores=[0.9, 0.6, 0.2])
    assert scores_of(truth, found, 0.5)["F1@.5"] == 1.0
    assert scores_of(truth, found, 0.1)["precision@.5"] == pytest.approx(2 / 3)
    assert scores_of(truth, found, 0.7)["recall@.5"] == pytest.approx(1 / 2)
    assert scores_of(truth, found, 0.6)["predicted"] == 2  # 0.6 itself counts


def test_a_doubled_cell_is_one_match_and_one_false_positive() -> None:
    truth = squares((5, 5))
    doubled = squares((5, 5), (5, 5), scores=[0.9, 0.8])
    values = scores_of(truth, doubled)
    assert (values["matched"], values["predicted"]) == (1, 2)
    assert values["SQ"] == 1.0 and values["F1@.5"] == pytest.approx(2 / 3)


def test_the_better_cell_keeps_shared_pixels() -> None:
    truth = squares((5, 5), (5, 15))
    # The second overlaps the first by 2 columns of its 12; without them it is exactly right.
    wide = np.ones((10, 12), bool)
    rles = [squares((5, 5)).rles[0], encode_crop(wide, 5, 13, SIZE)]
    assert scores_of(truth, Cells.from_rles(rles, SIZE, [0.9, 0.8]))["PQ"] == 1.0
    worse = scores_of(truth, Cells.from_rles(rles, SIZE, [0.8, 0.9]))
    assert worse["SQ"] == pytest.approx((8 / 10 + 10 / 12) / 2)


def test_interior_leaves_the_edge_out() -> None:
    # Truth: one at the edge that is found, one at the edge that is missed, one inside.
    truth = squares((0, 5), (0, 40), (20, 20))
    # Found: the first, the inner one, one at the edge that nobody annotated.
    found = squares((0, 6), (20, 20), (40, 60))
    every = scores_of(truth, found)
    assert every["F1@.5"] == pytest.approx(2 / 3)
    inner = scores_of(truth, found, interior=True)
    assert inner["F1@.5"] == inner["PQ"] == 1.0
    assert (inner["truth"], inner["predicted"]) == (1, 1)


def test_interior_still_charges_a_spurious_inner_cell() -> None:
    inner = scores_of(squares((20, 20)), squares((20, 20), (35, 60)), interior=True)
    assert inner["precision@.5"] == 0.5


def test_interior_keeps_an_inner_cell_found_with_a_mask_that_reaches_the_edge() -> None:
    tall = Cells.from_rles([encode_crop(np.ones((12, 10), bool), 0, 20, SIZE)], SIZE)
    inner = scores_of(squares((1, 20)), tall, interior=True)
    assert inner["matched"] == 1 and inner["PQ"] == pytest.approx(100 / 120)


def test_interior_ignores_an_inner_mask_that_found_an_edge_cell() -> None:
    inner = scores_of(squares((0, 20), (30, 30)), squares((1, 20), (30, 30)), interior=True)
    assert (inner["truth"], inner["predicted"], inner["PQ"]) == (1, 1, 1.0)


def test_sums_over_images_equal_pooling() -> None:
    truth, found = squares((5, 5), (5, 25)), squares((5, 6), (30, 40), (30, 60))
    other_truth, other = squares((20, 20)), squares((20, 20))
    counts = [
        count_instances(compare(t, f), 0.5) for t, f in ((truth, found), (other_truth, other))
    ]
    values = instance_scores(counts)
    assert values["F1@.5"] == pytest.approx(2 * 2 / (3 + 4))
    assert values["PQ"] == pytest.approx((9 / 11 + 1) / (2 + 0.5 + 1))
    assert values["count_mae"] == values["count_bias"] == 0.5
    assert values["count_relative_error"] == pytest.approx((1 / 2 + 0) / 2)
    assert pooled_scores(counts[0] + counts[1])["PQ"] == values["PQ"]


def test_count_errors_tell_too_many_from_too_few() -> None:
    one, three = squares((20, 20)), squares((5, 5), (20, 20), (30, 60))
    images = [count_instances(compare(t, f), 0.5) for t, f in ((one, three), (three, one))]
    errors = count_errors(images)
    assert errors["count_mae"] == 2 and errors["count_bias"] == 0
    assert errors["count_relative_error"] == pytest.approx((2 / 1 + 2 / 3) / 2)


def test_what_cannot_be_scored_is_refused() -> None:
    other = Cells.empty((80, 50))
    with pytest.raises(ValueError, match=r"truth's image size \(50, 80\), got \(80, 50\)"):
        compare(squares((5, 5)), other)
    with pytest.raises(ValueError, match="at least .5"):
        count_instances(compare(other, other), 0.5, iou_thresholds=(0.3,))
    with pytest.raises(ValueError, match="images is empty"):
        instance_scores([])
    one = count_instances(compare(other, other), 0.5)
    with pytest.raises(ValueError, match="cannot be added"):
        one + count_instances(compare(other, other), 0.5, iou_thresholds=(0.5,))
