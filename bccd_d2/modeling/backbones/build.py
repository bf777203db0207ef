"""From config to parts: the one place in this room that knows the config."""

from __future__ import annotations

import re
from typing import Any

from detectron2.modeling import Backbone

from bccd_d2.modeling.backbones.presets import Preset, get_preset
from bccd_d2.modeling.backbones.pyramid import SimpleFeaturePyramid
from bccd_d2.modeling.backbones.vit import TimmViT, create_vit
from bccd_d2.modeling.backbones.weights import load_vit_weights

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
    )


def layer_index(name: str, depth: int) -> int:
    """Depth of a detector's parameter, for layer-wise learning-rate decay.

    Args:
        name: parameter name inside the whole model, such as
            ``backbone.net.vit.blocks.3.norm1.bias``.
        depth: number of ViT blocks.

    Returns:
        0 for the patch and position embedding and prefix tokens, i + 1 for block i, and depth + 1
        for everything after the blocks.
    """
    match = re.search(r"\.vit\.blocks\.(\d+)\.", f".{name}")
    if match:
        return int(match.group(1)) + 1
    if ".vit." in f".{name}" and ".vit.norm." not in f".{name}":
        return 0
    return depth + 1
