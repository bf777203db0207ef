"""A model of a fixed input size on an image of any size: overlapping tiles, blended smoothly.

Each tile's answer weighs most in its middle and least at its rim, where the model saw the least
around a pixel, as nnU-Net does it (Isensee et al., Nature Methods 2021): no seams, and cells on a
tile's rim are decided by the tile that shows them whole.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F


@dataclass(frozen=True)
class Tiles:
    """How an image is given to the model at inference.

    Attributes:
        size: side of a tile in pixels; 0 = the whole image at once.
        overlap: least pixels that neighbouring tiles share.
        batch: tiles at once.
    """

    size: int = 0
    overlap: int = 0
    batch: int = 8

    def __post_init__(self) -> None:
        if self.size < 0 or self.batch < 1 or (self.size and not 0 <= self.overlap < self.size):
            raise ValueError(
                f"MODEL.DENSE.TILE must be at least 0 and OVERLAP below it, got {self.size} and "
                f"{self.overlap}; TILE_BATCH at least 1, got {self.batch}"
            )


def gaussian_weights(tile: int, sigma: float = 1 / 6) -> torch.Tensor:
    """(tile, tile) float32 weights: a Gaussian that is 1 in the middle.

    Args:
        sigma: standard deviation as a share of the tile. No weight is below 0.001, so a pixel that
            only a corner covers keeps its answer.
    """
    offset = (torch.arange(tile, dtype=torch.float32) + 0.5) / tile - 0.5
    line = torch.exp(-0.5 * (offset / sigma) ** 2)
    return (line[:, None] * line[None, :]).clamp_min(1e-3)


def tile_starts(length: int, tile: int, overlap: int) -> list[int]:
    """First pixels of evenly spaced tiles that cover ``length`` and share ``overlap`` or more."""
    if length <= tile:
        return [0]
    count = -(-(length - overlap) // (tile - overlap))
    return [i * (length - tile) // (count - 1) for i in range(count)]


def blend_tiles(
    images: torch.Tensor,
    predict: Callable[[torch.Tensor], torch.Tensor],
    *,
    tile: int,
    overlap: int,
    batch: int = 8,
) -> torch.Tensor:
    """What ``predict`` answers for the whole image, put together from tiles.

    Args:
        images: (1, C, H, W). A side shorter than the tile is padded with zeros, and the answer cut.
        predict: maps (n, C, tile, tile) to (n, D, tile, tile), as probabilities or vectors, so that
            a mean makes sense.
        tile: side in pixels.
        overlap: least pixels that neighbours share, below ``tile``.
        batch: tiles at once.

    Returns:
        (1, D, H, W) float32.

    Raises:
        ValueError: the overlap does not fit the tile.
    """
    if not 0 <= overlap < tile:
        raise ValueError(f"MODEL.DENSE.OVERLAP must be 0 to below TILE, got {overlap} and {tile}")
    height, width = images.shape[-2:]
    images = F.pad(images, (0, max(0, tile - width), 0, max(0, tile - height)))
    corners = [
        (y, x)
        for y in tile_starts(images.shape[-2], tile, overlap)
        for x in tile_starts(images.shape[-1], tile, overlap)
    ]
    weights = gaussian_weights(tile).to(images.device)
    total: torch.Tensor | None = None
    mass = images.new_zeros(images.shape[-2:], dtype=torch.float32)
    for start in range(0, len(corners), batch):
        part = corners[start : start + batch]
        cut = [images[0, :, y : y + tile, x : x + tile] for y, x in part]
        answers = predict(torch.stack(cut)).float()
        if total is None:
            total = answers.new_zeros(answers.shape[1], *images.shape[-2:])
        for (y, x), answer in zip(part, answers, strict=True):
            total[:, y : y + tile, x : x + tile] += weights * answer
            mass[y : y + tile, x : x + tile] += weights
    assert total is not None  # there is one tile at least
    return (total / mass)[None, :, :height, :width]
