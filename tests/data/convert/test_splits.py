"""Splits and folds: shares, strata, determinism."""

from __future__ import annotations

import numpy as np
import pytest

from bccd_d2.data.convert.splits import choose_folds, choose_fraction, strata

RNG = np.random.default_rng(3)
SIZES = [(1200, 1600)] * 180 + [(1383, 1944)] * 20
COUNTS = RNG.integers(10, 190, 200).tolist()


def test_strata_hold_one_size_and_neighbouring_counts() -> None:
    groups = strata(SIZES, COUNTS)
    assert len(np.unique(groups)) == 10
    for group in np.unique(groups):
        assert len({SIZES[i] for i in np.flatnonzero(groups == group)}) == 1
    ranges = [np.array(COUNTS)[groups == g] for g in range(5)]
    for low, high in zip(ranges, ranges[1:], strict=False):
        assert low.max() <= high.min()


def test_strata_of_few_images() -> None:
    assert strata([(10, 10)], [5]).tolist() == [0]
    assert strata([], []).shape == (0,)


@pytest.mark.parametrize("fraction", [0.1, 0.2, 0.3, 0.5])
def test_fraction_holds_in_total_and_in_every_stratum(fraction: float) -> None:
    groups = strata(SIZES, COUNTS)
    chosen = choose_fraction(groups, fraction, seed=42)
    assert chosen.sum() == round(200 * fraction)
    for group in np.unique(groups):
        members = groups == group
        assert abs(chosen[members].sum() - fraction * members.sum()) <= 1


def test_means_of_cell_counts_agree_better_than_by_chance() -> None:
    chosen = choose_fraction(strata(SIZES, COUNTS), 0.3, seed=0)
    counts = np.array(COUNTS)
    assert abs(counts[chosen].mean() - counts[~chosen].mean()) < 8


def test_seed_decides() -> None:
    groups = strata(SIZES, COUNTS)
    first, again = (choose_fraction(groups, 0.3, seed=42) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert (first != choose_fraction(groups, 0.3, seed=43)).any()
    np.testing.assert_array_equal(choose_folds(groups, 5, 1), choose_folds(groups, 5, 1))
    assert (choose_folds(groups, 5, 1) != choose_folds(groups, 5, 2)).any()


@pytest.mark.parametrize(("total", "fraction", "wanted"), [(1, 0.3, 0), (2, 0.1, 1), (2, 0.9, 1)])
def test_few_images_keep_one_on_both_sides(total: int, fraction: float, wanted: int) -> None:
    assert choose_fraction(np.zeros(total, int), fraction, 0).sum() == wanted


def test_fraction_zero_chooses_nothing() -> None:
    assert not choose_fraction(np.zeros(10, int), 0.0, 0).any()


def test_fraction_out_of_range() -> None:
    with pytest.raises(ValueError, match="fraction must lie in"):
        choose_fraction(np.zeros(10, int), 1.0, 0)


def test_folds_are_even_in_total_and_by_stratum() -> None:
    groups = strata(SIZES, COUNTS)
    folds = choose_folds(groups, 5, seed=42)
    assert np.bincount(folds).tolist() == [40] * 5
    for group in np.unique(groups):
        shares = np.bincount(folds[groups == group], minlength=5)
        assert shares.max() - shares.min() <= 2
    uneven = np.bincount(choose_folds(groups[:13], 5, seed=1), minlength=5)
    assert sorted(uneven.tolist()) == [2, 2, 3, 3, 3]


@pytest.mark.parametrize("folds", [1, 11])
def test_folds_out_of_range(folds: int) -> None:
    with pytest.raises(ValueError, match="folds must lie in"):
        choose_folds(np.zeros(10, int), folds, 0)
