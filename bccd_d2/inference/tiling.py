"""Windows over an image of any size, and which of them answers for which place.

Neighbouring windows overlap. The line of responsibility runs through the middle of each overlap, so
a cell no larger than the overlap lies whole in the window that is responsible for its centre.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Tile:
    """One window of an image; boxes are x0 y0 x1 y1, half-open, in pixels of the whole image.

    Attributes:
        window: what the model sees.
        core: the part of it that this tile alone is responsible for; cores fill the image.
    """

    window: Box
    core: Box

    def cut(self, image: np.ndarray) -> np.ndarray:
        """The window's pixels, a view of an (H, W, ...) array."""
        x0, y0, x1, y1 = self.window
        return image[y0:y1, x0:x1]


def plan_tiles(image_size: tuple[int, int], tile: int = 1024, overlap: int = 256) -> list[Tile]:
    """Tiles that cover an image of (height, width), row by row, evenly spaced.

    Windows are ``tile`` px square, or as long as a side of the image that is shorter; neighbours
    share ``overlap`` px or more.

    Raises:
        ValueError: an empty image, or an overlap that is negative or more than half of a tile.
    """
    height, width = image_size
    if height < 1 or width < 1:
        raise ValueError(f"image_size must be at least 1x1, got {height}x{width}")
    if tile < 1 or not 0 <= 2 * overlap <= tile:
        raise ValueError(
            f"overlap must be 0 to half of tile, got overlap {overlap} and tile {tile}"
        )
    rows, columns = _spans(height, tile, overlap), _spans(width, tile, overlap)
    return [Tile((x[0], y[0], x[1], y[1]), (x[2], y[2], x[3], y[3])) for y in rows for x in columns]


def _spans(length: int, tile: int, overlap: int) -> list[tuple[int, int, int, int]]:
    """Window start and end, core start and end, along one side."""
    if length <= tile:
        return [(0, length, 0, length)]
    count = -(-(length - overlap) // (tile - overlap))
    starts = [i * (length - tile) // (count - 1) for i in range(count)]
    pairs = zip(starts[:-1], starts[1:], strict=True)
    seams = [0, *((start + tile + following) // 2 for start, following in pairs), length]
    return [(start, start + tile, seams[i], seams[i + 1]) for i, start in enumerate(starts)]
