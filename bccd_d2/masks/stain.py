"""Where an image is stained: what stands out from the colour of its background."""

from __future__ import annotations

import cv2
import numpy as np

LEAST_CONTRAST = 12.0  # grey levels between stain and background, below which there is no stain


def stain_map(image: np.ndarray, factor: float = 1.0) -> tuple[np.ndarray, float, np.ndarray]:
    """Where there is stain, by Otsu's threshold on the distance from the background's colour.

    Args:
        image: (H, W, 3) uint8.
        factor: by which the image is made smaller first, at most 1.

    Returns:
        (h, w) bool, all False where nothing stands out from the background; the mean distance of
        the stain from it in grey levels; the image at that size.
    """
    away, small = from_background(image, factor)
    level, _ = cv2.threshold(away.clip(0, 255).astype(np.uint8), 0, 255, cv2.THRESH_OTSU)
    stain = away > max(level, LEAST_CONTRAST)
    return stain, float(away[stain].mean()) if stain.any() else 0.0, small


def from_background(image: np.ndarray, factor: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """(h, w) distance of each pixel's colour from the background's in grey levels; the image.

    The background is the median of what Otsu's threshold calls light. Arguments as `stain_map`.
    """
    small = smaller(image, factor)
    grey = channel_mean(small.astype(np.float64))
    split, _ = cv2.threshold(grey.astype(np.uint8), 0, 255, cv2.THRESH_OTSU)
    light = small[grey > split] if (grey > split).any() else small.reshape(-1, 3)
    background = np.median(light, axis=0)
    return np.sqrt(channel_mean((small.astype(np.float32) - background) ** 2)), small


def smaller(image: np.ndarray, factor: float) -> np.ndarray:
    """The image made smaller by averaging, (h, w, 3); as it is where ``factor`` is not below 1."""
    size = tuple(max(1, round(n * factor)) for n in image.shape[1::-1])
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA) if factor < 1 else image


def channel_mean(image: np.ndarray) -> np.ndarray:
    """(H, W) mean of three channels, which numpy's own is slow at."""
    return (image[..., 0] + image[..., 1] + image[..., 2]) / 3
