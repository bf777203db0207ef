"""Cells as detectron2's ``Instances``: the one place where a model's answer takes that form."""

from __future__ import annotations

import numpy as np
import torch
from detectron2.structures import Boxes, Instances

from bccd_d2.masks.cells import Cells


def instances_of(cells: Cells, max_cells: int | None = None) -> Instances:
    """The cells on the CPU, the best-scored first; equal scores keep their order.

    Args:
        max_cells: so many are kept; None = all.

    Returns:
        ``pred_boxes``, ``scores`` (float32), ``pred_classes`` (int64), ``pred_rles`` (a list),
        and, where the cells have them, ``pred_class_probabilities`` (N, K) and ``detected_boxes``.
    """
    cells = cells[np.argsort(-cells.scores, kind="stable")[:max_cells]]
    instances = Instances(cells.image_size)
    instances.pred_boxes = Boxes(torch.from_numpy(cells.scored_boxes))
    instances.scores = torch.from_numpy(cells.scores)
    instances.pred_classes = torch.from_numpy(cells.class_ids)
    instances.pred_rles = cells.rles
    if cells.class_probabilities is not None:
        instances.pred_class_probabilities = torch.from_numpy(cells.class_probabilities)
    if cells.detected_boxes is not None:
        instances.detected_boxes = torch.from_numpy(cells.detected_boxes)
    return instances
