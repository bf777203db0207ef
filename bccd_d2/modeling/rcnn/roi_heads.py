"""Box and mask heads: detectron2's standard and cascade ones, masks drawn beyond their boxes.

A box that is a little too small cuts its cell off in a straight line. Here the mask is learned and
predicted in the box enlarged by a factor, so that it may say where the cell ends on its own.
"""

from __future__ import annotations

from typing import Any

import torch
from detectron2.config import configurable
from detectron2.layers import ShapeSpec
from detectron2.modeling.roi_heads import (
    CascadeROIHeads,
    ROIHeads,
    StandardROIHeads,
    select_foreground_proposals,
)
from detectron2.modeling.roi_heads.box_head import FastRCNNConvFCHead
from detectron2.structures import Boxes, Instances

from bccd_d2.modeling.rcnn.mask_head import TakesLayerNorm
from bccd_d2.modeling.rcnn.pooler import CellPooler
from bccd_d2.modeling.rcnn.typed_boxes import TypedBoxPredictor


class CellBoxHead(TakesLayerNorm, FastRCNNConvFCHead):
    """`FastRCNNConvFCHead` with "LN"."""


def enlarge_boxes(boxes: torch.Tensor, margin: float) -> torch.Tensor:
    """(N, 4) boxes ``margin`` times as wide and high; they may leave the image."""
    if margin == 1:
        return boxes
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2
    half = (boxes[:, 2:] - boxes[:, :2]) / 2 * margin
    return torch.cat([centre - half, centre + half], 1)


class _CellMasks(ROIHeads):
    """Before a detectron2 ROI head: the mask branch.

    Args:
        margin: factor of the boxes that masks are drawn in, >= 1.
        mask_samples: most boxes an image that the mask branch learns from; 0 = all positive ones.
        fine_pooler: pools p1 at the mask's resolution; None = the mask head does not want it.

    Raises:
        ValueError: ``margin`` is below 1.
    """

    @configurable
    def __init__(
        self,
        *,
        margin: float = 1.0,
        mask_samples: int = 0,
        fine_pooler: CellPooler | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if margin < 1:
            raise ValueError(f"MODEL.ROI_MASK_HEAD.BOX_MARGIN must be at least 1, got {margin}")
        self.margin = margin
        self.mask_samples = mask_samples
        self.fine_pooler = fine_pooler

    @classmethod
    def from_config(cls, cfg: Any, input_shape: dict[str, ShapeSpec]) -> dict[str, Any]:
        parts = super().from_config(cfg, input_shape)
        options = cfg.MODEL.ROI_MASK_HEAD
        parts |= {"margin": options.BOX_MARGIN, "mask_samples": options.SAMPLES}
        if cfg.MODEL.ROI_HEADS.NUM_CLASSES > 1:
            parts["box_predictor"] = TypedBoxPredictor(cfg, parts["box_head"].output_shape)
        parts["box_pooler"] = cls._pooler(cfg, cfg.MODEL.ROI_BOX_HEAD, input_shape)
        if cfg.MODEL.MASK_ON:
            parts["mask_pooler"] = cls._pooler(cfg, options, input_shape)
        if cfg.MODEL.MASK_ON and options.FINE:
            parts["fine_pooler"] = CellPooler(
                output_size=2 * options.POOLER_RESOLUTION,
                scales=(1 / input_shape["p1"].stride,),
                sampling_ratio=1,  # a bin is about a pixel of p1
                pooler_type=options.POOLER_TYPE,
            )
        return parts

    @staticmethod
    def _pooler(cfg: Any, options: Any, input_shape: dict[str, ShapeSpec]) -> CellPooler:
        return CellPooler(
            output_size=options.POOLER_RESOLUTION,
            scales=tuple(1 / input_shape[name].stride for name in cfg.MODEL.ROI_HEADS.IN_FEATURES),
            sampling_ratio=options.POOLER_SAMPLING_RATIO,
            pooler_type=options.POOLER_TYPE,
        )

    def _forward_mask(
        self, features: dict[str, torch.Tensor], instances: list[Instances]
    ) -> dict[str, torch.Tensor] | list[Instances]:
        """Losses in training; else the instances with ``pred_masks`` inside ``mask_boxes``."""
        if not self.mask_on:
            return {} if self.training else instances
        if self.training:
            instances, _ = select_foreground_proposals(instances, self.num_classes)
            instances = [self._subsample(one) for one in instances]
        for one in instances:
            boxes = one.proposal_boxes if self.training else one.pred_boxes
            one.mask_boxes = enlarge_boxes(boxes.tensor, self.margin)
        boxes = [Boxes(one.mask_boxes) for one in instances]
        pooled = self.mask_pooler([features[f] for f in self.mask_in_features], boxes)
        if self.fine_pooler is None:
            return self.mask_head(pooled, instances)
        return self.mask_head(pooled, instances, self.fine_pooler([features["p1"]], boxes))

    def _subsample(self, instances: Instances) -> Instances:
        if not 0 < self.mask_samples < len(instances):
            return instances[:]
        return instances[torch.randperm(len(instances))[: self.mask_samples]]


class CellROIHeads(_CellMasks, StandardROIHeads):
    """`StandardROIHeads` whose masks may reach beyond their boxes."""


class CellCascadeROIHeads(_CellMasks, CascadeROIHeads):
    """`CascadeROIHeads` (Cai and Vasconcelos, arXiv 1712.00726) with the same masks."""

    def _match_and_label_boxes(
        self, proposals: list[Instances], stage: int, targets: list[Instances]
    ) -> list[Instances]:
        """As detectron2's, without the boxes of ignored cells (class -1), which it keeps."""
        labelled = super()._match_and_label_boxes(proposals, stage, targets)
        return [one[one.gt_classes >= 0] for one in labelled]
