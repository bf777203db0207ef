"""Uneven light: a smooth gain over the field of view, as lamps and condensers give it."""

from __future__ import annotations

import cv2
import numpy as np


def gain_field(size: tuple[int, int], rng: np.random.Generator, strength: float) -> np.ndarray:
    """(H, W) float32 smooth gains within [1 - strength, 1 + strength].

    A random plane plus a random paraboloid round a random place (vignetting), scaled so that the
    largest departure from 1 is drawn from [0, strength].

    Args:
        size: (height, width), at least 1 px each.
        strength: in (0, 1).
    """
    y, x = np.meshgrid(*(np.linspace(-1, 1, n, dtype=np.float32) for n in size), indexing="ij")
    slope_x, slope_y, bowl, middle_x, middle_y = rng.uniform(-1, 1, size=5)
    field = slope_x * x + slope_y * y + bowl * ((x - middle_x) ** 2 + (y - middle_y) ** 2)
    field -= field.mean()
    most = float(np.abs(field).max())
    depth = rng.uniform(0, strength)
    return (1 + field * (depth / most if most > 0 else 0)).astype(np.float32)


def uneven_light(image: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    """The image (H, W, 3) uint8 under uneven light; ``strength`` 0 changes and draws nothing."""
    if strength == 0 or image.size == 0:
        return image
    field = gain_field(image.shape[:2], rng, strength)
    return cv2.convertScaleAbs(cv2.multiply(image.astype(np.float32), cv2.merge([field] * 3)))
