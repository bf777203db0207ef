"""Elastic deformation of an image together with its label map."""

from __future__ import annotations

import cv2
import numpy as np

SPACING = 48  # px between the drawn displacements: about a cell at half resolution
MOST = 12.0  # px; with larger displacements the field could fold


def displacement(size: tuple[int, int], rng: np.random.Generator, most: float) -> np.ndarray:
    """(H, W, 2) float32 smooth random displacements (x, y) in px, zero on the border.

    Drawn on a grid of 48 px, each component from [-most, most], interpolated by cubics; within
    3 * most px of the border they fade out, so that nothing from outside is ever needed.

    Args:
        size: (height, width).
        most: px, in (0, 12].
    """
    height, width = size
    nodes = (-(-height // SPACING) + 1, -(-width // SPACING) + 1)
    coarse = rng.uniform(-most, most, size=(*nodes, 2)).astype(np.float32)
    field = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    np.clip(field, -most, most, out=field)
    rows, columns = (np.minimum(np.arange(n), np.arange(n)[::-1]) for n in size)
    fade = np.minimum(np.minimum(rows[:, None], columns[None]) / np.float32(3 * most), 1)
    return field * fade[..., None].astype(np.float32)


def elastic(
    image: np.ndarray, labels: np.ndarray, rng: np.random.Generator, most: float
) -> tuple[np.ndarray, np.ndarray]:
    """Image and labels under one random field: cells bend, and each keeps its outline.

    Args:
        image: (H, W, 3) uint8.
        labels: (H, W) uint16.
        most: largest displacement along an axis, px; 0 = unchanged and nothing drawn.

    Returns:
        The same shapes and dtypes; labels are those under the nearest pixel, none is invented.
    """
    if most == 0 or image.size == 0:
        return image, labels
    field = displacement(labels.shape, rng, most)
    columns = field[..., 0] + np.arange(labels.shape[1], dtype=np.float32)
    rows = field[..., 1] + np.arange(labels.shape[0], dtype=np.float32)[:, None]
    bent = cv2.remap(image, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    below = np.round(rows).astype(np.int32), np.round(columns).astype(np.int32)
    return bent, labels[below]
