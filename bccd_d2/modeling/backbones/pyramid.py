"""The simple feature pyramid: several scales made from a ViT's one map (ViTDet, ECCV 2022)."""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from detectron2.layers import ShapeSpec
from detectron2.modeling import Backbone
from torch import nn

from bccd_d2.modeling.backbones.norm import ChannelNorm
from bccd_d2.modeling.backbones.stem import ShallowStem, UNetStem


def _scale(dim: int, steps: int) -> tuple[list[nn.Module], int]:
    """Layers that change the resolution by 2 ** steps, and the channels that they give."""
    if steps == 2:
        up = [nn.ConvTranspose2d(dim, dim // 2, 2, 2), ChannelNorm(dim // 2), nn.GELU()]
        return [*up, nn.ConvTranspose2d(dim // 2, dim // 4, 2, 2)], dim // 4
    if steps == 1:
        return [nn.ConvTranspose2d(dim, dim // 2, 2, 2)], dim // 2
    return ([] if steps == 0 else [nn.MaxPool2d(2, 2)]), dim


class SimpleFeaturePyramid(Backbone):
    """Feature maps p2 to p5 (strides 4, 8, 16, 32), each from the backbone's stride 16 map.

    Args:
        net: a backbone with one output of stride 16.
        out_channels: channels of every level.
        coarsest: 5; 6 to add p6 (stride 64), p5 subsampled; 3 or 4 to leave out what a detector of
            cells of one size does not look at.
        stem_channels: > 0 adds a `ShallowStem` to p2, and its stride 2 map as p1.
        unet: the stem is a `UNetStem`, which adds to p3 and p4 too.

    Output: {"p2": (B, out_channels, H / 4, W / 4), ...} for images padded to `size_divisibility`;
    an image that is not is padded with zeros at the bottom and the right first, so no row or column
    of cells is lost.

    Raises:
        ValueError: the backbone has another stride, or ``coarsest`` is not 3 to 6.
    """

    def __init__(
        self,
        net: Backbone,
        *,
        out_channels: int = 256,
        coarsest: int = 5,
        stem_channels: int = 0,
        unet: bool = False,
    ) -> None:
        super().__init__()
        ((name, spec),) = net.output_shape().items()
        if spec.stride != 16:
            raise ValueError(f"the pyramid needs a stride 16 map, got {name} of {spec.stride}")
        if coarsest not in (3, 4, 5, 6):
            raise ValueError(f"MODEL.PYRAMID.COARSEST must be 3 to 6, got {coarsest}")
        self.net = net
        self.source = name
        self.coarsest = coarsest
        self.levels = nn.ModuleDict()
        for level, steps in ((2, 2), (3, 1), (4, 0), (5, -1)):
            if level > coarsest:
                break
            layers, dim = _scale(spec.channels, steps)
            layers += [nn.Conv2d(dim, out_channels, 1, bias=False), ChannelNorm(out_channels)]
            layers += [nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)]
            layers += [ChannelNorm(out_channels)]
            self.levels[f"p{level}"] = nn.Sequential(*layers)
        finest = 1 if stem_channels else 2
        self.stem: nn.Module | None = None
        if stem_channels and unet:
            self.stem = UNetStem(spec, stem_channels, out_channels)
        elif stem_channels:
            self.stem = ShallowStem(stem_channels, out_channels)
        self._out_features = [f"p{level}" for level in range(finest, coarsest + 1)]
        self._out_feature_channels = dict.fromkeys(self._out_features, out_channels)
        self._out_feature_strides = {f"p{n}": 2**n for n in range(finest, coarsest + 1)}
        if stem_channels:
            self._out_feature_channels["p1"] = stem_channels

    @property
    def size_divisibility(self) -> int:
        return 2 ** max(self.coarsest, 4)

    def output_shape(self) -> dict[str, ShapeSpec]:
        return {
            name: ShapeSpec(
                channels=self._out_feature_channels[name], stride=self._out_feature_strides[name]
            )
            for name in self._out_features
        }

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """``images`` (B, 3, H, W) float, normalised."""
        height, width = images.shape[-2:]
        step = self.size_divisibility
        images = F.pad(images, (0, -width % step, 0, -height % step))
        tokens = self.net(images)[self.source]
        features, more = {}, {}
        if self.stem is not None:
            features["p1"], more = self.stem(images, tokens)
        for name, level in self.levels.items():
            layers = cast(nn.Sequential, level)
            one = layers[:-2](tokens)
            features[name] = layers[-2:](one + more[name] if name in more else one)
        if self.coarsest == 6:
            features["p6"] = F.max_pool2d(features["p5"], kernel_size=1, stride=2)
        return features
