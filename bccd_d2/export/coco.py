"""COCO json of cells: results for an evaluator, or a whole dataset that any COCO viewer opens."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bccd_d2.io.atomic import write_json_atomic
from bccd_d2.masks.cells import Cells
from bccd_d2.masks.classes import Classes
from bccd_d2.masks.rle import rle_to_json

BLOOD = "blood"  # the supercategory of what has none


def to_results(cells: Cells, image_id: int = 1) -> list[dict[str, Any]]:
    """COCO results of one image, in the order of the cells; [] without cells.

    Each has image_id, category_id (class id + 1), segmentation (compressed RLE, counts as str) and
    score, where types are told also class_probabilities, of a detector its own box (x, y, w, h px)
    as ``detected_bbox``, and nothing else: given a ``bbox`` too, ``COCO.loadRes`` would take its
    area for the cell's.
    """
    results = [
        {
            "image_id": int(image_id),
            "category_id": int(class_id) + 1,
            "segmentation": rle_to_json(rle),
            "score": float(score),
        }
        for rle, score, class_id in zip(cells.rles, cells.scores, cells.class_ids, strict=True)
    ]
    if cells.class_probabilities is not None:
        for result, row in zip(results, cells.class_probabilities, strict=True):
            result["class_probabilities"] = [round(float(value), 5) for value in row]
    if cells.detected_boxes is not None:
        for result, (x0, y0, x1, y1) in zip(results, cells.detected_boxes.tolist(), strict=True):
            result["detected_bbox"] = [round(n, 2) for n in (x0, y0, x1 - x0, y1 - y0)]
    return results


def categories(classes: Classes | None = None) -> list[dict[str, Any]]:
    """COCO's list of categories: class id k is category k + 1, of what stands above it."""
    classes = classes or Classes()
    listed = []
    for k, name in enumerate(classes.names):
        above = classes.path(k)[:-1]
        listed.append({"id": k + 1, "name": name, "supercategory": above[-1] if above else BLOOD})
    return listed


def to_annotations(cells: Cells, image_id: int = 1, first_id: int = 1) -> list[dict[str, Any]]:
    """COCO annotations of one image: results plus id, label, bbox (x, y, w, h px), area, iscrowd.

    ``bbox`` is the tight box of the mask, as COCO has it, also where there is a ``detected_bbox``.
    ``label`` is the cell's number in its image, from 1; ``id`` counts on from ``first_id``, since
    ids are unique in a whole file.
    """
    boxes = cells.boxes.astype(float)
    boxes[:, 2:] -= boxes[:, :2]
    extras = zip(to_results(cells, image_id), boxes.tolist(), cells.areas.tolist(), strict=True)
    return [
        {
            "id": first_id + index,
            "label": index + 1,
            **result,
            "bbox": box,
            "area": area,
            "iscrowd": 0,
        }
        for index, (result, box, area) in enumerate(extras)
    ]


def to_dataset(
    images: Sequence[tuple[str, Cells]], classes: Classes | None = None
) -> dict[str, Any]:
    """A COCO dataset of (file name, cells) pairs; images get ids 1, 2, ... in their order.

    Args:
        classes: of the cells, for the categories' names; None = all are "cell".
    """
    entries: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image_id, (name, cells) in enumerate(images, start=1):
        height, width = cells.image_size
        entries.append({"id": image_id, "file_name": name, "height": height, "width": width})
        annotations += to_annotations(cells, image_id, first_id=len(annotations) + 1)
    return {"images": entries, "annotations": annotations, "categories": categories(classes)}


def write_coco(
    path: str | Path, images: Sequence[tuple[str, Cells]], classes: Classes | None = None
) -> Path:
    """Write `to_dataset` of ``images`` as json, whole or not at all."""
    return write_json_atomic(path, to_dataset(images, classes))
