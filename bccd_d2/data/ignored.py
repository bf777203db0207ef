"""Pixels that nobody labelled, and what annotators saw but left out.

In a label map they carry reserved values, so that they are cropped, warped and turned with it:

| value | outlines and flows | "counted" |
| --- | --- | --- |
| 0 | background | says nothing |
| 1 .. N | a cell | 1 |
| `LEFT_OUT` | count in no loss | 0: it looks like a cell, and these annotators did not count it |
| `IGNORED` | count in no loss | says nothing |
"""

from __future__ import annotations

import numpy as np

IGNORED = 65535  # the largest uint16: no image has that many cells
LEFT_OUT = 65534
UNKNOWN = -1.0  # in a map of what is counted


def split_ignored(label_map: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The label map with 0 for unlabelled pixels, and (H, W) bool of the pixels that count."""
    counts = label_map < LEFT_OUT
    return np.where(counts, label_map, 0).astype(label_map.dtype), counts


def largest_label(label_map: np.ndarray) -> int:
    """The largest label of a cell; 0 where there is none."""
    largest = int(label_map.max(initial=0))
    if largest < LEFT_OUT:
        return largest
    return int(label_map.max(initial=0, where=label_map < LEFT_OUT))


def counted(label_map: np.ndarray) -> np.ndarray:
    """(H, W) float32: 1 in cells, 0 in what annotators left out, `UNKNOWN` elsewhere."""
    target = np.full(label_map.shape, UNKNOWN, dtype=np.float32)
    target[(label_map > 0) & (label_map < LEFT_OUT)] = 1
    target[label_map == LEFT_OUT] = 0
    return target


def refuse_ignored(label_map: np.ndarray, file: str) -> None:
    """ValueError where pixels are unlabelled: a detector would learn them as background."""
    if (label_map >= LEFT_OUT).any():
        raise ValueError(
            f"{file} has unlabelled pixels, from which only META_ARCHITECTURE DenseSegmentor "
            "learns: label these images in full, or leave them out"
        )
