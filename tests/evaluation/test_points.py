"""Point scores worked out by hand: alone, merged, split, missed, spurious."""

from __future__ import annotations

import numpy as np
import pytest

from bccd_d2.evaluation.points import count_points, point_scores, points_in_masks
from bccd_d2.masks.cells import Cells
from bccd_d2.masks.rle import encode_crop

SIZE = (60, 100)


def squares(*corners: tuple[int, int, int]) -> Cells:
    """Squares by row, column and side."""
    return Cells.from_rles(
        [encode_crop(np.ones((side, side), bool), y, x, SIZE) for y, x, side in corners], SIZE
    )


def test_a_point_belongs_to_the_pixel_under_it() -> None:
    ring = np.ones((10, 10), bool)
    ring[3:7, 3:7] = False
    cells = Cells.from_rles([encode_crop(ring, 10, 20, SIZE)], SIZE)
    points = [[20, 10], [29.9, 19.9], [30, 15], [25, 15], [19.9, 15], [22.5, 12.5]]
    assert points_in_masks(points, cells)[:, 0].tolist() == [True, True, False, False, False, True]
    corner = squares((50, 90, 10))
    assert points_in_masks([[100, 60], [0, 0]], corner)[:, 0].tolist() == [True, False]
    assert points_in_masks(np.zeros((0, 2)), cells).shape == (0, 1)
    assert points_in_masks([[1, 1]], Cells.empty(SIZE)).shape == (1, 0)


def test_counts_by_hand() -> None:
    """Alone; two in one outline; one in two outlines; missed; one outline without a point."""
    cells = squares((0, 0, 10), (0, 20, 20), (0, 50, 10), (0, 55, 10), (40, 80, 10))
    points = [[5, 5], [22, 5], [35, 5], [57, 5], [5, 50]]
    counts = count_points(points, cells)
    assert (counts.points, counts.outlines, counts.covered) == (5, 5, 4)
    assert (counts.alone, counts.merged, counts.split) == (1, 2, 1)
    assert (counts.merging, counts.spurious) == (1, 1)
    values = point_scores([counts])
    assert values["recall"] == 0.8 and values["missed"] == pytest.approx(0.2)
    assert values["alone"] == 0.2 and values["merged"] == 0.4 and values["split"] == 0.2
    assert values["spurious"] == 0.2 and values["count_mae"] == 0


def test_every_point_is_alone_merged_only_split_or_missed() -> None:
    """The shares say where each point went: they add up where no point is merged and split."""
    rng = np.random.default_rng(0)
    cells = squares(*((y, x, 14) for y in (0, 20, 40) for x in (0, 20, 40, 60)))
    counts = count_points(rng.uniform(0, 60, (80, 2)), cells)
    assert counts.split == 0
    assert counts.alone + counts.merged + (counts.points - counts.covered) == counts.points


def test_points_are_pooled_and_partial_ones_say_nothing_of_the_rest() -> None:
    one = count_points([[5, 5]], squares((0, 0, 10), (30, 30, 10)))
    two = count_points([[5, 5], [50, 50], [90, 50]], squares((0, 0, 10)))
    whole = point_scores([one, two])
    assert whole["recall"] == 0.5 and whole["points"] == 4
    assert whole["count_mae"] == 1.5 and whole["count_bias"] == -0.5
    partial = point_scores([one, two], complete=False)
    assert not partial.keys() & {"spurious", "count_mae", "count_bias", "outlines"}
    assert partial["recall"] == 0.5


def test_no_points_have_no_shares() -> None:
    values = point_scores([count_points([], squares((0, 0, 10)))])
    shares = ("recall", "alone", "merged", "split", "missed", "spurious")
    assert {values[name] for name in shares} == {None} and values["count_bias"] == 1
    with pytest.raises(ValueError, match="images is empty"):
        point_scores([])
