"""What a dense model predicts for each pixel: its heads, their targets and losses.

| head     | channels | target of `masks.encode`                     | answer             |
| -------- | -------- | -------------------------------------------- | ------------------ |
| cell     | 1        | inside a cell                                | probability        |
| boundary | 1        | on an outline or the cut between two cells   | probability        |
| centre   | 1        | at a cell's centre                           | probability        |
| distance | 1        | distance to the outside, [0, 1] in each cell | distance, [0, 1]   |
| flow     | 2        | unit vector (dy, dx) towards the centre      | vector             |
| counted  | 1        | of a cell that annotators count, see         | probability        |
|          |          | `data.ignored`; the others teach nothing     |                    |
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import nn

CHANNELS = {"cell": 1, "boundary": 1, "centre": 1, "distance": 1, "flow": 2, "counted": 1}


class DenseHeads(nn.Module):
    """One 1 x 1 convolution a head on the decoder's map.

    Args:
        in_channels: of the decoder's map.
        names: heads, of `CHANNELS`; "cell" must be one of them.
        prior: share of pixels that the first predictions of the "centre" and "boundary" heads call
            positive: rare classes begin rare (Lin et al., ICCV 2017, section 4.1).

    Raises:
        ValueError: an unknown or repeated head, or none for the cells.
    """

    def __init__(self, in_channels: int, names: Sequence[str], prior: float = 0.05) -> None:
        super().__init__()
        unknown = [name for name in names if name not in CHANNELS]
        if unknown or "cell" not in names or len(set(names)) != len(names):
            raise ValueError(
                f"MODEL.DENSE.HEADS must be 'cell' and others of {list(CHANNELS)}, each once, "
                f"got {list(names)}"
            )
        self.names = tuple(names)
        self.predictors = nn.ModuleDict(
            {name: nn.Conv2d(in_channels, CHANNELS[name], 1) for name in names}
        )
        for name, layer in self.predictors.items():
            weight, bias = layer.parameters()
            nn.init.normal_(weight, std=0.01)
            rare = name in ("boundary", "centre")
            nn.init.constant_(bias, -math.log((1 - prior) / prior) if rare else 0.0)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """``x`` (B, C, h, w) to logits (B, channels, h, w) by head; a flow is itself."""
        return {name: layer(x) for name, layer in self.predictors.items()}


def answers(logits: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """What the logits say: probabilities, distances and flows, see the table above."""
    return {name: x if name == "flow" else x.sigmoid() for name, x in logits.items()}
