"""The files of a converted dataset whose masks are weak labels (see `data.weak_labels`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bccd_d2.data.ignored import LEFT_OUT
from bccd_d2.data.weak_labels import pair_boxes
from bccd_d2.io.atomic import write_json_atomic
from bccd_d2.io.dataset_file import DESCRIPTION
from bccd_d2.masks.classes import CELL
from bccd_d2.masks.labels import cell_areas, cell_boxes, touches_border
from bccd_d2.masks.rle import label_map_to_rles, rle_to_json

SAME = 0.3  # IoU of a cell's box with the annotated one that it was drawn from, at least
WHOLE = 0.7  # the same for an outline that shows the whole cell, and not what others leave of it


def weak_annotations(
    label_map: np.ndarray, given: Sequence[Mapping[str, Any]] = ()
) -> list[dict[str, Any]]:
    """COCO annotations, without ids, of the cells in an (H, W) uint16 label map, in label order.

    Args:
        given: the annotations, boxes or points, that the cells were drawn from; each cell has the
            ``category`` of its own.
    """
    cells = np.where(label_map < LEFT_OUT, label_map, 0).astype(np.int32)
    boxes, areas = cell_boxes(cells), cell_areas(cells)
    border = touches_border(boxes, cells.shape)
    names = _categories(cells, boxes, given)
    return [
        {
            "iscrowd": 0,
            "category": names[i],
            "segmentation": rle_to_json(rle),
            "area": int(areas[i]),
            "bbox": [*boxes[i, :2].tolist(), *(boxes[i, 2:] - boxes[i, :2]).tolist()],
            "touches_border": bool(border[i]),
            "label": i + 1,
            "rule": "weak",
        }
        for i, rle in enumerate(label_map_to_rles(cells))
    ]


def boxed_annotations(
    label_map: np.ndarray, given: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """COCO annotations, without ids, of all annotated boxes, in their order.

    ``label`` is the cell of an (H, W) uint16 label map whose outline fills the box, 0 where none
    does; ``area`` is the box's.

    Args:
        given: annotations with ``bbox`` and perhaps ``category``.
    """
    cells = np.where(label_map < LEFT_OUT, label_map, 0).astype(np.int32)
    theirs = np.array([row["bbox"] for row in given], dtype=float).reshape(-1, 4)
    theirs[:, 2:] += theirs[:, :2]
    border = touches_border(theirs, cells.shape)
    fitting = pair_boxes(cell_boxes(cells).astype(float), theirs, WHOLE)
    return [
        {
            "iscrowd": 0,
            "category": row.get("category", CELL),
            "area": float(row["bbox"][2] * row["bbox"][3]),
            "bbox": list(row["bbox"]),
            "touches_border": bool(at_edge),
            "label": int(place) + 1,
        }
        for row, at_edge, place in zip(given, border, fitting, strict=True)
    ]


def _categories(
    cells: np.ndarray, boxes: np.ndarray, given: Sequence[Mapping[str, Any]]
) -> list[str]:
    """What each of N cells is called, by the box that its own fits best, or the point in it."""
    names = [CELL] * len(boxes)
    said = [row.get("category", CELL) for row in given]
    if given and "point" in given[0]:
        height, width = cells.shape
        for row, name in zip(given, said, strict=True):
            x, y = row["point"]
            label = cells[min(int(y), height - 1), min(int(x), width - 1)]
            if label:
                names[label - 1] = name
    elif given and len(boxes):
        theirs = np.array([row["bbox"] for row in given], dtype=float)
        theirs[:, 2:] += theirs[:, :2]
        for name, cell in zip(said, pair_boxes(boxes.astype(float), theirs, SAME), strict=True):
            if cell >= 0:
                names[cell] = name
    return names


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
    rows = (row for part in every for row in part["annotations"])
    names = sorted({row["category"] for row in rows}) or [CELL]
    first_image, first = 0, 1
    for split, listed in parts.items():
        own = entries[first_image : first_image + len(listed)]
        given = [part["annotations"] for part in listed]
        first = _write_split(folder, split, (own, given), names, first)
        first_image += len(listed)
    figures = ("drawn", "missed", "ignored")
    drawn = [entry | {key: part[key] for key in figures}
             for entry, part in zip(entries, every, strict=True)]  # fmt: skip
    audit = {"format_version": 1, "images": drawn, "skipped": list(skipped)}
    write_json_atomic(folder / "audit.json", audit, indent=1)
    description = {
        "format_version": 1,
        "annotations": "masks",  # ``said`` may know better
        "complete": False,
        "categories": names,
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
    parts: tuple[Sequence[Mapping[str, Any]], Sequence[Sequence[Mapping[str, Any]]]],
    names: Sequence[str],
    first: int,
) -> int:
    """Write a split's json, its annotations numbered from ``first``; the number after the last.

    Args:
        parts: the images, and the annotations of each.
        names: of the categories.
    """
    images, annotations = parts
    ids = {name: number for number, name in enumerate(names, start=1)}
    rows = [
        {"image_id": image["id"], "category_id": ids[row["category"]], **row}
        for image, listed in zip(images, annotations, strict=True)
        for row in listed
    ]
    content = {
        "info": {"description": f"weak labels, split {split}", "version": "1"},
        "categories": [
            {"id": number, "name": name, "supercategory": "blood"} for name, number in ids.items()
        ],
        "images": list(images),
        "annotations": [{"id": number, **row} for number, row in enumerate(rows, start=first)],
    }
    write_json_atomic(folder / _json_name(split), content)
    return first + len(rows)


def _counts(parts: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    cells = [len(part["annotations"]) for part in parts]
    return {"images": len(cells), "cells": sum(cells), "max_cells": max(cells, default=0)}
