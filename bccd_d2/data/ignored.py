"""Pixels that nobody labelled: neither cell nor background, they count in no loss.

In a label map they carry one reserved value, so that they are cropped, warped and turned with it.
"""

from __future__ import annotations

import numpy as np

IGNORED = 65535  # the largest uint16: no image has that many cells


def split_ignored(label_map: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The label map with 0 for unlabelled pixels, and (H, W) bool of the pixels that count."""
    counts = label_map != IGNORED
    return np.where(counts, label_map, 0).astype(label_map.dtype), counts


def largest_label(label_map: np.ndarray) -> int:
    """The largest label of a cell; 0 where there is none."""
    largest = int(label_map.max(initial=0))
    if largest < IGNORED:
        return largest
    return int(label_map.max(initial=0, where=label_map != IGNORED))


def refuse_ignored(label_map: np.ndarray, file: str) -> None:
    """ValueError where pixels are unlabelled: a detector would learn them as background."""
    if (label_map == IGNORED).any():
        raise ValueError(
            f"{file} has unlabelled pixels, from which only META_ARCHITECTURE DenseSegmentor "
            "learns: label these images in full, or leave them out"
        )
