"""The mask head: detectron2's, with "LN", edges from p1, outline-aware losses, and a judge.

Shapes: R boxes, pooled at P x P; masks are M x M with M = 2 P (28 for P = 14, 56 for P = 28).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from detectron2.config import configurable
from detectron2.layers import Conv2d, ShapeSpec
from detectron2.modeling.roi_heads.mask_head import MaskRCNNConvUpsampleHead, mask_rcnn_inference
from detectron2.structures import Instances
from torch import nn
from torch.nn import functional as F

from bccd_d2.losses.mask import mask_loss
from bccd_d2.modeling.backbones.norm import ChannelNorm

_FINE = 32  # channels of the layers at M x M that see the edges


class TakesLayerNorm:
    """Before a detectron2 head: also takes ``NORM: "LN"``, which 0.6 does not know."""

    @classmethod
    def from_config(cls, cfg: Any, input_shape: ShapeSpec) -> dict[str, Any]:
        """As the head's own, with "LN" replaced by `ChannelNorm`."""
        # The head that stands behind this class has one.
        parts = super().from_config(cfg, input_shape)  # type: ignore[misc]
        return parts | {"conv_norm": ChannelNorm} if parts["conv_norm"] == "LN" else parts


class CellMaskHead(TakesLayerNorm, MaskRCNNConvUpsampleHead):
    """`MaskRCNNConvUpsampleHead` for `CellROIHeads`; its defaults compute what detectron2's does.

    Args:
        fine_channels: of p1, pooled at M x M, which two layers after the upsampling mix in; 0 = no.
        dice, outline: weights of the Dice loss and of pixels at the outline; see `losses.mask`.
        iou_weight: > 0 adds a `MaskIoUHead` and the weight of its loss.
        iou_power: an inferred score is multiplied by the predicted mask IoU to this power.
    """

    @configurable
    def __init__(
        self,
        input_shape: ShapeSpec,
        *,
        num_classes: int,
        conv_dims: Sequence[int],
        fine_channels: int = 0,
        losses: dict[str, float] | None = None,
        iou_weight: float = 0.0,
        iou_power: float = 1.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(input_shape, num_classes=num_classes, conv_dims=conv_dims, **kwargs)
        self.fine_channels = fine_channels
        self.loss_options = losses or {}
        self.iou_weight = iou_weight
        self.iou_power = iou_power
        if fine_channels:
            self.mix = Conv2d(conv_dims[-1] + fine_channels, _FINE, 1, activation=nn.ReLU())
            self.sharpen = Conv2d(_FINE, _FINE, 3, padding=1, activation=nn.ReLU())
            self.predictor = Conv2d(_FINE, num_classes, 1)
            for layer in (self.mix, self.sharpen):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
                nn.init.zeros_(layer.bias)
            nn.init.normal_(self.predictor.weight, std=0.001)
            nn.init.zeros_(self.predictor.bias)
        dim = conv_dims[-2] if len(conv_dims) > 1 else input_shape.channels
        self.judge = MaskIoUHead(dim, input_shape.height) if iou_weight > 0 else None

    @classmethod
    def from_config(cls, cfg: Any, input_shape: ShapeSpec) -> dict[str, Any]:
        parts = super().from_config(cfg, input_shape)
        options = cfg.MODEL.ROI_MASK_HEAD
        return parts | {
            "loss_weight": options.LOSS_WEIGHT,
            "fine_channels": cfg.MODEL.PYRAMID.STEM if options.FINE else 0,
            "losses": {"dice": options.DICE, "outline": options.OUTLINE},
            "iou_weight": options.IOU_LOSS,
            "iou_power": options.IOU_POWER,
        }

    def forward(
        self, x: torch.Tensor, instances: list[Instances], fine: torch.Tensor | None = None
    ) -> dict[str, torch.Tensor] | list[Instances]:
        """Losses in training, else ``instances`` with ``pred_masks`` (R, 1, M, M) probabilities.

        Args:
            x: (R, C, P, P) pooled features.
            instances: in training with ``mask_boxes`` (tensors (R, 4)), the boxes that were pooled,
                and ``gt_masks``.
            fine: (R, fine_channels, M, M) pooled p1.
        """
        for layer in self.conv_norm_relus:
            x = layer(x)
        logits = self._draw(x, fine)
        if not self.training:
            mask_rcnn_inference(logits, instances)
            if self.judge is not None and len(logits):
                self._rescore(self.judge(x, logits), instances)
            return instances
        target, areas = mask_targets(instances, logits.shape[-1], logits.device)
        logits = logits[:, 0]
        losses = {"loss_mask": self.loss_weight * mask_loss(logits, target, **self.loss_options)}
        if self.judge is not None:
            guess = self.judge(x, logits[:, None])
            truth = mask_iou(logits > 0, target, areas)
            miss = F.mse_loss(guess.sigmoid(), truth, reduction="sum") / max(len(truth), 1)
            losses["loss_mask_iou"] = self.iou_weight * miss
        return losses

    def _draw(self, x: torch.Tensor, fine: torch.Tensor | None) -> torch.Tensor:
        x = F.relu(self.deconv(x))
        if self.fine_channels:
            assert fine is not None  # the ROI heads pool p1 for such a head
            x = self.sharpen(self.mix(torch.cat([x, fine.to(x.dtype)], 1)))
        return self.predictor(x).float()

    def _rescore(self, guess: torch.Tensor, instances: list[Instances]) -> None:
        quality = guess.float().sigmoid() ** self.iou_power
        parts = quality.split([len(i) for i in instances])
        for result, factor in zip(instances, parts, strict=True):
            result.scores = result.scores * factor


class MaskIoUHead(nn.Module):
    """Predicts how well a predicted mask fits: Mask Scoring R-CNN (arXiv 1903.00241), smaller.

    Two convolutions and two layers where theirs has four and three.
    """

    def __init__(self, channels: int, resolution: int, width: int = 32) -> None:
        super().__init__()
        self.look = nn.Conv2d(channels + 1, width, 3, padding=1)
        self.shrink = nn.Conv2d(width, width, 3, stride=2, padding=1)
        self.inner = nn.Linear(width * ((resolution + 1) // 2) ** 2, 64)
        self.answer = nn.Linear(64, 1)

    def forward(self, x: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
        """(R,) logits of the IoU, from features (R, C, P, P) and mask logits (R, 1, 2P, 2P)."""
        mask = F.max_pool2d(logits.detach().sigmoid(), 2).to(x.dtype)
        x = F.relu(self.shrink(F.relu(self.look(torch.cat([x, mask], 1)))))
        return self.answer(F.relu(self.inner(x.flatten(1))))[:, 0].float()


def mask_targets(
    instances: Sequence[Instances], side: int, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """True masks inside ``mask_boxes`` (R, side, side) float {0, 1}, and whole areas (R,).

    An area is that of the whole cell, in units of the mask's pixels: a cell that reaches out of the
    box has more of it than the mask shows.
    """
    masks, areas = [], []
    for image in instances:
        if len(image) == 0:
            continue
        boxes = image.mask_boxes if image.has("mask_boxes") else image.proposal_boxes.tensor
        masks.append(image.gt_masks.crop_and_resize(boxes, side).to(device))
        size = (boxes[:, 2:] - boxes[:, :2]).clamp(min=1e-3).prod(1)
        whole = image.gt_masks.tensor.flatten(1).sum(1).to(size.dtype)
        areas.append((whole * side**2 / size).to(device))
    if not masks:
        return torch.zeros((0, side, side), device=device), torch.zeros(0, device=device)
    return torch.cat(masks).float(), torch.cat(areas)


def mask_iou(predicted: torch.Tensor, target: torch.Tensor, areas: torch.Tensor) -> torch.Tensor:
    """(R,) IoU of masks (R, M, M) with cells of which ``areas`` counts what lies outside, too."""
    shared = (predicted * target).flatten(1).sum(1)
    drawn = predicted.flatten(1).sum(1)
    return (shared / (drawn + areas.clamp(min=1e-3) - shared).clamp(min=1e-3)).clamp(0, 1).float()
