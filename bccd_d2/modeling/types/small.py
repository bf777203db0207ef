"""A second, small U-Net whose one map shows what the model's own outlines leave out: platelets."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from bccd_d2.modeling.backbones.unet import ResidualUNet


class SmallCellNetwork(nn.Module):
    """(B, 3, H, W) float RGB, 0 to 255, to logits (B, 1, H, W): inside a small cell."""

    def __init__(self, channels: Sequence[int] = (16, 32, 48, 64)) -> None:
        super().__init__()
        self.body = ResidualUNet(channels, stem_stride=2)
        self.head = nn.Sequential(nn.Conv2d(channels[0], 4, 1), nn.PixelShuffle(2))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        height, width = images.shape[-2:]
        maps = self.body((images - 178.5) / 63.75)["unet"]
        return self.head(maps)[..., :height, :width]


@torch.no_grad()
def small_map(network: SmallCellNetwork, image: np.ndarray) -> np.ndarray:
    """(h, w) float32 in [0, 1]: the probability of each pixel to lie in a small cell.

    Args:
        image: (h, w, 3) uint8 RGB.
    """
    pixels = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))
    device = next(network.parameters()).device
    return network(pixels[None].to(device).float())[0, 0].float().sigmoid().cpu().numpy()
