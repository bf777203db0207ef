"""Types for the cells that a model found, whichever model it is."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import torch
from detectron2.structures import Instances
from torch import nn

from bccd_d2.masks.cell_crops import MEASURES
from bccd_d2.masks.cell_types import TypeNetworks, TypeOptions, typed
from bccd_d2.masks.cells import Cells
from bccd_d2.modeling.instances import instances_of
from bccd_d2.modeling.types.network import TypeNetwork
from bccd_d2.modeling.types.small import SmallCellNetwork, small_map

BATCH = 128  # crops that go through the network together
UNTYPED = "untyped"  # an input with this key gets no types: its outlines alone are wanted


class CellTypes(nn.Module):
    """Gives a model's found cells types, and adds small cells that it leaves out.

    Args:
        classes: K.
        options: see `TypeOptions`.
        diameter: px of the network's frame across a usual cell; 0 = that of the median outline.
        max_cells: the best-scored are kept.
    """

    def __init__(
        self, classes: int, options: TypeOptions, diameter: float = 0.0, max_cells: int = 300
    ) -> None:
        super().__init__()
        self.options, self.diameter, self.max_cells = options, diameter, max_cells
        self.network = TypeNetwork(classes, len(MEASURES), options.channels)
        self.small = SmallCellNetwork(options.small.channels) if options.small.channels else None

    @torch.no_grad()
    def forward(self, image: torch.Tensor, found: Instances) -> Instances:
        """The same instances and small ones, with class probabilities, the best-scored first.

        Args:
            image: (3, h, w) uint8 RGB, as the model looked at it.
            found: in the image's own frame, which may be of another size.
        """
        pixels = np.ascontiguousarray(image.cpu().numpy().transpose(1, 2, 0))
        cells = Cells.from_instances(found)
        cells = typed(pixels, cells, self.networks(), self.options, self.diameter)
        return instances_of(cells, self.max_cells)

    def networks(self) -> TypeNetworks:
        """The networks as functions of arrays."""
        look = functools.partial(look_with, self.network)
        if self.small is None:
            return TypeNetworks(look)
        return TypeNetworks(look, functools.partial(small_map, self.small))


@torch.no_grad()
def look_with(network: TypeNetwork, crops: np.ndarray, measures: np.ndarray) -> np.ndarray:
    """(N, K + 1) float32 logits of crops (N, 4, S, S) uint8 and measures (N, M) float32."""
    device = network.out.weight.device
    parts = [np.zeros((0, network.out.out_features), np.float32)]
    for start in range(0, len(crops), BATCH):
        seen = torch.from_numpy(crops[start : start + BATCH]).to(device).float()
        beside = torch.from_numpy(measures[start : start + BATCH]).to(device)
        parts.append(network(seen, beside).float().cpu().numpy())
    return np.concatenate(parts)


def add_types(model: nn.Module, types: CellTypes) -> nn.Module:
    """The model, whose answers get types from now on; training it leaves them as they are.

    They stand in its ``types``, so that they go where it goes: state dict and device.
    """
    model.types = types.requires_grad_(False)
    model.register_forward_hook(_give_types)
    return model


def _give_types(model: Any, given: tuple[Any, ...], answers: Any) -> Any:
    """A forward hook: in place of a detector's answers the same with types."""
    if model.training or not isinstance(answers, list):
        return answers
    typed_answers = []
    for image, answer in zip(given[0], answers, strict=True):
        if not image.get(UNTYPED):
            answer = {**answer, "instances": model.types(image["image"], answer["instances"])}
        typed_answers.append(answer)
    return typed_answers
