"""Parameters of presets and configs, counted without memory for them."""

from __future__ import annotations

from typing import Any

import torch

from bccd_d2.modeling.backbones.presets import get_preset
from bccd_d2.modeling.backbones.resnet import RESNET_LICENCES
from bccd_d2.modeling.backbones.vit import create_vit
from bccd_d2.modeling.build import build_model
from bccd_d2.models.load import WITHOUT_WEIGHTS


def preset_parameters(name: str) -> int:
    """Parameters of a published backbone at its own patch size.

    Raises:
        KeyError: no such preset.
    """
    preset = get_preset(name)
    with torch.device("meta"):
        vit = create_vit(preset.architecture, patch=preset.patch, grid=preset.grid, **preset.kwargs)
    return _count(vit)


def config_parameters(config: Any) -> tuple[int, int]:
    """Parameters of a config's backbone and of its whole model, 0 without learning.

    No weights are read.

    Raises:
        KeyError, ValueError: what the config describes cannot be built.
    """
    if config.MODEL.META_ARCHITECTURE in WITHOUT_WEIGHTS:
        return 0, 0
    config = config.clone()
    config.defrost()
    config.MODEL.DEVICE = "meta"
    config.MODEL.VIT.WEIGHTS = config.MODEL.RESNETS.WEIGHTS = ""
    with torch.device("meta"):
        model = build_model(config)
    names = ("net", "bottom_up")  # of what carries the weights, inside a pyramid
    backbone: Any = model.backbone
    parts = (getattr(backbone, name, None) for name in names)
    return _count(next((part for part in parts if part), backbone)), _count(model)


def backbone_of(config: Any) -> tuple[str, str]:
    """Name of a config's backbone ("none" without learning), and the licence of its weights.

    The licence is "none" where no weights are loaded.

    Raises:
        KeyError: no such preset.
    """
    if config.MODEL.META_ARCHITECTURE in WITHOUT_WEIGHTS:
        return "none", "none"
    if config.MODEL.BACKBONE.NAME == "build_resnet_pyramid":
        resnet = config.MODEL.RESNETS
        licence = RESNET_LICENCES.get(resnet.WEIGHTS, "see its source")
        return f"resnet{resnet.DEPTH}", licence if resnet.WEIGHTS else "none"
    if config.MODEL.BACKBONE.NAME == "build_residual_unet":
        return "residual U-Net", "none"
    preset = get_preset(config.MODEL.VIT.PRESET)
    return config.MODEL.VIT.PRESET, preset.licence if config.MODEL.VIT.WEIGHTS else "none"


def _count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
