"""From config to a dense model's parts: beside `build`, the place that knows the config."""

from __future__ import annotations

from typing import Any

from detectron2.modeling import BACKBONE_REGISTRY, Backbone, build_backbone

from bccd_d2.masks.decode import DecodeOptions
from bccd_d2.masks.encode import EncodeOptions
from bccd_d2.masks.flows import FlowOptions
from bccd_d2.modeling.build import vit_from_config
from bccd_d2.modeling.dense_answer import AnswerOptions
from bccd_d2.modeling.dense_decoders import build_decoder, chosen_shapes
from bccd_d2.modeling.dense_heads import DenseHeads
from bccd_d2.modeling.dense_losses import DenseLosses
from bccd_d2.modeling.dense_segmentor import Tiles
from bccd_d2.modeling.unet import ResidualUNet


@BACKBONE_REGISTRY.register()
def build_residual_unet(cfg: Any, input_shape: Any) -> Backbone:
    """`ResidualUNet` as ``MODEL.UNET`` describes it."""
    del input_shape
    unet = cfg.MODEL.UNET
    return ResidualUNet(unet.CHANNELS, stem_stride=unet.STEM_STRIDE, blocks=unet.BLOCKS)


@BACKBONE_REGISTRY.register()
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
    return EncodeOptions(**{key.lower(): value for key, value in cfg.MODEL.DENSE.TARGET.items()})


def answer_options(cfg: Any) -> AnswerOptions:
    """How ``MODEL.DENSE`` turns maps into cells."""
    dense = cfg.MODEL.DENSE
    given = {key.lower(): value for key, value in dense.DECODE.items()}
    for key in ("cell_high", "max_flow_error"):
        given[key] = given[key] or None
    flow = {key.lower(): value for key, value in given["flow"].items()}
    given["flow"] = FlowOptions(**flow)
    return AnswerOptions(
        decode=DecodeOptions(**given),
        score=dense.SCORE,
        outlines=dense.OUTLINES,
        border_area=dense.BORDER_AREA,
        border_field=dense.BORDER_FIELD,
        sliver_area=dense.SLIVER_AREA,
        counted=dense.COUNTED,
        max_cells=cfg.TEST.DETECTIONS_PER_IMAGE,
    )
