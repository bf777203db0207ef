"""A crop's label map as the maps that a model without boxes learns from."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch

from bccd_d2.data.ignored import counted, split_ignored
from bccd_d2.masks.encode import EncodeOptions, encode

VALID, COUNTED = "valid", "counted"


@dataclass(frozen=True)
class DenseTargets:
    """Maps that a model without boxes learns from.

    Attributes:
        names: of `masks.encode.TARGETS`, and "counted" of `data.ignored`.
        options: how they are drawn, in pixels of the crop.
    """

    names: tuple[str, ...]
    options: EncodeOptions = field(default_factory=EncodeOptions)

    def __call__(self, label_map: np.ndarray) -> dict[str, torch.Tensor]:
        """float32 tensors (H, W), or (2, H, W) of "flow", of a label map of any integer type.

        Where pixels are unlabelled (`data.ignored`), also "valid": 0 there and 1 elsewhere.
        """
        labels, counts = split_ignored(label_map)
        drawn = [name for name in self.names if name != COUNTED]
        maps = encode(labels.astype(np.int32), drawn, self.options)
        if COUNTED in self.names:
            maps[COUNTED] = counted(label_map)
        if not counts.all():
            maps[VALID] = counts.astype(np.float32)
        return {name: torch.from_numpy(map_) for name, map_ in maps.items()}
