"""The network that says of a crop which type of cell it shows, and whether it would be marked."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from bccd_d2.losses.types import coarse_cross_entropy, counted_cross_entropy
from bccd_d2.modeling.backbones.unet import ResidualBlock

PLANES = 4  # red, green, blue and the cell's own mask


class TypeNetwork(nn.Module):
    """Residual blocks over a crop, averaged; numbers beside it; one linear layer.

    Args:
        classes: K.
        measures: M, numbers that go with each crop; see `masks.cell_crops.measures`.
        channels: of each level; each halves the resolution.
        dropout: share of the pooled features that training hides.

    Takes crops (N, 4, S, S), 0 to 255, and measures (N, M), both float; gives logits (N, K + 1):
    of the K classes, and last that an annotator would have marked such an outline.

    Raises:
        ValueError: no classes or no levels.
    """

    def __init__(
        self,
        classes: int,
        measures: int,
        channels: Sequence[int] = (16, 32, 64, 96),
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        if classes < 1 or not channels:
            raise ValueError(f"a type network wants classes and levels, got {classes}, {channels}")
        self.stem = nn.Conv2d(PLANES, channels[0], 3, stride=2, padding=1)
        before = (channels[0], *channels[:-1])
        levels: list[nn.Module] = []
        for ins, outs in zip(before, channels, strict=True):
            levels += [*([nn.MaxPool2d(2)] if levels else []), ResidualBlock(ins, outs)]
        self.levels = nn.Sequential(*levels)
        self.beside = nn.Sequential(nn.Linear(measures, 16), nn.ReLU())
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(channels[-1] + 16, classes + 1)

    def forward(self, crops: torch.Tensor, measures: torch.Tensor) -> torch.Tensor:
        x = self.levels(self.stem((crops - 128.0) / 64.0))
        pooled = torch.cat([x.mean(dim=(2, 3)), self.beside(measures)], dim=1)
        return self.out(self.dropout(pooled))


def type_loss(
    logits: torch.Tensor,
    allowed: torch.Tensor,
    counted: torch.Tensor,
    frequencies: torch.Tensor | None = None,
) -> torch.Tensor:
    """What a `TypeNetwork` is trained by, a scalar; see `losses.types`.

    Args:
        logits: (N, K + 1).
        allowed: (N, K) bool, the classes that each label leaves possible.
        counted: (N,) 1 annotators mark the cell, 0 they do not, -1 nobody knows.
        frequencies: (K,) shares of the classes in what is drawn.
    """
    types = coarse_cross_entropy(logits[:, :-1], allowed, frequencies)
    return types + counted_cross_entropy(logits[:, -1], counted)
