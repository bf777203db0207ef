"""What a patch of 16 px blurs, from the image itself: two convolutions, or a U-Net."""

from __future__ import annotations

import torch
from detectron2.layers import ShapeSpec
from torch import nn

from bccd_d2.modeling.backbones.norm import ChannelNorm
from bccd_d2.modeling.backbones.unet import ResidualUNet


class ShallowStem(nn.Module):
    """What a patch of 16 px blurs: edges, at stride 2, from two convolutions on the image itself.

    Args:
        channels: of the stride 2 map.
        out_channels: of the stride 4 map that is added to p2.

    Output: (B, channels, H / 2, W / 2) and what is added to each level that it knows by name, here
    (B, out_channels, H / 4, W / 4) to p2, for H, W divisible by 4.
    """

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        self.fine = nn.Sequential(
            nn.PixelUnshuffle(2),
            nn.Conv2d(12, channels, 3, padding=1),
            ChannelNorm(channels),
            nn.GELU(),
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.GELU(),
        )
        self.down = nn.Conv2d(channels, out_channels, 3, stride=2, padding=1)
        # It starts as nothing, so that it can join a trained detector without a shock.
        for parameter in self.down.parameters():
            nn.init.zeros_(parameter)

    def forward(
        self, images: torch.Tensor, tokens: torch.Tensor
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """``images`` (B, 3, H, W) float, normalised; the tokens are not looked at."""
        del tokens
        fine = self.fine(images)
        return fine, {"p2": self.down(fine)}


class UNetStem(nn.Module):
    """A residual U-Net on the image that the tokens join: where from pixels, what from tokens.

    As ViT-Adapter (Chen et al., ICLR 2023) puts a convolutional branch beside a plain ViT; ours
    takes the tokens once, at its deepest level.

    Args:
        spec: of the tokens, stride 16.
        channels: of the stride 2 map; 2, 4 and 8 times as many at strides 4, 8 and 16.
        out_channels: of the maps that are added to p2, p3 and p4.

    Output: as that of `ShallowStem`, with p3 and p4 beside p2, for H, W divisible by 16.
    """

    def __init__(self, spec: ShapeSpec, channels: int, out_channels: int) -> None:
        super().__init__()
        widths = [channels * 2**level for level in range(4)]
        self.unet = ResidualUNet(widths, given=spec)
        self.out = nn.ModuleDict(
            {f"p{n}": nn.Conv2d(widths[n - 1], out_channels, 1) for n in (2, 3, 4)}
        )

    def forward(
        self, images: torch.Tensor, tokens: torch.Tensor
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """``images`` (B, 3, H, W) float, normalised, and their tokens (B, C, H / 16, W / 16)."""
        fine, *coarser = self.unet.levels(images, tokens)
        named = zip(self.out.items(), coarser, strict=True)
        return fine, {name: layer(x) for (name, layer), x in named}
