"""The files of a converted dataset whose masks are weak labels (see `data.weak_labels`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bccd_d2.data.ignored import LEFT_OUT
from bccd_d2.io.atomic import write_json_atomic
from bccd_d2.io.dataset_file import DESCRIPTION
from bccd_d2.masks.labels import cell_areas, cell_boxes, touches_border
from bccd_d2.masks.rle import label_map_to_rles, rle_to_json

CATEGORY = {"id": 1, "name": "cell", "supercategory": "blood"}


def weak_annotations(label_map: np.ndarray) -> list[dict[str, Any]]:
    """COCO annotations, without ids, of the cells in an (H, W) uint16 label map, in label order."""
    cells = np.where(label_map < LEFT_OUT, label_map, 0).astype(np.int32)
    boxes, areas = cell_boxes(cells), cell_areas(cells)
    border = touches_border(boxes, cells.shape)
    return [
        {
            "iscrowd": 0,
            "category_id": CATEGORY["id"],
            "segmentation": rle_to_json(rle),
            "area": int(areas[i]),
            "bbox": [*boxes[i, :2].tolist(), *(boxes[i, 2:] - boxes[i, :2]).tolist()],
            "touches_border": bool(border[i]),
            "label": i + 1,
            "rule": "weak",
        }
        for i, rle in enumerate(label_map_to_rles(cells))
    ]


def write_weak_dataset(
    folder: Path,
    parts: Mapping[str, Sequence[Mapping[str, Any]]],
    said: Mapping[str, Any],
    skipped: Sequence[Mapping[str, str]],
) -> list[float]:
    """Write the json of each split, audit.json and dataset.json beside the label PNGs in a folder.

    Args:
        parts: by split, for each image: "image" (its COCO entry), "annotations" (of
            `weak_annotations`), "drawn", "missed" and "ignored" (of `WeakLabels`). An entry without
            a ``diameter``, as of background alone, gets the median of the others.
        said: what else dataset.json says.
        skipped: images left out, with reasons.

    Returns:
        The diameters, px.
    """
    every = [part for listed in parts.values() for part in listed]
    known = [p["image"]["diameter"] for p in every if "diameter" in p["image"]]
    middle = {"diameter": round(float(np.median(known)), 2)} if known else {}
    entries = [middle | part["image"] for part in every]
    first_image, first = 0, 1
    for split, listed in parts.items():
        own = entries[first_image : first_image + len(listed)]
        first = _write_split(folder, split, own, [part["annotations"] for part in listed], first)
        first_image += len(listed)
    figures = ("drawn", "missed", "ignored")
    rows = [entry | {key: part[key] for key in figures}
            for entry, part in zip(entries, every, strict=True)]  # fmt: skip
    audit = {"format_version": 1, "images": rows, "skipped": list(skipped)}
    write_json_atomic(folder / "audit.json", audit, indent=1)
    description = {
        "format_version": 1,
        "annotations": "masks",
        "complete": False,
        "categories": [CATEGORY["name"]],
        "counts": {split: _counts(listed) for split, listed in parts.items()},
        "skipped": len(skipped),
        "splits": {split: {"json": _json_name(split)} for split in parts},
    }
    write_json_atomic(folder / DESCRIPTION, description | dict(said), indent=1)
    return known


def _json_name(split: str) -> str:
    return f"annotations/instances_{split}.json"


def _write_split(
    folder: Path,
    split: str,
    images: Sequence[Mapping[str, Any]],
    annotations: Sequence[Sequence[Mapping[str, Any]]],
    first: int,
) -> int:
    """Write a split's json, its annotations numbered from ``first``; the number after the last."""
    rows = [
        {"image_id": image["id"], **row}
        for image, listed in zip(images, annotations, strict=True)
        for row in listed
    ]
    content = {
        "info": {"description": f"weak labels, split {split}", "version": "1"},
        "categories": [CATEGORY],
        "images": list(images),
        "annotations": [{"id": number, **row} for number, row in enumerate(rows, start=first)],
    }
    write_json_atomic(folder / _json_name(split), content)
    return first + len(rows)


def _counts(parts: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    cells = [part["drawn"] for part in parts]
    return {"images": len(cells), "cells": sum(cells), "max_cells": max(cells, default=0)}
