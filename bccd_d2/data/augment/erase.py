"""Random erasing: rectangles of one colour over the image, as dirt or bubbles cover cells."""

from __future__ import annotations

import numpy as np

_MOST = 3  # rectangles
_SHARES = (0.002, 0.02)  # of the image's area, each
_HIDDEN = 0.5  # a cell of which more than this share is covered is not asked for


def erase(
    image: np.ndarray, labels: np.ndarray, rng: np.random.Generator, probability: float
) -> tuple[np.ndarray, np.ndarray]:
    """The image with one to three rectangles in its mean colour (Zhong et al., AAAI 2020).

    A cell that is covered in part keeps its whole outline: it is still there. One of which more
    than half of the visible pixels are covered is taken out of the labels.

    Args:
        image: (H, W, 3) uint8; labels: (H, W) uint16.
        probability: chance that anything is erased; 0 = unchanged and nothing drawn.

    Returns:
        The same shapes and dtypes; the inputs themselves where nothing changes.
    """
    if probability == 0 or image.size == 0 or rng.uniform() >= probability:
        return image, labels
    covered = np.zeros(labels.shape, dtype=bool)
    for _ in range(int(rng.integers(1, _MOST + 1))):
        area = rng.uniform(*_SHARES) * covered.size
        stretch = np.exp(rng.uniform(-np.log(2), np.log(2)) / 2)
        sides = np.sqrt(area) * np.array([stretch, 1 / stretch])
        height, width = np.clip(np.round(sides), 1, labels.shape).astype(int)
        y0, x0 = rng.integers(0, np.subtract(labels.shape, (height, width)) + 1)
        covered[y0 : y0 + height, x0 : x0 + width] = True
    erased = image.copy()
    erased[covered] = np.round(image.mean(axis=(0, 1)))
    whole = np.bincount(labels.ravel())
    lost = np.bincount(labels[covered], minlength=len(whole)) > _HIDDEN * whole
    lost[0] = False
    return erased, np.where(lost[labels], 0, labels).astype(labels.dtype)
