"""Masks in colour: which colour is the background, and how near a pixel is to which."""

from __future__ import annotations

import numpy as np

GREY = 12  # how far the channels of a grey pixel may lie apart, after JPEG


def over_black(colour: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 of RGB or RGBA; what is transparent becomes black.

    Black in all its pixels says nothing: then what is opaque becomes white.
    """
    if colour.shape[2] == 3:
        return colour
    alpha = colour[..., 3:].astype(np.uint16)
    if not colour[..., :3].any():
        return np.repeat(colour[..., 3:], 3, axis=2)
    return ((colour[..., :3] * alpha + 127) // 255).astype(np.uint8)


def is_grey(colour: np.ndarray) -> bool:
    """Whether (H, W, 3) uint8 has no colour, JPEG's errors apart."""
    return not colour.size or int((colour.max(axis=2) - colour.min(axis=2)).max()) <= GREY


def packed_colours(colour: np.ndarray) -> np.ndarray:
    """(H, W) int64, one number a colour; black is 0."""
    red, green, blue = (colour[..., k].astype(np.int64) for k in range(3))
    return (red << 16) | (green << 8) | blue


def background_colour(packed: np.ndarray) -> int:
    """Black where there is some, else the colour most frequent along the edges."""
    if (packed == 0).mean() >= 0.01:
        return 0
    edge = np.concatenate([packed[0], packed[-1], packed[:, 0], packed[:, -1]])
    values, counts = np.unique(edge, return_counts=True)
    return int(values[counts.argmax()])


def towards_brighter(colour: np.ndarray) -> np.ndarray:
    """(H, W) uint8: how far each pixel lies from the darker to the brighter of two main colours."""
    values, counts = np.unique(packed_colours(colour), return_counts=True)
    if len(values) == 1:
        return np.full(colour.shape[:2], 255 if values[0] else 0, np.uint8)
    colours = np.stack([values >> 16, (values >> 8) & 255, values & 255], axis=1).astype(float)
    first = colours[counts.argmax()]
    distance = np.linalg.norm(colours - first, axis=1)
    far = distance >= distance.max() / 2
    second = colours[far][counts[far].argmax()]
    dark, bright = sorted((first, second), key=lambda c: c @ (0.299, 0.587, 0.114))
    axis = bright - dark
    place = (colour - dark) @ axis / (axis @ axis)
    return np.rint(np.clip(place, 0, 1) * 255).astype(np.uint8)
