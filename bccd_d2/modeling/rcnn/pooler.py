"""RoIAlign on a CPU as a weighted sum of rows, several times faster than torchvision's loops.

A feature map in channels-last order is a table with one row a pixel; a bin is the weighted sum of a
few rows, which is what ``embedding_bag`` does, forwards and backwards, with its channels in one
piece. The answer is torchvision's (Mask R-CNN, arXiv 1703.06870; aligned as detectron2's
"ROIAlignV2") but for the order of additions. Boxes stay in single precision whatever the maps are
in; detectron2 rounds them to the maps' type, and in bf16 a corner at 400 px moves by up to 1 px.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from detectron2.modeling.poolers import (
    ROIPooler,
    assign_boxes_to_levels,
    convert_boxes_to_pooler_format,
)
from detectron2.structures import Boxes
from torch.nn import functional as F


class CellPooler(ROIPooler):
    """`ROIPooler`, by rows where the features are on a CPU and the sampling ratio is fixed.

    Args:
        as for `ROIPooler`; ``pooler_type`` other than "ROIAlignV2" and a ``sampling_ratio`` of 0
        (as many samples as there are pixels) always take detectron2's way.
    """

    def __init__(
        self,
        output_size: int | tuple[int, int],
        scales: Sequence[float],
        sampling_ratio: int,
        pooler_type: str,
        **kwargs: Any,
    ) -> None:
        super().__init__(output_size, scales, sampling_ratio, pooler_type, **kwargs)
        self.scales = tuple(float(scale) for scale in scales)
        self.samples = sampling_ratio if pooler_type == "ROIAlignV2" else 0

    def forward(self, x: list[torch.Tensor], box_lists: list[Boxes]) -> torch.Tensor:
        """(R, C, P, P) pooled features of all boxes, image by image; x one (B, C, h, w) a level."""
        if self.samples < 1 or x[0].device.type != "cpu" or not sum(map(len, box_lists)):
            # detectron2 rounds the boxes to the maps' type: multiples of 2 px from 256 on in bf16.
            return super().forward([m.float() for m in x], box_lists)
        boxes = convert_boxes_to_pooler_format(box_lists)
        levels = torch.zeros(len(boxes), dtype=torch.int64)
        if len(x) > 1:
            levels = assign_boxes_to_levels(
                box_lists,
                self.min_level,
                self.max_level,
                self.canonical_box_size,
                self.canonical_level,
            )
        return pool_rows(x, boxes, levels, self.scales, self.output_size, self.samples)


def pool_rows(
    maps: list[torch.Tensor],
    boxes: torch.Tensor,
    levels: torch.Tensor,
    scales: tuple[float, ...],
    size: tuple[int, int],
    samples: int,
) -> torch.Tensor:
    """(R, C, *size) float32: each box's bins from the map of its level.

    Args:
        maps: one (B, C, h, w) a level; gradients reach them, not the boxes.
        boxes: (R, 5) number of the image, x0 y0 x1 y1 in image pixels.
        levels: (R,) int64, which map each box is pooled from.
        scales: map pixels an image pixel, one a level.
        samples: points along each side of a bin that are averaged.
    """
    shapes = torch.tensor([m.shape[-2:] for m in maps])
    counts = torch.tensor([m.shape[0] * m.shape[2] * m.shape[3] for m in maps])
    first = torch.cumsum(counts, 0) - counts
    tables = [m.permute(0, 2, 3, 1).reshape(-1, m.shape[1]).float() for m in maps]
    table = tables[0] if len(tables) == 1 else torch.cat(tables)
    height, width = shapes[levels].unbind(1)
    corners = boxes[:, 1:].detach().float() * torch.tensor(scales)[levels, None] - 0.5
    rows, row_weights = _taps(corners[:, 1], corners[:, 3], height, size[0], samples)
    columns, column_weights = _taps(corners[:, 0], corners[:, 2], width, size[1], samples)
    start = first[levels] + boxes[:, 0].long() * height * width
    rows = start[:, None, None] + rows * width[:, None, None]
    index = rows[:, :, None, :, None] + columns[:, None, :, None, :]
    weight = row_weights[:, :, None, :, None] * column_weights[:, None, :, None, :]
    taps = index.shape[-1] * index.shape[-2]
    with torch.autocast("cpu", enabled=False):
        pooled = F.embedding_bag(
            index.reshape(-1, taps), table, mode="sum", per_sample_weights=weight.reshape(-1, taps)
        )
    return pooled.reshape(len(boxes), *size, -1).permute(0, 3, 1, 2)


def _taps(
    start: torch.Tensor, stop: torch.Tensor, limit: torch.Tensor, bins: int, samples: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Along one axis, the pixels of each bin (R, bins, 2 * samples) int64 and their weights.

    A sample beyond the map by more than a pixel counts as zero, nearer it takes the edge's value.
    """
    steps = (torch.arange(bins * samples) + 0.5) / samples
    at = start[:, None] + steps * ((stop - start) / bins)[:, None]
    limit = limit[:, None]
    weight = ((at >= -1) & (at <= limit)).float() / samples
    at = torch.minimum(at.clamp(min=0), (limit - 1).float())
    low = at.floor()
    share = at - low
    low = low.long()
    high = torch.minimum(low + 1, limit - 1)
    pixels = torch.stack([low, high], -1).reshape(len(at), bins, 2 * samples)
    weights = torch.stack([weight * (1 - share), weight * share], -1)
    return pixels, weights.reshape(len(at), bins, 2 * samples)
