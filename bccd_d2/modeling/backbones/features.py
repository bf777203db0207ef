"""What a backbone makes of an image, as colours: the principal components of its tokens.

Shapes: C channels, h x w tokens, g the side of the backbone's own grid, p of a patch.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F

from bccd_d2.modeling.backbones.vit import TimmViT

FEEDS = ("resize", "pad", "tile")


@torch.no_grad()
def image_tokens(net: TimmViT, image: torch.Tensor, feed: str) -> torch.Tensor:
    """(C, h, w) tokens of one image, on the CPU.

    Args:
        image: (3, H, W) float, normalised, on the net's device.
        feed: how the image gets into a backbone that was trained on g * p px. "resize" squeezes it
            into one such square, so h = w = g; "pad" takes it as it is, padded to whole patches,
            with positions as ``net.position`` says: what the detector does; "tile" cuts it into
            such squares, each seen by itself, the last ones padded with zeros.

    Raises:
        ValueError: an unknown ``feed``.
    """
    if feed not in FEEDS:
        raise ValueError(f"feed must be one of {FEEDS}, got {feed!r}")
    grid, images = net.vit.patch_embed.grid_size[0], image[None]
    side = grid * net.patch
    if feed == "resize":
        images = F.interpolate(images, size=(side, side), mode="bilinear", antialias=True)
    if feed != "tile":
        return net(images)["tokens"][0].float().cpu()
    height, width = image.shape[-2:]
    images = F.pad(images, (0, -width % side, 0, -height % side))
    rows = [
        torch.cat([net(tile)["tokens"][0] for tile in row.split(side, dim=-1)], dim=-1)
        for row in images.split(side, dim=-2)
    ]
    tokens = torch.cat(rows, dim=-2)
    return tokens[:, : -(-height // net.patch), : -(-width // net.patch)].float().cpu()


def principal_colours(maps: Sequence[torch.Tensor]) -> list[np.ndarray]:
    """Token maps (C, h, w) as (h, w, 3) uint8 RGB: their first three principal components.

    All maps share one basis and one scale, so that one colour means one thing; each counts the same
    whatever its size. Red is the strongest component; what lies outside the 1st to 99th percentile
    of every map is clipped.

    Raises:
        ValueError: no map, or maps of different or fewer than three channels.
    """
    channels = {tokens.shape[0] for tokens in maps}
    if len(channels) != 1 or min(channels) < 3:
        raise ValueError(f"maps must share at least 3 channels, got {sorted(channels)}")
    flat = [tokens.flatten(1).T.double().numpy() for tokens in maps]
    mean = np.mean([tokens.mean(axis=0) for tokens in flat], axis=0)
    centred = [tokens - mean for tokens in flat]
    covariance = np.mean([tokens.T @ tokens / len(tokens) for tokens in centred], axis=0)
    basis = np.linalg.eigh(covariance)[1][:, :-4:-1]
    basis *= np.sign(basis[np.abs(basis).argmax(axis=0), range(3)])
    projected = [tokens @ basis for tokens in centred]
    ends = np.stack([np.percentile(part, [1, 99], axis=0) for part in projected])
    low, high = ends[:, 0].min(axis=0), ends[:, 1].max(axis=0)
    span = np.maximum(high - low, 1e-12)
    return [
        np.round(255 * np.clip((part - low) / span, 0, 1))
        .astype(np.uint8)
        .reshape(*tokens.shape[1:], 3)
        for part, tokens in zip(projected, maps, strict=True)
    ]
