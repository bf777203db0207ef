"""The auxiliary dense head: foreground, outline and centre for each pixel, at stride 1.

A mask of 28 x 28 in a box knows which cell it draws but not where exactly it ends. This head knows
where cells end but not which is which; together (`bccd_d2.masks.refine`) they draw well. It sees
p1, the shallow stem's stride 2 map, for the edges and p2 for the meaning.

Shapes: B images of H x W px (padded); four maps, in the order of `MAPS`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn
from torch.nn import functional as F

from bccd_d2.losses.region import dice_loss
from bccd_d2.modeling.backbones.norm import ChannelNorm

MAPS = ("cell", "boundary", "dx", "dy")
OFFSET_UNIT = 27.0  # px of the detector's frame: half a typical cell at INPUT.IMAGE_SCALE 0.5


class OutlineHead(nn.Module):
    """Logits of foreground and boundary and the offset to the cell's centre, at full resolution.

    Works at stride 2 and gives each 2 x 2 block its own values (pixel shuffle).

    Args:
        fine_channels: of p1 (stride 2).
        coarse_channels: of p2 (stride 4).
        channels: inside.
        loss_weight: factor of its three losses.
    """

    def __init__(
        self,
        fine_channels: int,
        coarse_channels: int,
        *,
        channels: int = 32,
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__()
        self.loss_weight = loss_weight
        self.coarse = nn.Conv2d(coarse_channels, channels, 1)
        self.fine = nn.Conv2d(fine_channels, channels, 1)
        self.body = nn.Sequential(
            ChannelNorm(channels),
            nn.GELU(),
            nn.Conv2d(channels, channels, 3, padding=1),
            ChannelNorm(channels),
            nn.GELU(),
            nn.Conv2d(channels, 4 * len(MAPS), 3, padding=1),
            nn.PixelShuffle(2),
        )

    def forward(self, features: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """(B, 4, H, W): logit of cell, logit of boundary, dx and dy in units of `OFFSET_UNIT`."""
        fine = self.fine(features["p1"])
        coarse = self.coarse(features["p2"])
        coarse = F.interpolate(coarse, size=fine.shape[-2:], mode="bilinear", align_corners=False)
        return self.body(fine + coarse)

    def losses(
        self, maps: torch.Tensor, masks: Sequence[torch.Tensor], boxes: Sequence[torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        """``loss_outline_cell``, ``_boundary`` and ``_centre``, each a scalar >= 0.

        Args:
            maps: as `forward` gives them.
            masks: for each image (N, h, w) bool, h <= H and w <= W; what lies beyond is padding
                and does not count.
            boxes: for each image (N, 4) x0 y0 x1 y1 of those cells.
        """
        maps = maps.float()
        targets = [
            outline_targets(m, b, maps.shape[-2:]) for m, b in zip(masks, boxes, strict=True)
        ]
        cell, boundary, offset, valid = (torch.stack(parts) for parts in zip(*targets, strict=True))
        count = valid.sum().clamp(min=1)
        bce = F.binary_cross_entropy_with_logits
        weights = valid * (1 + 2 * boundary)  # errors away from the outline are the easy ones
        on_cell = (bce(maps[:, 0], cell, weights, reduction="sum")) / weights.sum().clamp(min=1)
        on_boundary = bce(maps[:, 1], boundary, valid, reduction="sum") / count
        on_boundary = on_boundary + 0.5 * dice_loss(maps[:, 1] - 1e4 * (1 - valid), boundary)
        inside = (cell * valid)[:, None]
        miss = F.smooth_l1_loss(maps[:, 2:], offset, reduction="none", beta=0.1) * inside
        on_centre = miss.sum() / inside.sum().clamp(min=1)
        losses = {"cell": on_cell, "boundary": on_boundary, "centre": on_centre}
        return {f"loss_outline_{k}": self.loss_weight * v for k, v in losses.items()}


def outline_targets(
    masks: torch.Tensor, boxes: torch.Tensor, size: Sequence[int]
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """What the head should answer for one image.

    Args:
        masks: (N, h, w) bool, disjoint (where not, the later cell has the pixel).
        boxes: (N, 4) of the same cells.
        size: (H, W) of the padded batch.

    Returns:
        float32 maps of that size: cell (H, W) in {0, 1}; boundary (H, W), 1 where the 3 x 3
        neighbourhood holds two labels (background is one); offset (2, H, W) from the pixel's
        centre to that of its cell's box, dx first, in `OFFSET_UNIT`, 0 off the cells; valid (H, W),
        1 off the padding.
    """
    height, width = masks.shape[-2:]
    numbers = torch.arange(1, len(masks) + 1, device=masks.device, dtype=torch.float32)
    label = torch.zeros((height, width), device=masks.device)
    if len(masks):
        label = (masks * numbers[:, None, None]).amax(0)
    valid = torch.ones_like(label)
    around = F.pad(label[None, None], (1, 1, 1, 1), mode="replicate")
    boundary = (F.max_pool2d(around, 3, 1) + F.max_pool2d(-around, 3, 1))[0, 0] > 0
    centres = torch.zeros((len(masks) + 1, 2), device=masks.device)
    centres[1:] = (boxes[:, :2] + boxes[:, 2:]) / 2
    chosen = centres[label.long()].permute(2, 0, 1)
    ys, xs = torch.arange(height, device=masks.device), torch.arange(width, device=masks.device)
    here = torch.stack(
        [(xs + 0.5).expand(height, width), (ys + 0.5)[:, None].expand(height, width)]
    )
    offset = (chosen - here) / OFFSET_UNIT * (label > 0)
    pad = (0, size[1] - width, 0, size[0] - height)
    cell = F.pad((label > 0).float(), pad)
    return cell, F.pad(boundary.float(), pad), F.pad(offset, pad), F.pad(valid, pad)
