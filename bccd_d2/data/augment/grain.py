"""A sensor's grain: noise that differs between the channels and grows with the light."""

from __future__ import annotations

import cv2
import numpy as np


def grain(image: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    """The image under noise of a standard deviation of at most ``strength`` grey levels at white.

    Half of the images stay as they are. Shot noise: the deviation goes with the root of the value.

    Args:
        image: (H, W, 3) uint8.
        strength: grey levels, 0 changes and draws nothing.

    Returns:
        The same shape and dtype.
    """
    if strength == 0 or image.size == 0:
        return image
    chance, draw = rng.uniform(size=2)
    if chance >= 0.5:
        return image
    noise = rng.standard_normal(image.shape, dtype=np.float32) * np.float32(draw * strength)
    noisy = image + noise * np.sqrt(image.astype(np.float32) / 255)
    return cv2.convertScaleAbs(np.clip(noisy, 0, 255))
