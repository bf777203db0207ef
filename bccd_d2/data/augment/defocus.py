"""Out of focus: a disc instead of a point, which a Gaussian blur is not."""

from __future__ import annotations

import cv2
import numpy as np


def disc_kernel(radius: float) -> np.ndarray:
    """(2 n + 1, 2 n + 1) float32 disc of ``radius`` px with soft edges, of sum 1."""
    reach = int(np.ceil(radius))
    span = np.arange(-reach, reach + 1)
    distance = np.hypot(span[:, None], span)
    kernel = np.clip(radius + 0.5 - distance, 0, 1).astype(np.float32)
    return kernel / kernel.sum()


def defocus(
    image: np.ndarray, rng: np.random.Generator, probability: float, largest: float = 4.0
) -> np.ndarray:
    """The image, with ``probability`` out of focus by a disc of .8 to ``largest`` px radius.

    Args:
        image: (H, W, 3) uint8.
        probability: 0 changes and draws nothing.
        largest: px of the crop, above .8.
    """
    if probability == 0 or image.size == 0:
        return image
    chance, draw = rng.uniform(size=2)
    if chance >= probability:
        return image
    kernel = disc_kernel(0.8 + draw * (largest - 0.8))
    return cv2.filter2D(image, -1, kernel, borderType=cv2.BORDER_REFLECT_101)
