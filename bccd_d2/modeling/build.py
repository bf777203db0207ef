"""The door of this room: detectron2 learns of our parts, and a config becomes a model."""

from __future__ import annotations

from typing import Any

from detectron2.modeling import (
    BACKBONE_REGISTRY,
    META_ARCH_REGISTRY,
    ROI_BOX_HEAD_REGISTRY,
    ROI_HEADS_REGISTRY,
    ROI_MASK_HEAD_REGISTRY,
)
from detectron2.modeling import build_model as build_registered
from torch import nn

from bccd_d2.modeling.backbones.build import build_vit_pyramid
from bccd_d2.modeling.backbones.resnet import build_resnet_pyramid
from bccd_d2.modeling.dense.build import build_residual_unet, build_vit
from bccd_d2.modeling.dense.segmentor import DenseSegmentor
from bccd_d2.modeling.otsu import OtsuWatershed
from bccd_d2.modeling.rcnn.cell_rcnn import CellRCNN
from bccd_d2.modeling.rcnn.mask_head import CellMaskHead
from bccd_d2.modeling.rcnn.roi_heads import CellBoxHead, CellCascadeROIHeads, CellROIHeads

PARTS = (  # detectron2's registry and what a config may name in it
    (BACKBONE_REGISTRY, build_vit_pyramid, build_resnet_pyramid, build_residual_unet, build_vit),
    (META_ARCH_REGISTRY, CellRCNN, DenseSegmentor, OtsuWatershed),
    (ROI_HEADS_REGISTRY, CellROIHeads, CellCascadeROIHeads),
    (ROI_BOX_HEAD_REGISTRY, CellBoxHead),
    (ROI_MASK_HEAD_REGISTRY, CellMaskHead),
)


def register() -> None:
    """Enter our backbones, heads and meta-architectures in detectron2's registries, once."""
    for registry, *parts in PARTS:
        for part in parts:
            if part.__name__ not in registry:
                registry.register(part)


def build_model(config: Any) -> nn.Module:
    """The model that ``config.MODEL`` describes, in training mode, on its device.

    Raises:
        KeyError: a part that no registry holds.
        ValueError, FileNotFoundError, OSError: see `backbones.weights.load_vit_weights`.
    """
    register()
    return build_registered(config)
