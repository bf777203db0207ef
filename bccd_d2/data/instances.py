"""The cells of a crop that a detector learns from, out of its label map or of annotated boxes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from detectron2.structures import BitMasks, Boxes, Instances

from bccd_d2.masks.labels import cell_boxes
from bccd_d2.masks.taxonomy import Types

IGNORED = -1  # class of a cell that the box head takes for no cell and for no background


def is_boxed(record: Mapping[str, Any]) -> bool:
    """Whether boxes say where the cells of a dataset dict are: of all of them, outlines of some."""
    return record.get("kind", "masks") == "boxes"


def boxes_of(annotations: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """(N, 4) float boxes x0 y0 x1 y1 of annotations whose ``bbox`` is x, y, w, h."""
    boxes = np.array([row["bbox"] for row in annotations], dtype=np.float64).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    return boxes


def areas_by_label(record: Mapping[str, Any], largest: int) -> np.ndarray:
    """(largest + 1,) float areas of an image's cells by label, without touching its pixels.

    Args:
        record: a dataset dict whose annotations have ``label`` and ``area``.
        largest: the largest label of the image's label map.

    Raises:
        ValueError: annotations and label map do not agree.
    """
    annotations: Sequence[Mapping[str, Any]] = record["annotations"]
    labels = np.array([a["label"] for a in annotations], dtype=np.int64)
    if len(labels) != largest or (len(labels) and labels.max() != largest):
        raise ValueError(
            f"{record['label_file']} holds labels up to {largest}, its annotations name "
            f"{len(labels)} cells; one of the two is stale, convert the dataset again"
        )
    areas = np.zeros(largest + 1)
    areas[labels] = [a["area"] for a in annotations]
    return areas


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
    ignore_visible: float = 0.0,
) -> Instances:
    """Ground truth of a crop: tight boxes, classes and one bitmap a cell, in label order.

    Args:
        label_map: (H, W) integer, the finished crop.
        whole_areas: (L + 1,) the area each label would have in the crop's scale if nothing of it
            were cut off; index 0 is not used.
        min_visible: smallest share of that area, else the cell is left out.
        min_pixels: smallest number of pixels, else the cell is left out.
        allowed: (L + 1, K) bool, the classes that each label may be of; None = all are of class 0.
        ignore_visible: cells that show less than this share of their area are `IGNORED`.

    Returns:
        Instances with ``gt_boxes``, ``gt_classes`` (the first allowed one, or `IGNORED`) and
        ``gt_masks``, and with ``gt_allowed`` (N, K) where it is given; all present and empty when
        no cell is left.
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
    ignored = areas[labels] < ignore_visible * whole_areas[labels]
    allowed = None if allowed is None else allowed[labels]
    return _instances(size, boxes, BitMasks(masks), allowed, ignored)


def box_instances(
    boxes: np.ndarray,
    size: tuple[int, int],
    *,
    min_visible: float = 0.0,
    min_pixels: int = 1,
    labels: np.ndarray | None = None,
    label_map: np.ndarray | None = None,
    allowed: np.ndarray | None = None,
    ignore_visible: float = 0.0,
) -> Instances:
    """Ground truth of a crop whose cells have boxes, which may overlap.

    A cell's mask is its outline where a label map has one, else the ellipse that fills its box. The
    box is the annotated one; of a cell that the crop cuts it is that of what shows of the mask.

    Args:
        boxes: (N, 4) x0 y0 x1 y1 in the crop's frame; they may reach out of it.
        size: height and width of the crop.
        min_visible, min_pixels, ignore_visible: see `make_instances`; shares are of the box's area.
        labels: (N,) the cell's value in ``label_map`` (H, W), 0 where it has no outline; None = all
            are ellipses.
        allowed: (N, K) bool, see `make_instances`.

    Returns:
        As `make_instances`, in the order of the boxes.
    """
    boxes = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
    masks = ellipses(boxes, size)
    if labels is not None and label_map is not None:
        drawn = np.flatnonzero(labels > 0)
        masks[drawn] = label_map[None] == labels[drawn, None, None]
    clipped = np.clip(boxes, 0, np.tile(size[::-1], 2))
    whole, seen = ((b[:, 2:] - b[:, :2]).prod(axis=1) for b in (boxes, clipped))
    pixels = masks.sum(axis=(1, 2))
    kept = (pixels >= max(min_pixels, 1)) & (seen >= min_visible * whole)
    boxes, clipped, shown = boxes[kept], clipped[kept], BitMasks(torch.from_numpy(masks[kept]))
    cut = (np.abs(boxes - clipped) > 0.5).any(axis=1)
    clipped[cut] = shown[torch.from_numpy(cut)].get_bounding_boxes().tensor.numpy()
    ignored = (seen < ignore_visible * whole)[kept]
    return _instances(size, clipped, shown, None if allowed is None else allowed[kept], ignored)


def _instances(
    size: tuple[int, int],
    boxes: np.ndarray,
    masks: BitMasks,
    allowed: np.ndarray | None,
    ignored: np.ndarray,
) -> Instances:
    """The fields that `make_instances` names, of N cells."""
    instances = Instances(size)
    instances.gt_boxes = Boxes(torch.from_numpy(boxes.astype(np.float32)))
    instances.gt_classes = torch.zeros(len(boxes), dtype=torch.int64)
    if allowed is not None:
        instances.gt_allowed = torch.from_numpy(allowed)
        instances.gt_classes = torch.from_numpy(allowed.argmax(axis=1))
    instances.gt_classes[torch.from_numpy(ignored)] = IGNORED
    instances.gt_masks = masks
    return instances


def ellipses(boxes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(N, H, W) bool: of each box (N, 4) the ellipse that fills it, by pixel centres."""
    x0, y0, x1, y1 = (side[:, None] for side in boxes.T.astype(np.float32))
    columns, rows = (np.arange(n, dtype=np.float32) + 0.5 for n in size[::-1])
    across = (2 * columns - x0 - x1) / np.maximum(x1 - x0, 1e-6)
    down = (2 * rows - y0 - y1) / np.maximum(y1 - y0, 1e-6)
    return down[:, :, None] ** 2 + across[:, None] ** 2 <= 1
