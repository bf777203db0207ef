"""Reliability by hand."""

from __future__ import annotations

import numpy as np
import pytest

from bccd_d2.evaluation.calibration import greedy_hits, reliability
from bccd_d2.evaluation.instances import compare
from bccd_d2.masks.cells import Cells

from .conftest import disc_cells

SIZE = (60, 120)


def test_shares_and_error_by_hand():
    truth = disc_cells([(20, 20, 10), (20, 60, 10)], SIZE)
    found = disc_cells(
        [(20, 20, 10), (20, 60, 10), (20, 100, 10), (45, 45, 8)], SIZE, [0.95, 0.85, 0.85, 0.25]
    )
    table = reliability([compare(truth, found)])
    assert table.counts.tolist() == [0, 0, 1, 0, 0, 0, 0, 0, 2, 1]
    assert table.matched[[2, 8, 9]].tolist() == [0, 0.5, 1]
    assert table.confidence[[2, 8, 9]] == pytest.approx([0.25, 0.85, 0.95])
    assert table.error == pytest.approx((0.25 + 2 * 0.35 + 0.05) / 4)


def test_of_two_predictions_for_one_cell_the_better_scored_is_right():
    truth = disc_cells([(20, 20, 10)], SIZE)
    double = compare(truth, disc_cells([(20, 20, 12), (20, 21, 10)], SIZE, [0.9, 0.8]))
    assert greedy_hits(double).tolist() == [True, False]


def test_edges_of_bins_and_no_cells():
    truth = disc_cells([(20, 20, 10)], SIZE)
    table = reliability([compare(truth, disc_cells([(20, 20, 10)], SIZE, [1.0]))], bins=4)
    assert table.counts.tolist() == [0, 0, 0, 1] and table.error == 0
    nothing = reliability([compare(Cells.empty(SIZE), Cells.empty(SIZE))])
    assert nothing.error == 0 and nothing.counts.sum() == 0
    assert np.isfinite(nothing.matched).all() and reliability([]).error == 0
    with pytest.raises(ValueError, match="bins"):
        reliability([], bins=0)
