"""Thresholds come from the other folds; means and spreads by hand."""

from __future__ import annotations

import csv
import io

import numpy as np
import pytest

from bccd_d2.evaluation.folds import (
    score_cells,
    spread,
    spread_csv,
    spread_table,
    thresholds_from_others,
)
from bccd_d2.evaluation.instances import compare
from bccd_d2.masks.cells import Cells


def squares(count: int) -> np.ndarray:
    label_map = np.zeros((20, 20 * count), dtype=np.int32)
    for k in range(count):
        label_map[4:14, 20 * k + 4 : 20 * k + 14] = k + 1
    return label_map


def image(right: list[float], wrong: list[float]):
    """Cells found with the scores ``right``, and others where there is no cell."""
    everything = squares(len(right) + len(wrong))
    truth = np.where(everything <= len(right), everything, 0)
    return Cells.from_label_map(truth), Cells.from_label_map(everything, [*right, *wrong])


def test_a_fold_has_no_part_in_its_own_threshold() -> None:
    """Two folds part right from wrong at .3, the third at .8: it must get the others' .3."""
    low, high = image([0.4, 0.35], [0.25, 0.2]), image([0.9, 0.85], [0.75, 0.7])
    folds = [[compare(*low)], [compare(*low)], [compare(*high)]]
    thresholds = thresholds_from_others(folds)
    assert 0.25 < thresholds[2] <= 0.35
    with pytest.raises(ValueError, match="two folds"):
        thresholds_from_others(folds[:1])


def test_scores_of_stored_predictions() -> None:
    truth, found = image([0.9, 0.8], [0.3])
    scores = score_cells([truth], [found], score_threshold=0.5, max_detections=300)
    assert scores["instances"]["F1@.5"] == 1 and scores["pixels"]["Dice"] == 1
    assert scores["segm"]["AP"] == pytest.approx(1)
    loose = score_cells([truth], [found], score_threshold=0.1, max_detections=300)
    assert loose["instances"]["F1@.5"] == pytest.approx(0.8)


def test_mean_and_spread_by_hand() -> None:
    folds = [{"segm": {"AP": v, "AP_small": v}} for v in (0.5, 0.7, 0.9)]
    del folds[1]["segm"]["AP_small"]
    summary = spread(folds)
    assert summary == {"segm": {"AP": {"mean": pytest.approx(0.7), "std": pytest.approx(0.2),
                                       "values": [0.5, 0.7, 0.9]}}}  # fmt: skip
    assert "| segm/AP | 0.700 | 0.200 | 0.500 | 0.700 | 0.900 |" in spread_table(summary)
    rows = list(csv.reader(io.StringIO(spread_csv({"validation": summary}))))
    assert rows[0] == ["split", "group", "score", "mean", "std", "fold0", "fold1", "fold2"]
    assert rows[1][:3] == ["validation", "segm", "AP"] and float(rows[1][4]) == pytest.approx(0.2)
    with pytest.raises(ValueError, match="no fold"):
        spread([])
