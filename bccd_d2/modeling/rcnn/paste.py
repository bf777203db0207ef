"""Turning box-sized mask predictions into full-image RLEs without full-image bitmaps."""

from __future__ import annotations

import numpy as np

from bccd_d2.masks.rle import Rle, encode_crop


def paste_masks(
    masks: np.ndarray, boxes: np.ndarray, image_size: tuple[int, int], threshold: float = 0.5
) -> list[Rle]:
    """RLE of each predicted mask, resampled bilinearly into its box and thresholded.

    The same pixels as detectron2's ``paste_masks_in_image``: a mask cell is sampled at pixel
    centres and counts as zero outside the box, so that no pixel centre outside the box is set.

    Args:
        masks: (N, M, M) float probabilities in [0, 1].
        boxes: (N, 4) float x0 y0 x1 y1 in pixels of the output image.
        image_size: output height and width.

    Returns:
        N RLEs; an RLE may be empty.
    """
    height, width = image_size
    rles = []
    for mask, (x0, y0, x1, y1) in zip(masks, np.asarray(boxes, np.float64), strict=True):
        top, bottom = pixel_range(y0, y1, height)
        left, right = pixel_range(x0, x1, width)
        rows = interpolation(top, bottom, y0, y1, mask.shape[0])
        columns = interpolation(left, right, x0, x1, mask.shape[1])
        crop = rows @ mask.astype(np.float32) @ columns.T
        rles.append(encode_crop(crop >= threshold, top, left, (height, width)))
    return rles


def pixel_range(start: float, stop: float, limit: int) -> tuple[int, int]:
    """The half-open range of pixels whose centres lie within [start, stop] and the image."""
    first = min(max(int(np.ceil(start - 0.5)), 0), limit)
    last = min(max(int(np.floor(stop - 0.5)) + 1, first), limit)
    return first, last


def interpolation(first: int, last: int, start: float, stop: float, bins: int) -> np.ndarray:
    """(pixels, bins) float32 weights of linear interpolation between a mask's bins."""
    centres = np.arange(first, last) + 0.5
    position = (centres - start) / max(stop - start, 1e-6) * bins - 0.5
    distance = np.abs(position[:, None] - np.arange(bins))
    return np.clip(1.0 - distance, 0.0, None).astype(np.float32)
