"""Pixel errors as colours: what was found, missed and invented, whatever the cells are."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from bccd_d2.masks.cells import Cells
from bccd_d2.report.draw import Colour

TP, FP, FN, TN = "TP", "FP", "FN", "TN"
ERROR_COLOURS: Mapping[str, Colour] = {  # as `draw.VERDICT_COLOURS` has them
    TP: (0, 158, 115),
    FP: (0, 114, 178),
    FN: (213, 94, 0),
    TN: (40, 40, 40),
}


def error_map(
    truth: np.ndarray | Cells,
    prediction: np.ndarray | Cells,
    image: np.ndarray | None = None,
    *,
    alpha: float = 0.55,
) -> np.ndarray:
    """(H, W, 3) uint8 RGB: true and false positives green and blue, false negatives vermilion.

    Needs no instances: masks (H, W) bool do, of `Cells` it is their union.

    Args:
        image: (H, W, 3) uint8 to lay the colours over; true negatives then stay as they are.
            Without it they are dark grey.
        alpha: 0 leaves the image, 1 hides it.

    Raises:
        ValueError: sizes differ, or ``alpha`` is outside [0, 1].
    """
    masks = [m.union() if isinstance(m, Cells) else np.asarray(m) > 0 for m in (truth, prediction)]
    true, found = masks
    if true.ndim != 2 or true.shape != found.shape:
        raise ValueError(f"masks must be of one (H, W), got {true.shape} and {found.shape}")
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha must be in [0, 1], got {alpha}")
    kind = np.select([true & found, found, true], [0, 1, 2], default=3)
    colours = np.array([ERROR_COLOURS[k] for k in (TP, FP, FN, TN)], dtype=np.uint8)[kind]
    if image is None:
        return colours
    if image.shape != colours.shape or image.dtype != np.uint8:
        raise ValueError(f"image must be {colours.shape} uint8, got {image.shape} {image.dtype}")
    mixed = np.round((1 - alpha) * image + alpha * colours).astype(np.uint8)
    return np.where((kind == 3)[..., None], image, mixed)
