"""Random amounts of stain: the colour change that slides really show."""

from __future__ import annotations

import cv2
import numpy as np

# Optical densities in R, G, B of haematoxylin, eosin and DAB (Ruifrok and Johnston, 2001).
HED = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11], [0.27, 0.57, 0.78]])
HED /= np.linalg.norm(HED, axis=1, keepdims=True)
_DENSITY = -np.log(np.arange(1, 257) / 256).astype(np.float32)


def stain_matrix(gains: np.ndarray, shifts: np.ndarray) -> np.ndarray:
    """(3, 4) float32 affine map of optical densities that makes each stain c into gain c + shift.

    Args:
        gains: (3,) of haematoxylin, eosin and the third; 1 = unchanged.
        shifts: (3,) optical density; 0 = unchanged.
    """
    linear = HED.T @ np.diag(gains) @ np.linalg.inv(HED.T)
    return np.hstack([linear, (HED.T @ shifts)[:, None]]).astype(np.float32)


def stain_jitter(image: np.ndarray, rng: np.random.Generator, sigma: float) -> np.ndarray:
    """The image with more or less of each of three stains (Tellez et al., IEEE TMI 37, 2018).

    Gains are drawn from [1 - sigma, 1 + sigma], shifts from a quarter of [-sigma, sigma], which
    differs from the paper: a shift also colours the bright background of a smear.

    Args:
        image: (H, W, 3) uint8 RGB.
        sigma: 0 = unchanged and nothing drawn; 0.05 mild, 0.2 strong.

    Returns:
        The same shape and dtype.
    """
    if sigma == 0 or image.size == 0:
        return image
    draws = rng.uniform(-sigma, sigma, size=(2, 3))
    density = cv2.LUT(image, _DENSITY)
    matrix = stain_matrix(1 + draws[0], draws[1] / 4)
    return cv2.convertScaleAbs(cv2.exp(cv2.transform(density, -matrix)), alpha=256, beta=-1)
