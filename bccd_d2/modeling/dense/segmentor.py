"""Cells from maps: a meta-architecture without boxes that answers as a detector does.

A backbone's maps go through a decoder (`dense_decoders`) into heads (`dense_heads`) that say for
each pixel whether it is cell, boundary or centre, how deep it lies and where its cell's centre is;
`masks.decode` turns that into cells (`dense_answer`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from detectron2.modeling import Backbone
from detectron2.structures import ImageList, Instances
from torch import nn

from bccd_d2.modeling.dense.answer import AnswerOptions, to_cells
from bccd_d2.modeling.dense.blend import Tiles, blend_tiles
from bccd_d2.modeling.dense.decoders import Decoder
from bccd_d2.modeling.dense.heads import CHANNELS, DenseHeads, answers
from bccd_d2.modeling.dense.losses import DenseLosses
from bccd_d2.modeling.instances import instances_of


class DenseSegmentor(nn.Module):
    """Backbone, decoder and heads; losses in training, ``{"instances": Instances}`` otherwise.

    Args:
        backbone: its maps are named by ``in_features``.
        decoder: of `dense_decoders`, over these maps.
        heads: over the decoder's map.
        losses: of the heads.
        in_features: maps of the backbone that the decoder takes.
        pixels: mean and standard deviation of the channels, RGB, 0 to 255.
        tiles: tiled inference; None = whole images.
        answer: how maps become cells; None = as `AnswerOptions` has it.

    Each input is a dict with ``image`` (3, H, W) uint8 RGB; for training also ``dense``, the maps
    of `masks.encode` by name as tensors (H, W), or (2, H, W) of the flow, and "valid" where some of
    its pixels count in no loss; at inference
    ``height`` and ``width``, the frame in which it answers. Images of a batch may differ in size;
    smaller ones are padded with the mean colour, which counts in no loss.
    """

    pixel_mean: torch.Tensor
    pixel_std: torch.Tensor

    def __init__(
        self,
        backbone: Backbone,
        decoder: Decoder,
        heads: DenseHeads,
        losses: DenseLosses,
        *,
        in_features: Sequence[str],
        pixels: tuple[Sequence[float], Sequence[float]],
        tiles: Tiles | None = None,
        answer: AnswerOptions | None = None,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.decoder = decoder
        self.heads = heads
        self.losses = losses
        self.in_features = tuple(in_features)
        self.tiles = tiles or Tiles()
        self.answer = answer or AnswerOptions()
        for name, values in zip(("pixel_mean", "pixel_std"), pixels, strict=True):
            self.register_buffer(name, torch.tensor(values).view(-1, 1, 1), persistent=False)

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.pixel_mean.device

    def forward(self, batched_inputs: list[dict[str, Any]]) -> Any:
        if self.training:
            return self._losses(batched_inputs)
        with torch.no_grad():
            return [{"instances": self._instances(given)} for given in batched_inputs]

    def maps(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        """Probabilities, distances and flows of one image, see `dense_heads`.

        Args:
            image: (3, H, W) uint8 RGB.

        Returns:
            (channels, H, W) float32 on the model's device, by head.
        """
        batch = self._normalised([image])
        if self.tiles.size:
            t = self.tiles
            stacked = blend_tiles(
                batch, self._stacked, tile=t.size, overlap=t.overlap, batch=t.batch
            )
        else:
            stacked = self._stacked(batch).float()
        channels = [CHANNELS[name] for name in self.heads.names]
        return dict(zip(self.heads.names, stacked[0].split(channels), strict=True))

    def _stacked(self, images: torch.Tensor) -> torch.Tensor:
        """Answers of all heads, (B, sum of channels, H, W)."""
        found = answers(self._logits(images))
        return torch.cat([found[name] for name in self.heads.names], dim=1)

    def _logits(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """Logits by head at the size of the images (B, 3, H, W), normalised."""
        height, width = images.shape[-2:]
        step = max(self.backbone.size_divisibility, self.decoder.stride)
        padded = F.pad(images, (0, -width % step, 0, -height % step))
        features = self.backbone(padded)
        chosen = {name: features[name] for name in self.in_features}
        logits = self.decoder.answered(chosen, self.heads)
        if self.decoder.stride > 1:
            size = padded.shape[-2:]
            logits = {
                name: F.interpolate(x, size=size, mode="bilinear", align_corners=False)
                for name, x in logits.items()
            }
        return {name: x[..., :height, :width] for name, x in logits.items()}

    def _normalised(self, images: Sequence[torch.Tensor]) -> torch.Tensor:
        """(B, 3, H, W): all of the size of the largest, padded with zeros, the mean colour."""
        normal = [(x.to(self.device).float() - self.pixel_mean) / self.pixel_std for x in images]
        return ImageList.from_tensors(normal).tensor

    def _losses(self, batched_inputs: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        images = self._normalised([given["image"] for given in batched_inputs])
        if "dense" not in batched_inputs[0]:
            raise KeyError("DenseSegmentor learns from 'dense' maps: see MapperOptions.dense")
        size = images.shape[-2:]
        targets = {
            name: torch.stack([_padded(g["dense"][name], size, name) for g in batched_inputs])
            for name in self.losses.targets
        }
        targets = {name: target.to(self.device) for name, target in targets.items()}
        logits = {name: x.float() for name, x in self._logits(images).items()}
        return self.losses(logits, targets, self._valid(batched_inputs, size))

    def _valid(
        self, batched_inputs: list[dict[str, Any]], size: Sequence[int]
    ) -> torch.Tensor | None:
        """(B, 1, H, W): 0 where an image was padded or unlabelled; None where none was."""
        valid = [g["dense"].get("valid") for g in batched_inputs]
        images = [given["image"] for given in batched_inputs]
        if all(v is None for v in valid) and all(x.shape[-2:] == size for x in images):
            return None
        whole = [
            _padded(torch.ones(image.shape[-2:]) if counts is None else counts, size)
            for image, counts in zip(images, valid, strict=True)
        ]
        return torch.stack(whole).to(self.device)

    def _instances(self, given: dict[str, Any]) -> Instances:
        image = given["image"]
        maps = {name: x.cpu().numpy() for name, x in self.maps(image).items()}
        size = given.get("height", image.shape[-2]), given.get("width", image.shape[-1])
        pixels = image.cpu().numpy().transpose(1, 2, 0)
        return instances_of(to_cells(maps, size, self.answer, pixels))


def _padded(target: torch.Tensor, size: Sequence[int], name: str = "") -> torch.Tensor:
    """(C, H, W) of the wanted size; background, or unknown, at the bottom and the right."""
    target = target if target.ndim == 3 else target[None]
    more = (0, size[1] - target.shape[-1], 0, size[0] - target.shape[-2])
    return F.pad(target, more, value=-1.0 if name == "counted" else 0.0)
