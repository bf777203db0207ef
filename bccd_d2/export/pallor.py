"""Central pallor: how large the pale centre of a red cell is, and how pale.

A red cell is a disc that is thinner in its middle. Flattened on a slide the pale centre is normally
about a third as wide as the cell; a hypochromic cell, short of haemoglobin, has a larger and paler
one (Palmer et al., Int. J. Lab. Hematol. 37, 2015; Bain, "Blood Cells", 2015). Both are judged by
eye; this is what is measured instead:

Density is the optical density of green, which eosin and haemoglobin absorb: the logarithm of the
background's light over a pixel's. The cell is cut into ten shells by the distance from its outline,
so that a long cell has long shells. The rim is the densest shell but the outermost, which the
outline's own error dilutes; the centre is the two innermost.

* contrast: one less the centre's density over the rim's, in [0, 1]; 0 for a spherocyte, 1 for a
  centre as light as the background.
* area: of the cell, the share inside of where the density has fallen half-way from rim to centre;
  0 below a contrast of .1, where there is no pale centre to measure.

Their product, the share of the cell's density that the centre lacks, tells hypochromic cells from
others best (docs/count.md).
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

SHELLS = 10
LEAST_CONTRAST = 0.1
LEAST_RADIUS = 5.0  # px from the outline to the innermost pixel, below which nothing is measured
NOTHING = (np.nan, np.nan)
_STEP = 4  # every fourth pixel says what the background is
_MIDDLE = 2048  # px
_GREEN = 1


def background_green(image: Any) -> float:
    """Grey level of the background in green: the median of what Otsu's threshold calls light.

    Args:
        image: (H, W, 3) uint8 RGB; of one that is read in windows its middle is looked at.
    """
    if not isinstance(image, np.ndarray):
        top, left = (max(0, (side - _MIDDLE) // 2) for side in image.shape[:2])
        image = image[top : top + _MIDDLE, left : left + _MIDDLE]
    green = np.ascontiguousarray(image[::_STEP, ::_STEP, _GREEN])
    split, _ = cv2.threshold(green, 0, 255, cv2.THRESH_OTSU)
    light = green[green > split]
    return float(np.median(light if len(light) else green))


def central_pallor(window: np.ndarray, crop: np.ndarray, background: float) -> tuple[float, float]:
    """Area and contrast of a cell's pale centre, see above; NaN for a cell too small to measure.

    Args:
        window: (h, w, 3) uint8 RGB, the image where the cell lies.
        crop: (h, w) bool, its mask.
        background: of `background_green`.
    """
    padded = np.pad(crop.view(np.uint8), 1)
    depth = cv2.distanceTransform(padded, cv2.DIST_L2, 5)[1:-1, 1:-1][crop]
    deepest = float(depth.max(initial=0.0))
    if deepest < LEAST_RADIUS:
        return NOTHING
    shell = np.minimum((depth * (SHELLS / deepest)).astype(np.intp), SHELLS - 1)
    density = np.log((background + 1) / (window[..., _GREEN][crop] + 1.0))
    sizes = np.bincount(shell, minlength=SHELLS)
    profile = np.bincount(shell, density, SHELLS) / np.maximum(sizes, 1)
    rim = 1 + int(profile[1 : SHELLS - 2].argmax())
    centre = float(profile[-2:] @ sizes[-2:] / sizes[-2:].sum())
    if profile[rim] <= 0:
        return NOTHING
    contrast = float(np.clip(1 - centre / profile[rim], 0, 1))
    if contrast < LEAST_CONTRAST:
        return 0.0, contrast
    half = (profile[rim] + centre) / 2
    edge = rim + 1 + int((profile[rim + 1 :] < half).argmax())
    return float(sizes[edge:].sum() / sizes.sum()), contrast
