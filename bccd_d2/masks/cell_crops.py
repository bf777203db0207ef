"""What a type network sees of each found cell: a square of the image with the cell's own mask.

Each cell is scaled to one size, so that a nucleus, a parasite or a spike has as many pixels in a
large cell as in a small one; how large it is beside the image's usual cell is told by numbers. The
mask says which of the cells in the square is meant. Pure numpy and OpenCV.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from bccd_d2.masks.cells import Cells
from bccd_d2.masks.labels import disc_diameter

MEASURES = ("size", "elongation", "solidity", "filled", "border")


@dataclass(frozen=True)
class CropOptions:
    """How cells are cut out.

    Attributes:
        size: side of a crop in px.
        cell: px of the crop that a cell's longer side has.
        least: share of the usual diameter; a smaller cell is enlarged as one of that size, so that
            a platelet stays small among its surroundings.

    Raises:
        ValueError: a number out of its range.
    """

    size: int = 64
    cell: float = 44.0
    least: float = 0.5

    def __post_init__(self) -> None:
        if not (self.size >= 16 and 0 < self.cell <= self.size and self.least >= 0):
            raise ValueError(f"crops want SIZE >= 16, 0 < CELL <= SIZE and LEAST >= 0, got {self}")


def look_at(
    image: np.ndarray, cells: Cells, diameter: float, options: CropOptions | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The crops and the measures of all cells.

    Args:
        image: (h, w, 3) uint8 RGB, which may have another resolution than the cells' masks.
        diameter: px of the masks across the image's usual cell.

    Returns:
        (N, 4, S, S) uint8: red, green, blue and the mask (0 or 255) round each cell; the image's
        edge is repeated beyond it. And (N, 5) float32 of `MEASURES`: the logarithm (base 2) of the
        cell's diameter over the usual one and of its box's longer over its shorter side, the share
        of its convex hull and of its box that it fills, and 1 where the image's edge cuts it.

    Raises:
        ValueError: ``diameter`` is not above 0.
    """
    if not diameter > 0:
        raise ValueError(f"diameter must be above 0 px, got {diameter}")
    options = options or CropOptions()
    side = options.size
    crops = np.zeros((len(cells), 4, side, side), np.uint8)
    measures = np.zeros((len(cells), len(MEASURES)), np.float32)
    coarser = cells.image_size[0] / image.shape[0], cells.image_size[1] / image.shape[1]
    edge = cells.touches_border()
    for number, (mask, y0, x0) in enumerate(cells.crops()):
        height, width = max(mask.shape[0], 1), max(mask.shape[1], 1)
        scale = options.cell / max(height, width, options.least * diameter)
        middle = y0 + height / 2, x0 + width / 2
        there = middle[0] / coarser[0], middle[1] / coarser[1]
        seen = _square(image, there, scale * coarser[1], side)
        own = _square(mask.astype(np.uint8) * np.uint8(255), (height / 2, width / 2), scale, side,
                      outside=cv2.BORDER_CONSTANT)  # fmt: skip
        crops[number, :3] = seen.transpose(2, 0, 1)
        crops[number, 3] = np.where(own >= 128, 255, 0)
        measures[number] = (*_shape(mask, diameter), edge[number])
    return crops, measures


def _square(
    pixels: np.ndarray,
    middle: tuple[float, float],
    scale: float,
    side: int,
    outside: int = cv2.BORDER_REPLICATE,
) -> np.ndarray:
    """(side, side, ...): what lies round ``middle`` (y, x), enlarged by ``scale``."""
    reach = int(np.ceil(side / scale / 2)) + 2
    y0, x0 = max(int(middle[0]) - reach, 0), max(int(middle[1]) - reach, 0)
    window = pixels[y0 : int(middle[0]) + reach, x0 : int(middle[1]) + reach]
    if scale < 0.75:  # averaged first, so that fine texture does not alias
        window = cv2.GaussianBlur(window, (0, 0), 0.4 / scale)
    # The middle of pixel k lies at k + .5.
    right = side / 2 - 0.5 - scale * (middle[1] - 0.5 - x0)
    down = side / 2 - 0.5 - scale * (middle[0] - 0.5 - y0)
    matrix = np.array([[scale, 0, right], [0, scale, down]])
    return cv2.warpAffine(window, matrix, (side, side), borderMode=outside)


def _shape(mask: np.ndarray, diameter: float) -> tuple[float, float, float, float]:
    """Size, elongation, solidity and filled share of a cell's mask in its box."""
    area = max(int(mask.sum()), 1)
    height, width = max(mask.shape[0], 1), max(mask.shape[1], 1)
    outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    hull = float(area)
    if outlines:
        points = cv2.convexHull(np.concatenate(outlines))
        # Contours run through pixel centres: half a pixel all round is missing.
        hull = max(cv2.contourArea(points) + cv2.arcLength(points, True) / 2 + 1, hull)
    size = np.log2(disc_diameter(area) / diameter)
    longer = np.log2(max(height, width) / min(height, width))
    return float(size), float(longer), area / hull, area / (height * width)
