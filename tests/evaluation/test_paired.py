"""Paired differences: signs by hand, intervals against the normal approximation."""

from __future__ import annotations

import numpy as np
import pytest

from bccd_d2.evaluation.entries import SCORES, Entry, pick_scores, read_per_image
from bccd_d2.evaluation.paired import bootstrap_interval, paired_differences


def entry(name, dice, count):
    rows = {
        f"{i}.png": {"F1": 0.5, "PQ": 0.4, "Dice": d, "count error": c}
        for i, (d, c) in enumerate(zip(dice, count, strict=True))
    }
    return Entry(name, dict.fromkeys(SCORES, 0.5), rows)


def test_gains_by_hand():
    base, other = entry("a", [0.8, 0.9], [4, 6]), entry("b", [0.9, 0.9], [1, 7])
    gains = {d.score: d for d in paired_differences([base, other])}
    assert gains["Dice"].gain == pytest.approx(0.05) and gains["Dice"].better == 1
    assert gains["count error"].gain == pytest.approx(1.0)  # 3 fewer, 1 more
    assert (gains["count error"].low, gains["count error"].high) == pytest.approx((-1, 3))
    assert gains["F1"].gain == gains["F1"].low == gains["F1"].high == 0
    back = {d.score: d for d in paired_differences([base, other], "b")}
    assert back["Dice"].gain == pytest.approx(-0.05) and back["Dice"].name == "a"
    assert paired_differences([base, other]) == paired_differences([base, other])


def test_the_interval_of_a_large_sample_is_that_of_the_normal_distribution():
    values = np.random.default_rng(1).normal(0.3, 2.0, 400)
    half = 1.96 * values.std() / 20
    low, high = bootstrap_interval(values)
    assert low == pytest.approx(values.mean() - half, abs=0.02)
    assert high == pytest.approx(values.mean() + half, abs=0.02)
    assert bootstrap_interval([2.0]) == (2.0, 2.0)


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="values"):
        bootstrap_interval([])
    with pytest.raises(ValueError, match="reference 'z'"):
        paired_differences([entry("a", [0.8], [4])], "z")
    with pytest.raises(ValueError, match="same images"):
        paired_differences([entry("a", [0.8], [4]), entry("b", [0.8, 0.9], [4, 4])])


def test_columns_are_picked_from_what_the_evaluator_writes(tmp_path):
    groups = {
        "segm": {"AP": 0.1, "AP50": 0.2, "AP75": 0.3},
        "instances": {"PQ": 0.4, "F1@.5": 0.5, "count_mae": 6},
        "pixels": {"Dice": 0.7, "IoU": 0.8},
    }
    assert list(pick_scores(groups).values()) == [0.1, 0.2, 0.3, 0.4, 0.5, 6.0, 0.7, 0.8]
    table = tmp_path / "per_image.csv"
    table.write_text("file_name,F1@.5,PQ,pixel_Dice,count_error\na.png,.5,.4,.9,-3\n")
    wanted = {"F1": 0.5, "PQ": 0.4, "Dice": 0.9, "count error": 3.0}
    assert read_per_image(table) == {"a.png": wanted}
