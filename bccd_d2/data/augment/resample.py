"""Lost resolution: an image as a coarser sensor, or a smaller file, would have kept it."""

from __future__ import annotations

import cv2
import numpy as np


def resample(
    image: np.ndarray, rng: np.random.Generator, probability: float, coarsest: float = 3.0
) -> np.ndarray:
    """The image, with ``probability`` made 1.2 to ``coarsest`` times smaller and enlarged again.

    Small cells that a model enlarges to its own size look like this.

    Args:
        image: (H, W, 3) uint8.
        probability: 0 changes and draws nothing.
        coarsest: factor above 1.2.

    Returns:
        The same shape and dtype.
    """
    if probability == 0 or image.size == 0:
        return image
    chance, draw = rng.uniform(size=2)
    if chance >= probability:
        return image
    height, width = image.shape[:2]
    factor = float(np.exp(np.log(1.2) + draw * np.log(coarsest / 1.2)))
    small = (max(1, round(width / factor)), max(1, round(height / factor)))
    coarse = cv2.resize(image, small, interpolation=cv2.INTER_AREA)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
