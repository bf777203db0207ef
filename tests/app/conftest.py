"""A model that is quick and known, and a smear for it."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from bccd_d2 import PredictedCells
from bccd_d2.synth.smear import draw_smear


class DarkParts:
    """Stands in for a trained model: dark connected parts, the first in the image the surest."""

    name, score_threshold = "stand-in <1>", 0.4

    def __init__(self) -> None:
        self.calls = 0

    def predict(self, image: np.ndarray, score_threshold: float | None = None) -> PredictedCells:
        self.calls += 1
        count, labels = cv2.connectedComponents((image[..., 1] < 150).astype(np.uint8))
        areas = np.bincount(labels.ravel(), minlength=count)
        numbers = np.zeros(count, np.int32)
        large = np.flatnonzero(areas > 200)[1:]
        numbers[large] = np.arange(1, len(large) + 1)
        cells = PredictedCells.from_label_map(numbers[labels])
        cells = PredictedCells.from_rles(
            cells.rles[::-1], cells.image_size, np.linspace(0.02, 0.98, len(cells))
        )
        return cells.above(self.score_threshold if score_threshold is None else score_threshold)


@pytest.fixture
def model() -> DarkParts:
    return DarkParts()


@pytest.fixture(scope="session")
def image() -> np.ndarray:
    return draw_smear(seed=4, size=(300, 400), n_cells=10).image
