"""Do annotations lie on the cells of their images? What a wrong y axis or another image looks like.

Cells stand out from the background, so the middles of annotated ones lie on what is stained more
than most of their image. Where they do not, coordinates were misread: y upwards, x and y exchanged,
corners taken for middles, shares for px, or they are another image's.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from scipy.spatial import cKDTree

from bccd_d2.data.convert.formats.common import CUT
from bccd_d2.data.convert.record import ImageRecord
from bccd_d2.masks.stain import LEAST_CONTRAST, from_background

READINGS = ("as read", "upside down", "left and right exchanged", "turned by 180 degrees",
            "x and y exchanged")  # fmt: skip
LEAST = 0.2  # right annotations of four laboratories: .37 to .73, misread ones up to .12
BETTER = 0.2  # than as they are read, for another reading to be named
CUT_OFF = 0.4  # of the cells; of the annotations of three laboratories none is
_FEW = 10  # cells, below which chance says as much
_LOOK = 256  # px of the longer side at which stain is measured
_REACH = 0.8  # of a cell's width, over which stain is averaged


def stain_at_cells(image: np.ndarray, boxes: np.ndarray) -> tuple[float, ...]:
    """How stained an image is at its cells, for each of `READINGS`.

    That is twice the mean share of the image's pixels with less stain round them, less 1: in
    [-1, 1], 0 by chance. () without cells, or where nothing stands out from the background. Cells
    in one corner alone say nothing of other readings: 0.

    Args:
        image: (H, W, 3) uint8 RGB.
        boxes: (N, 4) x0 y0 x1 y1, of points without extent.
    """
    height, width = image.shape[:2]
    factor = min(1.0, _LOOK / max(height, width))
    away = from_background(image, factor)
    if not len(boxes) or away.max() < LEAST_CONTRAST:
        return ()
    middles = (boxes[:, :2] + boxes[:, 2:]) / 2
    reach = max(1, round(_REACH * factor * _usual_side(boxes, middles)))
    stain = cv2.blur(away.astype(np.float32), (reach, reach))
    levels, (x, y) = np.sort(stain, axis=None), middles.T
    spread = (np.ptp(middles, axis=0) > 0.5 * np.array([width, height])).all()
    found: list[float] = []
    for u, v in ((x, y), (x, height - y), (width - x, y), (width - x, height - y), (y, x)):
        inside = (u <= width) & (v <= height) & (spread or not found)
        rows, columns = (np.minimum((n[inside] * factor).astype(int), most - 1)
                         for n, most in zip((v, u), stain.shape, strict=True))  # fmt: skip
        at = stain[rows, columns]
        below = np.searchsorted(levels, at) + np.searchsorted(levels, at, "right")
        found.append(float(np.mean(below / levels.size) - 1) if inside.any() else 0.0)
    return tuple(found)


def _usual_side(boxes: np.ndarray, middles: np.ndarray) -> float:
    """px: of the median box; of points how far the next one lies; 1 for a single point."""
    sides = (boxes[:, 2:] - boxes[:, :2]).max(axis=1)
    if not sides.any() and len(middles) > 1:
        sides = cKDTree(middles).query(middles, 2)[0][:, 1]
    return max(float(np.median(sides)), 1.0)


def misplaced(records: Sequence[ImageRecord]) -> str:
    """A warning where a dataset's annotations do not lie on what is stained; else ""."""
    told = [record for record in records if record.stain]
    counts = [record.cells for record in told]
    if sum(counts) < _FEW:
        return ""
    if (cut := sum(record.notes[CUT] for record in told)) > CUT_OFF * sum(counts):
        return (
            f"{cut} of {sum(counts)} cells are cut off at the image's edge: are corners and sizes, "
            "or corners and middles, exchanged? Look at bccd explore"
        )
    each = np.average([record.stain for record in told], axis=0, weights=counts)
    best = int(each.argmax())
    if best and each[best] > max(LEAST, abs(each[0]) + BETTER):
        return (
            f"annotations would fit the images {READINGS[best]} ({each[best]:.2f}; as they are "
            f"{each[0]:.2f}; 0 is chance, 1 the most stained places): look at bccd explore"
        )
    if abs(each[0]) < LEAST:  # far below 0 where cells are the light ones, as in dark field
        return (
            f"annotations hardly lie on what is stained ({each[0]:.2f}; 0 is chance, 1 the most "
            "stained places): are they of these images, in px? Look at bccd explore"
        )
    return ""
