"""AP from ranked cells against the COCO evaluator; intervals on data whose spread is known."""

from __future__ import annotations

import numpy as np
import pytest

from bccd_d2.evaluation.coco import coco_scores
from bccd_d2.evaluation.intervals import average_precision, rank_cells, score_intervals
from bccd_d2.evaluation.scores import ImageScores, dataset_scores, score_image
from bccd_d2.masks.cells import Cells

from .conftest import disc_cells

SIZE = (60, 60)


@pytest.mark.parametrize("cap", [300, 100])
def test_ap_of_ranked_cells_is_cocos(dense, cap):
    truth, predictions = dense
    ours = average_precision(rank_cells(truth, predictions, cap))
    theirs = coco_scores(truth, predictions, task="segm", max_detections=cap)
    assert ours.mean() == pytest.approx(theirs.values["AP"], abs=1e-9)
    assert ours == pytest.approx(theirs.precision.mean(axis=1), abs=1e-9)


def test_a_weight_of_two_is_the_image_twice(dense):
    truth, predictions = dense
    rng = np.random.default_rng(0)  # Without ties of scores, whose order COCO leaves to chance.
    predictions = [Cells.from_rles(p.rles, p.image_size, rng.random(len(p))) for p in predictions]
    weights = np.array([2, 0, 1, 1, 0, 1])
    chosen = np.repeat(np.arange(6), weights)
    twice = coco_scores(
        [truth[i] for i in chosen], [predictions[i] for i in chosen],
        task="segm", max_detections=300,
    )  # fmt: skip
    ours = average_precision(rank_cells(truth, predictions, 300), weights)
    assert ours == pytest.approx(twice.precision.mean(axis=1), abs=1e-9)


def test_ap_without_cells():
    none, some = Cells.empty(SIZE), disc_cells([(20, 20, 8)], SIZE)
    for true, found, expected in [(none, none, np.nan), (none, some, np.nan), (some, none, 0)]:
        values = average_precision(rank_cells([true], [found], 10))
        np.testing.assert_array_equal(values, [expected] * 10)


def test_draws_without_cells_do_not_count():
    """Two images, one without cells: a quarter of the draws has no score to give."""
    none, some = Cells.empty(SIZE), disc_cells([(20, 20, 8)], SIZE)
    pairs = [(none, none), (some, some)]
    scored = [score_image(*pair, 0.5) for pair in pairs]
    ranked = rank_cells(*zip(*pairs, strict=True), 10)
    bounds = score_intervals(scored, ranked, draws=50)
    assert bounds["segm"]["AP"] == bounds["instances"]["PQ"] == bounds["pixels"]["Dice"] == (1, 1)
    nothing = score_intervals(scored[:1], rank_cells([none], [none], 10), draws=5)
    assert nothing["segm"] == nothing["pixels"] == {}
    assert nothing["instances"].keys() == {"count_mae", "count_bias", "count_relative_error"}


def images(found: list[bool]) -> tuple[list[ImageScores], list[Cells]]:
    """One true cell an image, found exactly or not at all."""
    truth = disc_cells([(30, 30, 10)], SIZE)
    predictions = [truth if hit else Cells.empty(SIZE) for hit in found]
    return [score_image(truth, p, 0.5) for p in predictions], predictions


def test_the_interval_of_recall_is_that_of_a_share():
    scores, _ = images([True] * 70 + [False] * 30)
    low, high = score_intervals(scores, draws=4000)["instances"]["recall@.5"]
    half = 1.96 * np.sqrt(0.7 * 0.3 / 100)
    assert low == pytest.approx(0.7 - half, abs=0.015)
    assert high == pytest.approx(0.7 + half, abs=0.015)


def test_intervals_hold_the_scores_and_are_reproducible():
    scores, predictions = images([True, True, False, True, False, True])
    truth = [disc_cells([(30, 30, 10)], SIZE)] * 6
    found = score_intervals(scores, rank_cells(truth, predictions, 10))
    assert found == score_intervals(scores, rank_cells(truth, predictions, 10))
    point = dataset_scores(scores)
    assert set(found) == {"segm", "instances", "interior", "pixels"}
    for group in point:
        for name, (low, high) in found[group].items():
            assert low <= point[group][name] <= high
    assert found["instances"]["count_bias"][1] <= 0


def test_one_image_has_no_width_and_none_is_refused():
    scores, predictions = images([True])
    found = score_intervals(scores, rank_cells(predictions, predictions, 10))
    assert found["segm"]["AP"] == found["pixels"]["Dice"] == (1.0, 1.0)
    with pytest.raises(ValueError, match="needs images"):
        score_intervals([])
