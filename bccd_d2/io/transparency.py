"""What is transparent is no picture: it becomes white, as the background of a smear is.

Its own colours, which nobody sees, are mostly black: a model would find stain there.
"""

from __future__ import annotations

import numpy as np
import tifffile

Limits = tuple[float, float]  # least and largest alpha of an image
_ASSOCIATED, _UNASSOCIATED = 1, 2  # TIFF's kinds of extra samples
_ROWS = 256  # at a time, so that no second image of 32 bits is in memory


def limits_of(alpha: np.ndarray | None) -> Limits | None:
    """Least and largest value; None without an alpha."""
    return None if alpha is None or not alpha.size else (alpha.min(), alpha.max())


def alpha_of(raw: np.ndarray, page: tifffile.TiffPage) -> np.ndarray | None:
    """(H, W), how opaque a page's pixels are; None where it does not say so of a channel."""
    kinds = tuple(page.extrasamples or ())
    known = len(kinds) == 1 and kinds[0] in (_ASSOCIATED, _UNASSOCIATED)
    return raw[..., -1] if known and raw.shape[2] in (2, 4) else None


def multiplied(page: tifffile.TiffPage) -> bool:
    """Whether a page's colours are already multiplied with their alpha."""
    return _ASSOCIATED in (page.extrasamples or ())


def on_white(
    pixels: np.ndarray, alpha: np.ndarray | None, limits: Limits | None, associated: bool = False
) -> np.ndarray:
    """The pixels as seen on white, (H, W, C) uint8.

    Args:
        pixels: (H, W, C) uint8.
        alpha: (H, W), opaque where it is at its largest; None = nowhere transparent.
        limits: of the whole image's alpha; where both are one, alpha says nothing.
        associated: the colours are already multiplied with it.
    """
    if alpha is None or limits is None or limits[0] >= limits[1]:
        return pixels
    result = np.empty(pixels.shape, np.uint8)
    for first in range(0, len(pixels), _ROWS):
        rows = slice(first, first + _ROWS)
        share = alpha[rows, :, None].astype(np.float32) / np.float32(limits[1])
        seen = pixels[rows] if associated else share * pixels[rows]
        result[rows] = np.rint(np.minimum(seen + 255 * (1 - share), 255))
    return result
