"""Another sensor and white balance: a gain, a gamma and a black level for each channel."""

from __future__ import annotations

import cv2
import numpy as np


def tint_table(rng: np.random.Generator, strength: float) -> np.ndarray:
    """(256, 3) uint8 curves of the channels: gain * value ** gamma + black, all near the identity.

    Args:
        strength: bound of the logarithm of gains and gammas, in (0, 1]; .25 turns a grey background
            visibly green, pink or blue. The black level rises by at most a quarter of it.
    """
    draws = rng.uniform(-strength, strength, size=(2, 3))
    common = rng.uniform(-strength, strength)
    black = rng.uniform(0, strength / 4, size=3)
    ramp = np.linspace(0, 1, 256)[:, None]
    curve = black + (1 - black) * np.exp(draws[0]) * ramp ** np.exp(draws[1] / 2 + common)
    return (curve.clip(0, 1) * 255).round().astype(np.uint8)


def tint(image: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    """The image (H, W, 3) uint8 as another sensor sees it; 0 changes and draws nothing.

    Curves that clip more than half of the image's pixels at white are drawn darker instead: a
    blown-out image holds nothing to learn.
    """
    if strength == 0 or image.size == 0:
        return image
    table = tint_table(rng, strength)
    bright = [int(np.percentile(image[::4, ::4, channel], 50)) for channel in range(3)]
    top = max(int(table[value, channel]) for channel, value in enumerate(bright))
    if top > 250:
        table = (table * (250 / 255 * rng.uniform(0.8, 1.0))).astype(np.uint8)
    return cv2.LUT(image, table[None])
