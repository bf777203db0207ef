"""The door of this room: a config becomes a model, and detectron2 learns of our parts.

Beside the detector's own ``from_config`` in `rcnn` this is the one file here that reads a config.
"""

from __future__ import annotations

from typing import Any

from detectron2.modeling import (
    BACKBONE_REGISTRY,
    META_ARCH_REGISTRY,
    ROI_BOX_HEAD_REGISTRY,
    ROI_HEADS_REGISTRY,
    ROI_MASK_HEAD_REGISTRY,
    Backbone,
    build_backbone,
)
from detectron2.modeling import build_model as build_registered
from detectron2.modeling.backbone.fpn import build_resnet_fpn_backbone
from torch import nn

from bccd_d2.masks.encode import EncodeOptions
from bccd_d2.masks.otsu import OtsuOptions
from bccd_d2.modeling.backbones.presets import Preset, get_preset
from bccd_d2.modeling.backbones.pyramid import SimpleFeaturePyramid
from bccd_d2.modeling.backbones.resnet import load_resnet_weights
from bccd_d2.modeling.backbones.unet import ResidualUNet
from bccd_d2.modeling.backbones.vit import TimmViT, create_vit
from bccd_d2.modeling.backbones.weights import load_vit_weights
from bccd_d2.modeling.dense.answer import answer_options
from bccd_d2.modeling.dense.blend import Tiles
from bccd_d2.modeling.dense.decoders import build_decoder, chosen_shapes
from bccd_d2.modeling.dense.heads import DenseHeads
from bccd_d2.modeling.dense.losses import DenseLosses
from bccd_d2.modeling.dense.segmentor import DenseSegmentor
from bccd_d2.modeling.options import options_of, type_options
from bccd_d2.modeling.otsu import OtsuWatershed
from bccd_d2.modeling.rcnn.cell_rcnn import CellRCNN
from bccd_d2.modeling.rcnn.mask_head import CellMaskHead
from bccd_d2.modeling.rcnn.roi_heads import CellBoxHead, CellCascadeROIHeads, CellROIHeads
from bccd_d2.modeling.types.head import CellTypes, add_types

PATCH = 16  # The detector's stride; patch 14 weights are resampled to it.


def vit_from_config(cfg: Any) -> TimmViT:
    """The ViT that ``cfg.MODEL.VIT`` describes, with its weights loaded when it names any.

    Raises:
        KeyError: unknown preset.
        ValueError, FileNotFoundError, OSError: see `weights.load_vit_weights`.
    """
    options = cfg.MODEL.VIT
    preset = get_preset(options.PRESET)
    vit = create_vit(preset.architecture, patch=PATCH, **_vit_kwargs(options, preset))
    if options.WEIGHTS:
        load_vit_weights(vit, options.WEIGHTS)
    return TimmViT(
        vit,
        window_size=options.WINDOW_SIZE,
        global_blocks=options.GLOBAL_BLOCKS,
        position=options.POSITION,
        activation_checkpointing=options.ACTIVATION_CHECKPOINTING,
        frozen=options.FROZEN,
        zoom=options.ZOOM,
        cache_mb=options.CACHE_MB,
    )


def _vit_kwargs(options: Any, preset: Preset) -> dict[str, Any]:
    """timm arguments: the preset's, with what the config sets in place of it."""
    kwargs = {**preset.kwargs, "grid": options.GRID or preset.grid}
    kwargs["drop_path_rate"] = options.DROP_PATH
    overrides = {"depth": options.DEPTH, "embed_dim": options.DIM, "num_heads": options.HEADS}
    return kwargs | {name: value for name, value in overrides.items() if value}


def build_vit_pyramid(cfg: Any, input_shape: Any) -> Backbone:
    """`SimpleFeaturePyramid` over `TimmViT`, as ``MODEL.BACKBONE.NAME`` names it."""
    del input_shape  # Images are RGB; detectron2's builder passes the channel count.
    return SimpleFeaturePyramid(
        vit_from_config(cfg),
        out_channels=cfg.MODEL.PYRAMID.CHANNELS,
        coarsest=cfg.MODEL.PYRAMID.COARSEST,
        stem_channels=cfg.MODEL.PYRAMID.STEM,
        unet=cfg.MODEL.PYRAMID.UNET,
    )


def build_resnet_pyramid(cfg: Any, input_shape: Any) -> Backbone:
    """detectron2's ``build_resnet_fpn_backbone`` with the weights that MODEL.RESNETS.WEIGHTS names.

    Raises:
        ValueError, FileNotFoundError, OSError: see `load_resnet_weights`.
    """
    backbone = build_resnet_fpn_backbone(cfg, input_shape)
    if cfg.MODEL.RESNETS.WEIGHTS:
        load_resnet_weights(backbone.bottom_up, cfg.MODEL.RESNETS.WEIGHTS)
    return backbone


