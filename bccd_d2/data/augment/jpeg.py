"""JPEG's blocks and lost colour, as most published smears carry them."""

from __future__ import annotations

import cv2
import numpy as np


def recompress(
    image: np.ndarray, rng: np.random.Generator, probability: float, worst: int = 30
) -> np.ndarray:
    """The image, with ``probability`` through JPEG at a quality from ``worst`` to 95.

    Args:
        image: (H, W, 3) uint8 RGB.
        probability: 0 changes and draws nothing.
        worst: lowest quality, 1 to 95.

    Returns:
        The same shape and dtype.
    """
    if probability == 0 or image.size == 0:
        return image
    chance, draw = rng.uniform(size=2)
    if chance >= probability:
        return image
    quality = int(round(worst + draw * (95 - worst)))
    _, packed = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded = cv2.imdecode(packed, cv2.IMREAD_COLOR)
    assert decoded is not None  # it was encoded a line before
    return np.ascontiguousarray(decoded[..., ::-1])
