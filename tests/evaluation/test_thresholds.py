"""The sweep equals scoring at each threshold anew; the choice follows its rule."""

from __future__ import annotations

import json

import numpy as np
import pytest

from bccd_d2.evaluation.scores import dataset_scores, score_image
from bccd_d2.evaluation.thresholds import SweepTable, choose, sweep
from bccd_d2.masks.cells import Cells


def test_sweep_equals_scoring_anew(dense) -> None:
    truth, predictions = dense
    table = sweep(truth, predictions, [0.8, 0.2, 0.5])
    np.testing.assert_array_equal(table.thresholds, [0.2, 0.5, 0.8])
    for index, threshold in enumerate(table.thresholds):
        kept = [cells.above(threshold) for cells in predictions]
        images = [score_image(t, p, 0.0) for t, p in zip(truth, kept, strict=True)]
        values = dataset_scores(images)["instances"]
        assert table.f1[index] == pytest.approx(values["F1@.5"])
        assert table.pq[index] == pytest.approx(values["PQ"])
        assert table.precision[index] == pytest.approx(values["precision@.5"])
        assert table.recall[index] == pytest.approx(values["recall@.5"])
        assert table.count_mae[index] == pytest.approx(values["count_mae"])
        assert table.count_bias[index] == pytest.approx(values["count_bias"])


def test_the_threshold_between_right_and_wrong_cells_is_found(dense) -> None:
    truth = dense[0][:2]
    predictions = []
    for image, other in ((truth[0], truth[1]), (truth[1], truth[0])):
        rles = [*image.rles, *other.rles[:20]]
        scores = np.concatenate([np.linspace(0.45, 0.9, len(image)), np.full(20, 0.3)])
        predictions.append(Cells.from_rles(rles, image.image_size, scores))
    table = sweep(truth, predictions)
    threshold = choose(table)
    assert 0.3 < threshold <= 0.45
    assert table.f1[table.thresholds == threshold][0] > 0.99


def table_of(f1: list[float], count_mae: list[float]) -> SweepTable:
    columns = [np.array(f1) for _ in range(4)]
    steps = np.arange(1, len(f1) + 1) / 10
    return SweepTable(steps, *columns, np.array(count_mae), np.array(count_mae))


def test_choice_is_best_f1_then_least_count_error_then_the_middle() -> None:
    assert choose(table_of([0.8, 0.9, 0.85], [0, 5, 0])) == 0.2
    assert choose(table_of([0.899, 0.9, 0.897], [3, 5, 0])) == 0.1
    assert choose(table_of([0.9, 0.9, 0.9, 0.9, 0.1], [2, 1, 1, 1, 0])) == pytest.approx(0.3)
    assert choose(table_of([0.0, 0.0], [4, 1])) == 0.2


def test_a_sweep_goes_into_json(dense) -> None:
    table = sweep(dense[0][:1], dense[1][:1], [0.3, 0.6])
    content = json.loads(json.dumps(table.to_dict(), allow_nan=False))
    assert content["thresholds"] == [0.3, 0.6] and content["chosen"] == choose(table)
    assert len(content["f1"]) == len(content["count_mae"]) == 2


def test_nothing_to_sweep_is_refused(dense) -> None:
    with pytest.raises(ValueError, match="needs images and thresholds"):
        sweep([], [])
    with pytest.raises(ValueError, match="needs images and thresholds"):
        sweep(dense[0][:1], dense[1][:1], [])
    with pytest.raises(ValueError, match="one per image"):
        sweep(dense[0][:2], dense[1][:1])