def build_residual_unet(cfg: Any, input_shape: Any, context: Backbone | None = None) -> Backbone:
    """`ResidualUNet` as ``MODEL.UNET`` describes it."""
    del input_shape
    unet = cfg.MODEL.UNET
    return ResidualUNet(
        unet.CHANNELS, stem_stride=unet.STEM_STRIDE, blocks=unet.BLOCKS, context=context
    )


def build_vit_unet(cfg: Any, input_shape: Any) -> Backbone:
    """`ResidualUNet` for the outlines that is told by the ViT's tokens what it looks at."""
    return build_residual_unet(cfg, input_shape, vit_from_config(cfg))


def build_vit(cfg: Any, input_shape: Any) -> Backbone:
    """`TimmViT` alone: one map of stride 16, without a pyramid."""
    del input_shape
    return vit_from_config(cfg)


def dense_parts(cfg: Any) -> dict[str, Any]:
    """The arguments of `DenseSegmentor` that ``cfg.MODEL`` describes.

    Raises:
        ValueError: see `build_decoder`, `DenseHeads`, `DenseLosses`, `DecodeOptions`.
    """
    dense = cfg.MODEL.DENSE
    backbone = build_backbone(cfg)
    shapes = chosen_shapes(backbone.output_shape(), dense.IN_FEATURES)
    decoder = build_decoder(dense.DECODER, shapes, dense.CHANNELS, dense.STRIDE)
    return {
        "backbone": backbone,
        "decoder": decoder,
        "heads": DenseHeads(decoder.out_channels, dense.HEADS),
        "losses": DenseLosses(
            dense.HEADS,
            dense.LOSSES,
            weights=dense.LOSS_WEIGHTS,
            weighting=dense.WEIGHTING,
            raised=raised_pixels(cfg),
        ),
        "in_features": tuple(shapes),
        "pixels": (tuple(cfg.MODEL.PIXEL_MEAN), tuple(cfg.MODEL.PIXEL_STD)),
        "tiles": Tiles(dense.TILE, dense.OVERLAP, dense.TILE_BATCH),
        "answer": answer_options(cfg),
    }


def raised_pixels(cfg: Any) -> dict[str, float]:
    """Weights of the pixels of some maps that ``MODEL.DENSE`` lets count otherwise than 1."""
    dense = cfg.MODEL.DENSE
    given = {"boundary": dense.BOUNDARY_WEIGHT, "centre": dense.CENTRE_WEIGHT}
    return {name: value for name, value in given.items() if value != 1}


def target_names(cfg: Any) -> tuple[str, ...]:
    """The maps that the model of this config learns from, each once."""
    return tuple(dict.fromkeys((*cfg.MODEL.DENSE.HEADS, *raised_pixels(cfg))))


def encode_options(cfg: Any) -> EncodeOptions:
    """How ``MODEL.DENSE.TARGET`` draws the maps that are learned from."""
    return options_of(EncodeOptions, cfg.MODEL.DENSE.TARGET)


def build_dense_segmentor(cfg: Any) -> DenseSegmentor:
    """`DenseSegmentor` as ``cfg.MODEL`` describes it."""
    return DenseSegmentor(**dense_parts(cfg))


def build_otsu_watershed(cfg: Any) -> OtsuWatershed:
    """`OtsuWatershed` with the options of ``cfg.MODEL.OTSU``."""
    options = options_of(OtsuOptions, cfg.MODEL.OTSU)
    return OtsuWatershed(options, max_cells=cfg.TEST.DETECTIONS_PER_IMAGE)


# A config names a backbone by its function, every other part by its class.
build_dense_segmentor.__name__ = DenseSegmentor.__name__
build_otsu_watershed.__name__ = OtsuWatershed.__name__
PARTS = (  # detectron2's registry and what a config may name in it
    (BACKBONE_REGISTRY, build_vit_pyramid, build_resnet_pyramid, build_residual_unet, build_vit,
     build_vit_unet),
    (META_ARCH_REGISTRY, CellRCNN, build_dense_segmentor, build_otsu_watershed),
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
    model = build_registered(config)
    types = cell_types(config)
    return model if types is None else add_types(model, types.to(config.MODEL.DEVICE).eval())


def cell_types(cfg: Any) -> CellTypes | None:
    """What ``MODEL.TYPES`` gives to found cells; None where it is not enabled.

    Raises:
        ValueError: see `TypeOptions`.
    """
    options = type_options(cfg)
    if not options.enabled:
        return None
    classes, cap = len(cfg.MODEL.CLASSES.NAMES), cfg.TEST.DETECTIONS_PER_IMAGE
    return CellTypes(classes, options, cfg.INPUT.DIAMETER, cap)
