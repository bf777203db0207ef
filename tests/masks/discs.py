"""A disc of pixels, which several tests find, cut and encode."""

from __future__ import annotations

import numpy as np


def disc(shape: tuple[int, int], y: float, x: float, radius: float) -> np.ndarray:
    """(H, W) bool."""
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    return (rows - y) ** 2 + (columns - x) ** 2 <= radius**2
