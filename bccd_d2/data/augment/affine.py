"""Mild affine maps of an image together with its label map."""

from __future__ import annotations

import cv2
import numpy as np

STRONGEST = 0.5  # beyond it cells no longer look like cells


def affine_matrix(rng: np.random.Generator, strength: float) -> np.ndarray:
    """(2, 2) random map of offsets (x, y) from the centre: shear and stretch, then a turn.

    Args:
        strength: bound of the angle in radians, of the shear, and of the logarithm of the stretch
            along each axis; .1 turns by at most 6 degrees and stretches by at most 10%.
    """
    angle, shear, *stretch = rng.uniform(-strength, strength, size=4)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    wide, high = np.exp(stretch)
    return turn @ np.array([[wide, shear], [0.0, high]])


def affine(
    image: np.ndarray,
    labels: np.ndarray,
    areas: np.ndarray,
    rng: np.random.Generator,
    strength: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Image, labels and whole-cell areas under one random affine map about the centre.

    What comes in from outside the crop has the crop's mean colour and no label: cells end there as
    they do at the edge of any crop.

    Args:
        image: (H, W, 3) uint8; labels: (H, W) uint16.
        areas: (L + 1,) area each label would have if nothing of it were cut off; it grows by the
            map's determinant.
        strength: see `affine_matrix`; 0 = unchanged and nothing drawn.

    Returns:
        The same shapes and dtypes; labels are those under the nearest pixel, none is invented.
    """
    if strength == 0 or image.size == 0:
        return image, labels, areas
    return apply_affine(image, labels, areas, affine_matrix(rng, strength))


def apply_affine(
    image: np.ndarray, labels: np.ndarray, areas: np.ndarray, matrix: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """As `affine`, by a given (2, 2) ``matrix`` of offsets (x, y) from the centre."""
    height, width = labels.shape
    back = np.linalg.inv(matrix)
    x = np.arange(width) - (width - 1) / 2
    y = (np.arange(height) - (height - 1) / 2)[:, None]
    columns = (back[0, 0] * x + back[0, 1] * y + (width - 1) / 2).astype(np.float32)
    rows = (back[1, 0] * x + back[1, 1] * y + (height - 1) / 2).astype(np.float32)
    outside = tuple(float(v) for v in image.mean(axis=(0, 1)))
    moved = cv2.remap(
        image, columns, rows, cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT, borderValue=outside,
    )  # fmt: skip
    row, column = np.round(rows).astype(np.int32), np.round(columns).astype(np.int32)
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    below = labels[row.clip(0, height - 1), column.clip(0, width - 1)]
    grown = areas * abs(np.linalg.det(matrix))
    return moved, np.where(inside, below, 0).astype(labels.dtype), grown
