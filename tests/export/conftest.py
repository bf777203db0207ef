"""Cells that are hard to write down: holes, parts, diagonals, borders, overlaps, none."""

from __future__ import annotations

import numpy as np
import pytest

from bccd_d2.masks.cells import Cells
from bccd_d2.masks.rle import encode_crop

SIZE = (60, 80)


def disc(radius: float, hole: float = 0.0) -> np.ndarray:
    """(2r + 1, 2r + 1) bool: pixels whose centre is within ``radius`` and outside ``hole``."""
    reach = int(np.ceil(radius))
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    distance = np.hypot(y, x)
    return (distance <= radius) & (distance >= hole)


def hard_masks() -> list[tuple[np.ndarray, int, int]]:
    """Mask crops with their row and column in an image of SIZE; none overlap."""
    diagonal = np.eye(3, dtype=bool)
    pinched = np.array([[1, 1, 1, 0], [1, 0, 1, 0], [1, 1, 0, 1], [0, 1, 1, 1]], bool)
    plus = np.ones((5, 5), bool)
    plus[[1, 2, 2, 3], [2, 1, 3, 2]] = False
    parts = np.zeros((4, 12), bool)
    parts[:, :3] = parts[1:3, 8:] = True
    return [
        (disc(9, hole=4), 5, 5),
        (diagonal, 2, 40),
        (pinched, 30, 3),
        (plus, 30, 20),
        (parts, 40, 40),
        (np.ones((7, 5), bool), 53, 75),
        (np.ones((1, 1), bool), 0, 0),
    ]


@pytest.fixture
def hard_cells() -> Cells:
    """Seven cells without overlaps, the last two on the border."""
    rles = [encode_crop(crop, y0, x0, SIZE) for crop, y0, x0 in hard_masks()]
    return Cells.from_rles(rles, SIZE, np.linspace(0.95, 0.35, len(rles)))


@pytest.fixture
def overlapping_cells() -> Cells:
    """Two squares of 10 px that share 4x4 px, the first with the higher score."""
    square = np.ones((10, 10), bool)
    rles = [encode_crop(square, 10, 10, SIZE), encode_crop(square, 16, 16, SIZE)]
    return Cells.from_rles(rles, SIZE, [0.9, 0.4])


@pytest.fixture
def no_cells() -> Cells:
    """An image without cells."""
    return Cells.empty(SIZE)


@pytest.fixture
def image() -> np.ndarray:
    """(H, W, 3) uint8 RGB noise of SIZE."""
    return np.random.default_rng(3).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
