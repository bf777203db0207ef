"""From a backbone's maps to one map of fine resolution, in the ways that dense models differ.

Shapes: B images of H x W pixels; a map of stride s is (B, C, H / s, W / s).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import torch
import torch.nn.functional as F
from detectron2.layers import ShapeSpec
from torch import nn

Maps = Mapping[str, torch.Tensor]
Heads = Callable[[torch.Tensor], dict[str, torch.Tensor]]


def _norm(channels: int) -> nn.GroupNorm:
    """Group normalisation with the most groups up to 8 that divide the channels."""
    return nn.GroupNorm(math.gcd(8, channels), channels)


def _doublings(start: int, end: int) -> int:
    """How often the resolution doubles from one stride to another.

    Raises:
        ValueError: it does not by a power of two.
    """
    steps = math.log2(start / end)
    if steps < 0 or steps != int(steps):
        raise ValueError(
            f"MODEL.DENSE.STRIDE must be the stride of the features, {start}, or that divided by a "
            f"power of 2, got {end}"
        )
    return int(steps)


def _convolution(ins: int, outs: int) -> list[nn.Module]:
    return [nn.Conv2d(ins, outs, 3, padding=1, bias=False), _norm(outs), nn.GELU()]


class Decoder(nn.Module):
    """Maps by name to one (B, ``out_channels``, H / ``stride``, W / ``stride``)."""

    out_channels: int
    stride: int

    def answered(self, maps: Maps, heads: Heads) -> dict[str, torch.Tensor]:
        """What heads of 1 x 1 convolutions say of that map, by name."""
        return heads(self(maps))


class _Finest(Decoder):
    """What the decoders of one map share: they take the finest one and give ``out_channels``."""

    def __init__(self, shapes: Mapping[str, ShapeSpec], channels: int, stride: int) -> None:
        super().__init__()
        self.source = min(shapes, key=lambda name: shapes[name].stride)
        spec = shapes[self.source]
        self.out_channels = channels
        self.stride = stride
        self.layers = nn.Sequential(*self._build(spec, _doublings(spec.stride, stride)))

    def _build(self, spec: ShapeSpec, steps: int) -> list[nn.Module]:
        raise NotImplementedError

    def forward(self, maps: Maps) -> torch.Tensor:
        return self.layers(maps[self.source])


class Transposed(_Finest):
    """Transposed convolutions of 2 x 2, each followed by GroupNorm and GELU.

    The first narrows to ``channels`` times 2 for every step that is left, at most the input's.
    """

    def _build(self, spec: ShapeSpec, steps: int) -> list[nn.Module]:
        layers, ins = [], spec.channels
        for left in reversed(range(steps)):
            outs = min(ins, self.out_channels * 2**left) if left else self.out_channels
            layers += [nn.ConvTranspose2d(ins, outs, 2, 2), _norm(outs), nn.GELU()]
            ins = outs
        return layers if steps else _convolution(ins, self.out_channels)


class Stepwise(_Finest):
    """Bilinear doublings, each followed by a 3 x 3 convolution, GroupNorm and GELU.

    It avoids the checkerboards of transposed convolutions (Odena et al., Distill 2016).
    """

    def _build(self, spec: ShapeSpec, steps: int) -> list[nn.Module]:
        first = min(spec.channels, self.out_channels * 2 ** max(0, steps - 1))
        layers, ins = _convolution(spec.channels, first), first
        for left in reversed(range(steps)):
            outs = min(ins, self.out_channels * 2**left) if left else self.out_channels
            layers.append(nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False))
            layers += _convolution(ins, outs)
            ins = outs
        return layers if steps else [*layers, *_convolution(ins, self.out_channels)]


class Shuffle(_Finest):
    """One 1 x 1 convolution whose channels become pixels (Shi et al., CVPR 2016): nearly free."""

    def _build(self, spec: ShapeSpec, steps: int) -> list[nn.Module]:
        self.factor = 2**steps
        outs = self.out_channels * self.factor**2
        return [nn.Conv2d(spec.channels, outs, 1), nn.PixelShuffle(self.factor), nn.ReLU()]

    def answered(self, maps: Maps, heads: Heads) -> dict[str, torch.Tensor]:
        """As any decoder's.

        A head looks at each pixel alone, so it may look while the pixels of a square still lie one
        below the other: then its few channels are shuffled and not the map's many.
        """
        convolve, shuffle, rectify = self.layers
        x = rectify(convolve(maps[self.source].contiguous()))
        batch, _, height, width = x.shape
        square = self.factor**2
        found = heads(x.reshape(batch, self.out_channels, square * height, width))
        return {
            name: shuffle(one.reshape(batch, one.shape[1] * square, height, width))
            for name, one in found.items()
        }


class Fusion(Decoder):
    """All maps brought to one width and to the finest map's resolution, and summed.

    The semantic branch of Kirillov et al., "Panoptic Feature Pyramid Networks", CVPR 2019; from the
    sum on `Stepwise`.
    """

    def __init__(self, shapes: Mapping[str, ShapeSpec], channels: int, stride: int) -> None:
        super().__init__()
        self.lateral = nn.ModuleDict(
            {name: nn.Sequential(*_convolution(s.channels, channels)) for name, s in shapes.items()}
        )
        self.source = min(shapes, key=lambda name: shapes[name].stride)
        spec = {"sum": ShapeSpec(channels=channels, stride=shapes[self.source].stride)}
        self.refine = Stepwise(spec, channels, stride)
        self.out_channels = channels
        self.stride = stride

    def forward(self, maps: Maps) -> torch.Tensor:
        size = maps[self.source].shape[-2:]
        total = 0.0
        for name, lateral in self.lateral.items():
            one = lateral(maps[name])
            if one.shape[-2:] != size:
                one = F.interpolate(one, size=size, mode="bilinear", align_corners=False)
            total = total + one
        return self.refine({"sum": total})


DECODERS: dict[str, type[Decoder]] = {
    "transposed": Transposed,
    "stepwise": Stepwise,
    "shuffle": Shuffle,
    "fusion": Fusion,
}


def build_decoder(
    name: str, shapes: Mapping[str, ShapeSpec], channels: int, stride: int
) -> Decoder:
    """The decoder of that name of `DECODERS`: maps by name to one (B, channels, H / s, W / s).

    Args:
        shapes: the backbone's outputs that it takes; all but "fusion" take the finest alone.
        stride: s, image pixels to a side of the map.

    Raises:
        ValueError: no such decoder, no maps, or a stride that it cannot reach.
    """
    if name not in DECODERS:
        raise ValueError(f"MODEL.DENSE.DECODER must be one of {sorted(DECODERS)}, got {name!r}")
    if not shapes:
        raise ValueError("MODEL.DENSE.IN_FEATURES names no map of the backbone")
    return DECODERS[name](shapes, channels, stride)


def chosen_shapes(shapes: Mapping[str, ShapeSpec], names: Sequence[str]) -> dict[str, ShapeSpec]:
    """The maps of these names, all where there are none.

    Raises:
        ValueError: the backbone has no such map.
    """
    missing = [name for name in names if name not in shapes]
    if missing:
        raise ValueError(
            f"MODEL.DENSE.IN_FEATURES {missing} do not exist; there are {list(shapes)}"
        )
    return {name: shapes[name] for name in (names or shapes)}
