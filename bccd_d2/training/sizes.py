"""Parameters of presets and configs, counted without memory for them."""

from __future__ import annotations

from typing import Any

import torch
from detectron2.modeling import build_model

import bccd_d2.modeling.build_dense  # noqa: F401  (registers backbones and meta-architectures)
from bccd_d2.modeling.presets import get_preset
from bccd_d2.modeling.vit import create_vit


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
    """Parameters of a config's backbone and of its whole model; no weights are read.

    Raises:
        KeyError, ValueError: what the config describes cannot be built.
    """
    config = config.clone()
    config.defrost()
    config.MODEL.DEVICE, config.MODEL.VIT.WEIGHTS = "meta", ""
    with torch.device("meta"):
        model = build_model(config)
    backbone = getattr(model.backbone, "net", model.backbone)
    return _count(backbone), _count(model)


def _count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
