"""Intervals of counts: against closed forms, at their ends, and by simulation."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from bccd_d2.evaluation.counting import (
    Channel,
    Estimate,
    Share,
    in_counting_frame,
    mean_per_field,
    odds_of,
    product,
    share_of,
)

REPO = Path(__file__).resolve().parents[2]
PERFECT = Channel(Share(10**9, 10**9, 1, 100), Share(0, 10**9, 1, 100))


def benchmark():
    spec = importlib.util.spec_from_file_location("counts", REPO / "benchmarks" / "counts.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_frame_counts_two_sides_and_not_the_others():
    inside, left, top = [4, 4, 6, 6], [0, 4, 3, 6], [4, 0, 6, 3]
    right, bottom, corner = [7, 4, 10, 6], [4, 6, 6, 8], [0, 6, 3, 8]  # left counts, bottom not
    boxes = np.array([inside, left, top, right, bottom, corner])
    assert in_counting_frame(boxes, (8, 10)).tolist() == [True, True, True, False, False, False]
    assert in_counting_frame(np.zeros((0, 4)), (8, 10)).tolist() == []


def test_fields_side_by_side_count_every_cell_once():
    rng = np.random.default_rng(0)
    corners = rng.integers(0, 1000, (3000, 2))
    whole, side, counted = np.concatenate([corners, corners + 9], axis=1), 200, 0
    for x in range(0, 1200, side):
        for y in range(0, 1200, side):
            x0, y0, x1, y1 = whole.T
            seen = (x0 < x + side) & (x1 > x) & (y0 < y + side) & (y1 > y)
            cut = np.clip(whole[seen] - [x, y, x, y], 0, side)
            counted += in_counting_frame(cut, (side, side)).sum()
    # What ends on the very last pixel, or lies on a corner of four fields, may be lost.
    assert 0.985 * 3000 <= counted <= 3000


def test_cells_a_field_without_errors_are_students_interval_on_the_logarithm():
    counts = np.array([60, 70, 80, 90, 100])
    found = mean_per_field(counts, np.array([50, 60, 70]), np.array([50, 60, 70]))
    width = stats.t.ppf(0.975, 4) * counts.std(ddof=1) / np.sqrt(5) / 80
    assert found.value == 80 and found.note == ""
    assert found.low == pytest.approx(80 * np.exp(-width))
    assert found.high == pytest.approx(80 * np.exp(width))


def test_a_model_that_finds_a_tenth_too_many_is_corrected_and_its_doubt_added():
    counts = np.array([66, 77, 88, 99, 110])
    sure = mean_per_field(counts, np.array([55, 66, 77]), np.array([50, 60, 70]))
    unsure = mean_per_field(counts, np.array([50, 66, 82]), np.array([50, 60, 70]))
    assert sure.value == pytest.approx(80) and unsure.value == pytest.approx(80)
    assert unsure.high - unsure.low > sure.high - sure.low


def test_what_has_no_interval_says_so():
    assert mean_per_field(np.array([50])).low is None
    assert "give more" in mean_per_field(np.array([50])).note
    assert mean_per_field(np.array([0, 0])).value == 0
    assert mean_per_field(np.array([])).value is None
    assert "not measured" in mean_per_field(np.array([50, 60])).note
    assert share_of(np.array([0]), np.array([0])).value is None
    blind = Channel(Share(50, 100, 1, 10), Share(45, 100, 1, 10))
    assert "cannot tell" in share_of(np.array([5]), np.array([95]), blind).note


def test_a_share_without_errors_is_wilsons_interval():
    found = share_of(np.array([10]), np.array([90]), PERFECT)
    t = stats.t.ppf(0.975, 6)
    centre, width = 0.1 + t**2 / 200, t * np.sqrt(0.1 * 0.9 / 100 + t**2 / 40000)
    scale = 1 + t**2 / 100
    assert found.value == pytest.approx(0.1, abs=1e-6)
    assert found.low == pytest.approx((centre - width) / scale, abs=5e-4)
    assert found.high == pytest.approx((centre + width) / scale, abs=5e-4)


def test_a_share_is_corrected_as_rogan_and_gladen_do():
    channel = Channel(Share(80, 100, 1, 10), Share(20, 2000, 1, 10))
    found = share_of(np.array([30, 20]), np.array([470, 480]), channel)
    assert found.value == pytest.approx((0.05 - 0.01) / (0.8 - 0.01), abs=1e-3)
    raw = share_of(np.array([30, 20]), np.array([470, 480]))
    assert raw.value == pytest.approx(0.05, abs=1e-4) and "not measured" in raw.note
    assert found.high - found.low > raw.high - raw.low


def test_no_cell_of_a_kind_has_an_upper_end_and_fewer_than_the_alarms_is_none():
    none = share_of(np.array([0, 0]), np.array([250, 250]), PERFECT)
    assert none.value == 0 and none.low == 0 and 0.003 < none.high < 0.02
    alarms = Channel(Share(80, 100, 1, 10), Share(200, 10000, 1, 10))
    assert share_of(np.array([2]), np.array([998]), alarms).value == 0


def test_fields_that_differ_widen_the_interval():
    same = Share.of(np.full(10, 5), np.full(10, 95))
    apart = Share.of(np.array([0, 10] * 5), np.array([100, 90] * 5))
    assert same.design < 1 < apart.design and same.rate == apart.rate == 0.05


def test_third_kinds_are_taken_off():
    channel = Channel(
        Share(10**6, 10**6, 1, 50), Share(0, 10**6, 1, 50), strangers=(0.05, 0.0)
    )
    found = share_of(np.array([15]), np.array([90]), channel)  # 5 of 105 are of a third kind
    assert found.value == pytest.approx(0.1, abs=1e-3)


def test_products_and_odds():
    one, two = Estimate(2.0, 1.0, 4.0), Estimate(10.0, 5.0, 20.0)
    both = product(one, two)
    width = np.exp(np.hypot(np.log(2), np.log(2)))
    assert (both.value, both.low, both.high) == pytest.approx((20, 20 / width, 20 * width))
    assert product(Estimate(0.0, 0.0, 1.0), two) == Estimate(0.0, 0.0, 20.0)
    assert product(Estimate(None, note="why"), two).note == "why"
    assert odds_of(Estimate(0.2, 0.0, 0.5)) == Estimate(0.25, 0.0, 1.0)
    assert odds_of(Estimate(1.0, 0.5, 1.0)).value is None


def test_the_interval_holds_a_true_share_nineteen_times_in_twenty():
    rng = np.random.default_rng(3)
    found = benchmark().share_coverage(rng, 10, 0.03, (0.85, 0.003), 0.005, 300)
    assert 0.91 <= found <= 0.985


@pytest.mark.slow
def test_coverage_of_whole_slides_of_types():
    found = benchmark().slides(np.random.default_rng(0), 300)
    values = [value for row in found.values() for value in row.values()]
    assert 0.935 <= np.mean(values) <= 0.975 and min(values) > 0.9


@pytest.mark.slow
def test_coverage_of_simulated_slides_is_93_to_97_percent():
    found = benchmark().shares(np.random.default_rng(0), 1000)
    assert 0.94 <= np.mean(found) <= 0.965
    assert np.mean([0.93 - 0.01 <= one <= 0.97 + 0.01 for one in found]) > 0.9
