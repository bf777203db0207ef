"""A small residual U-Net as a detectron2 backbone, for training from scratch on few images.

After Ronneberger et al., "U-Net", MICCAI 2015 (arXiv 1505.04597), with residual blocks (He et al.,
CVPR 2016) and sums instead of concatenations on the way up, as Stringer et al., "Cellpose", Nature
Methods 2021, have them. Ours begins at half resolution by folding 2 x 2 pixels into channels, which
a sub-pixel decoder undoes (`dense_decoders.Shuffle`): the convolutions cost a quarter.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from detectron2.layers import ShapeSpec
from detectron2.modeling import Backbone
from torch import nn

from bccd_d2.modeling.backbones.norm import ChannelNorm


class StillBatchNorm(nn.BatchNorm2d):
    """Batch normalisation whose running statistics move only where gradients flow.

    A validation loss runs the model in training mode without gradients; it must not leave its
    images in the statistics.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training and not torch.is_grad_enabled():
            return F.batch_norm(x, None, None, self.weight, self.bias, True, 0.0, self.eps)
        return super().forward(x)


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions around which the input is added; (B, ins, H, W) to (B, outs, H, W)."""

    def __init__(self, ins: int, outs: int) -> None:
        super().__init__()
        self.first = nn.Sequential(
            nn.Conv2d(ins, outs, 3, padding=1, bias=False), StillBatchNorm(outs), nn.ReLU()
        )
        self.second = nn.Sequential(
            nn.Conv2d(outs, outs, 3, padding=1, bias=False), StillBatchNorm(outs)
        )
        self.skip = nn.Identity() if ins == outs else nn.Conv2d(ins, outs, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(self.second(self.first(x)) + self.skip(x))


class ResidualUNet(Backbone):
    """One map at the stride of the stem that has seen every scale of the encoder.

    Its weights and maps lie in memory channel by channel last, which a CPU convolves faster.

    Args:
        channels: of each level of the encoder, the finest first; each level halves the resolution.
        stem_stride: 1, 2 or 4: image pixels to a side of the finest map.
        blocks: residual blocks a level, down and up alike.
        context: a backbone with one map, such as a pretrained ViT's tokens, whose stride is that of
            a level below the finest; normalised and narrowed it is added to what enters that level.
        given: the shape of such a map where `levels` is handed it, in place of ``context``.

    Output: {"unet": (B, channels[0], H / stem_stride, W / stem_stride)} for images of a multiple of
    `size_divisibility`; others are padded with zeros at the bottom and the right.

    Raises:
        ValueError: no levels, another stem stride, or no level of the context's stride.
    """

    def __init__(
        self,
        channels: Sequence[int] = (32, 64, 128, 256),
        *,
        stem_stride: int = 2,
        blocks: int = 1,
        context: Backbone | None = None,
        given: ShapeSpec | None = None,
    ) -> None:
        super().__init__()
        if not channels or stem_stride not in (1, 2, 4) or blocks < 1:
            raise ValueError(
                "MODEL.UNET wants CHANNELS of at least one level, STEM_STRIDE 1, 2 or 4 and "
                f"BLOCKS of at least 1, got {tuple(channels)}, {stem_stride} and {blocks}"
            )
        self.stem_stride = stem_stride
        finest = channels[0]
        self.stem = nn.Sequential(
            nn.PixelUnshuffle(stem_stride),
            nn.Conv2d(3 * stem_stride**2, finest, 3, padding=1),
        )
        before = (finest, *channels[:-1])
        self.down = nn.ModuleList(
            _blocks(ins, outs, blocks) for ins, outs in zip(before, channels, strict=True)
        )
        self.widen = nn.ModuleList(
            nn.Conv2d(below, here, 1) for here, below in zip(before[1:], channels[1:], strict=True)
        )
        self.up = nn.ModuleList(_blocks(here, here, blocks) for here in channels[:-1])
        self.context = context
        if context is not None:
            ((self._source, given),) = context.output_shape().items()
        self._joins = None if given is None else self._join_map(given, before)
        self._out_features = ["unet"]
        self._out_feature_channels = {"unet": finest}
        self._out_feature_strides = {"unet": stem_stride}
        self.to(memory_format=torch.channels_last)

    def _join_map(self, spec: ShapeSpec, before: Sequence[int]) -> int:
        """The level of the map's stride; builds the layers that bring the map there."""
        strides = [self.stem_stride * 2**level for level in range(len(before))]
        if spec.stride not in strides[1:]:
            raise ValueError(
                f"MODEL.UNET has levels of stride {strides[1:]} below the finest, none of the "
                f"ViT's stride {spec.stride}: change UNET.CHANNELS, UNET.STEM_STRIDE or VIT.ZOOM"
            )
        level = strides.index(spec.stride)
        self.join = nn.Sequential(
            ChannelNorm(spec.channels), nn.Conv2d(spec.channels, before[level], 1)
        )
        return level

    @property
    def size_divisibility(self) -> int:
        return self.stem_stride * 2 ** (len(self.down) - 1)

    def output_shape(self) -> dict[str, ShapeSpec]:
        return {
            "unet": ShapeSpec(channels=self._out_feature_channels["unet"], stride=self.stem_stride)
        }

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """``images`` (B, 3, H, W) float, normalised."""
        height, width = images.shape[-2:]
        step = self.size_divisibility
        images = F.pad(images, (0, -width % step, 0, -height % step))
        joined = None if self.context is None else self.context(images)[self._source]
        return {"unet": self.levels(images, joined)[0]}

    def levels(self, images: torch.Tensor, joined: torch.Tensor | None) -> list[torch.Tensor]:
        """The map of every level on the way up, the finest first: (B, channels[i], h, w).

        Args:
            images: (B, 3, H, W), multiples of `size_divisibility`.
            joined: (B, C, h, w) at the stride of ``given``; None without one.
        """
        x = self.stem(images.contiguous(memory_format=torch.channels_last))
        passed = []
        for level, block in enumerate(self.down):
            x = F.max_pool2d(x, 2) if level else x
            if joined is not None and level == self._joins:
                x = x + self.join(joined)
            x = block(x)
            passed.append(x)
        for level in reversed(range(len(self.up))):
            below = self.widen[level](passed[level + 1])
            wide = F.interpolate(below, scale_factor=2.0, mode="nearest")
            passed[level] = self.up[level](passed[level] + wide)
        return passed


def _blocks(ins: int, outs: int, count: int) -> nn.Sequential:
    return nn.Sequential(*(ResidualBlock(outs if i else ins, outs) for i in range(count)))
