"""Pictures of what a config's backbone sees of an image, for bccd preview features."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from bccd_d2.data.preprocess import resize_image, scaled_size
from bccd_d2.io.images import read_image
from bccd_d2.modeling.backbones.features import image_tokens, principal_colours
from bccd_d2.modeling.backbones.vit import POSITIONS, TimmViT
from bccd_d2.modeling.build import build_model, vit_from_config
from bccd_d2.models.checkpoint import CellCheckpointer


def feature_panels(config: Any, image_file: str | Path) -> dict[str, np.ndarray]:
    """The image and its tokens as colours for each way of feeding it, by caption.

    Args:
        config: not yet frozen; its ``MODEL.WEIGHTS``, a trained detector, comes before
            ``MODEL.VIT.WEIGHTS``.
        image_file: read as the converter reads it, then scaled by ``INPUT.IMAGE_SCALE``.

    Returns:
        Pictures (H, W, 3) uint8 RGB of the scaled image's size, the image first.

    Raises:
        FileNotFoundError, ValueError, OSError: the image or the weights cannot be used.
    """
    image = read_image(image_file)
    image = resize_image(image, scaled_size(image.shape[:2], config.INPUT.IMAGE_SCALE))
    size = image.shape[1::-1]
    net = load_backbone(config)
    side = net.patch * net.vit.patch_embed.grid_size[0]
    feeds = {f"resize: all of it on {side} x {side} px": ("resize", net.position)}
    for position in POSITIONS:
        feeds[f"pad: whole, position embedding {position}d"] = ("pad", position)
    feeds[f"tile: squares of {side} px, each alone"] = ("tile", net.position)
    pixels = normalised(image, config).to(next(net.parameters()).device)
    maps = []
    for feed, net.position in feeds.values():
        maps.append(image_tokens(net, pixels, feed))
    panels = {f"image, {size[0]} x {size[1]} px": image}
    for (caption, (feed, _)), colours in zip(feeds.items(), principal_colours(maps), strict=True):
        if feed != "resize":  # Tokens of whole patches reach beyond the image.
            colours = colours.repeat(net.patch, axis=0).repeat(net.patch, axis=1)
            colours = colours[: size[1], : size[0]]
        panels[caption] = cv2.resize(colours, size, interpolation=cv2.INTER_NEAREST)
    return panels


def load_backbone(config: Any) -> TimmViT:
    """The config's ViT in eval mode, on a GPU where ``MODEL.DEVICE`` is "auto" and there is one.

    With ``MODEL.WEIGHTS`` it is that trained detector's, which must fit the config.
    """
    device = config.MODEL.DEVICE
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if not config.MODEL.WEIGHTS:
        return vit_from_config(config).to(device).eval()
    config = config.clone()
    config.MODEL.DEVICE, config.MODEL.VIT.WEIGHTS = device, ""
    model = build_model(config)
    CellCheckpointer(model).load(config.MODEL.WEIGHTS)
    backbone: Any = model.backbone
    return getattr(backbone, "net", backbone).eval()


def normalised(image: np.ndarray, config: Any) -> torch.Tensor:
    """(H, W, 3) uint8 RGB as (3, H, W) float32, less the config's mean and over its deviation."""
    mean, std = (np.array(v, np.float32) for v in (config.MODEL.PIXEL_MEAN, config.MODEL.PIXEL_STD))
    return torch.from_numpy(((image - mean) / std).transpose(2, 0, 1).copy())
