"""A crop's label map as the cells that a detector learns from, with the classes they may be of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from detectron2.structures import BitMasks, Boxes, Instances

from bccd_d2.masks.labels import cell_boxes
from bccd_d2.masks.taxonomy import Types


def allowed_by_label(
    types: Types, annotations: Sequence[Mapping[str, Any]], labels: int
) -> np.ndarray:
    """(labels, K) bool by label value: which classes a cell may be of; row 0 is False.

    Args:
        annotations: each with its ``label`` and ``category``, as `catalog.load_split` has them.

    Raises:
        ValueError: a category that is none of the classes; see `Taxonomy.table`.
    """
    allowed = np.zeros((labels, len(types.classes)), dtype=bool)
    places = np.array([row["label"] for row in annotations], dtype=np.int64)
    allowed[places] = types.allowed([row["category"] for row in annotations])
    return allowed


def make_instances(
    label_map: np.ndarray,
    whole_areas: np.ndarray,
    min_visible: float,
    min_pixels: int,
    allowed: np.ndarray | None = None,
) -> Instances:
    """Ground truth of a crop: tight boxes, classes and one bitmap a cell, in label order.

    Args:
        label_map: (H, W) integer, the finished crop.
        whole_areas: (L + 1,) the area each label would have in the crop's scale if nothing of it
            were cut off; index 0 is not used.
        min_visible: smallest share of that area, else the cell is left out.
        min_pixels: smallest number of pixels, else the cell is left out.
        allowed: (L + 1, K) bool, the classes that each label may be of; None = all are of class 0.

    Returns:
        Instances with ``gt_boxes``, ``gt_classes`` (the first allowed one) and ``gt_masks``, and
        with ``gt_allowed`` (N, K) where it is given; all present and empty when no cell is left.
    """
    size = label_map.shape
    areas = np.bincount(label_map.ravel(), minlength=len(whole_areas))
    seen = areas >= np.maximum(max(min_pixels, 1), min_visible * whole_areas)
    seen[0] = False
    labels = np.flatnonzero(seen)
    masks = torch.from_numpy(label_map[None] == labels.astype(label_map.dtype)[:, None, None])
    compact = np.zeros(len(areas), dtype=np.int32)
    compact[labels] = np.arange(1, len(labels) + 1)
    boxes = cell_boxes(compact[label_map]).reshape(-1, 4)
    instances = Instances(size)
    instances.gt_boxes = Boxes(torch.from_numpy(boxes.astype(np.float32)))
    instances.gt_classes = torch.zeros(len(labels), dtype=torch.int64)
    if allowed is not None:
        instances.gt_allowed = torch.from_numpy(allowed[labels])
        instances.gt_classes = torch.from_numpy(allowed[labels].argmax(axis=1))
    instances.gt_masks = BitMasks(masks)
    return instances
