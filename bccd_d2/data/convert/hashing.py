"""A hash of an image that copies of it share."""

from __future__ import annotations

import cv2
import numpy as np

HASH_SIDE = 16


def perceptual_hash(image: np.ndarray) -> np.ndarray:
    """(32,) uint8, 256 bits packed: which of the image's 16x16 lowest DCT frequencies are strong.

    Images that differ in compression, brightness or size have nearly the same bits; unrelated ones
    differ in about half of them. The frequencies are those of a grey 64x64 copy, compared with
    their median (Zauner 2010, section 3.2.1; ours keeps 256 in place of 64).
    """
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    step = max(1, min(grey.shape) // 256)
    near = tuple(max(1, n // step) for n in grey.shape[::-1])
    small = cv2.resize(grey, near, interpolation=cv2.INTER_AREA)
    small = cv2.resize(small, (64, 64), interpolation=cv2.INTER_AREA)
    strengths = cv2.dct(small.astype(np.float32))[:HASH_SIDE, :HASH_SIDE]
    return np.packbits((strengths > np.median(strengths)).ravel())
