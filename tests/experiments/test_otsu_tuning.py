"""The search leaves the grid where the best lies outside it, and stays where options may be."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("detectron2")

from bccd_d2.experiments import otsu_tuning
from bccd_d2.experiments.otsu_tuning import GRID, _descend
from bccd_d2.masks.cells import Cells
from bccd_d2.masks.otsu import OtsuOptions


def test_images_without_cells_give_nothing_to_tune_by(monkeypatch) -> None:
    empty = [Cells.from_label_map(np.zeros((9, 9), np.int32))] * 2
    monkeypatch.setattr(otsu_tuning, "_images", lambda config: ([{}, {}], empty))
    config = SimpleNamespace(DATASETS=SimpleNamespace(TRAIN=("bccd_train",)))
    with pytest.raises(ValueError, match="no image of .'bccd_train'. has a cell to tune by"):
        otsu_tuning.tune(config)


def test_descent_leaves_the_grid_and_refines() -> None:
    best = {"threshold_factor": 1.15, "seed_distance": 27.0, "seed_blur": 2.5, "blur": 0.0}
    calls = []

    def score(options: OtsuOptions) -> float:
        calls.append(options)
        far = sum(abs(getattr(options, k) / max(v, 1) - v / max(v, 1)) for k, v in best.items())
        return -far - abs(options.min_area - 900) / 900 + (options.channel == "blue")

    tried = _descend(OtsuOptions(), GRID, 3, score)
    found = max(tried, key=tried.__getitem__)
    assert found.channel == "blue" and found.blur == 0.0
    assert found.threshold_factor == pytest.approx(1.15, abs=0.02)
    assert found.seed_distance == pytest.approx(27, abs=1.5)
    assert found.seed_blur == pytest.approx(2.5, abs=0.5) and abs(found.min_area - 900) <= 50
    assert isinstance(found.min_area, int) and len(calls) == len(set(calls)) == len(tried) < 120
