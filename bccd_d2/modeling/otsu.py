"""The baseline without learning as a meta-architecture, so that all evaluation works on it."""

from __future__ import annotations

from typing import Any

import numpy as np
from detectron2.structures import Instances
from torch import nn

from bccd_d2.masks.cells import Cells
from bccd_d2.masks.otsu import OtsuOptions, segment, typicality
from bccd_d2.masks.resize import resize_label_map
from bccd_d2.modeling.instances import instances_of


class OtsuWatershed(nn.Module):
    """`masks.otsu.segment` behind a detector's interface; it has no weights and runs on the CPU.

    Scores are `masks.otsu.typicality`: they rank cells, but do not judge them, so every cell counts
    at the operating point (score threshold 0).

    Args:
        options: lengths in pixels of the images it is given, after ``INPUT.IMAGE_SCALE``.
        max_cells: the best-scored are kept.
    """

    def __init__(self, options: OtsuOptions | None = None, *, max_cells: int = 300) -> None:
        super().__init__()
        self.options = options or OtsuOptions()
        self.max_cells = max_cells

    def forward(self, batched_inputs: list[dict[str, Any]]) -> list[dict[str, Instances]]:
        return [{"instances": self._instances(given)} for given in batched_inputs]

    def _instances(self, given: dict[str, Any]) -> Instances:
        image = given["image"].cpu().numpy().transpose(1, 2, 0)
        label_map = segment(image, self.options)
        scores = typicality(label_map, self.options.cell_diameter)
        height, width = (int(n) for n in label_map.shape)
        size = int(given.get("height", height)), int(given.get("width", width))
        label_map = resize_label_map(label_map, size)
        present = np.bincount(label_map.ravel(), minlength=len(scores) + 1)[1:] > 0
        cells = Cells.from_label_map(label_map, scores[present])
        return instances_of(cells, self.max_cells)
