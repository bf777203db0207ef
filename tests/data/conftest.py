"""A converted dataset written by hand, so that these tests need no converter."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from bccd_d2.io.label_images import write_label_map
from bccd_d2.masks.labels import cell_areas, cell_boxes, cell_touches_border
from bccd_d2.masks.rle import label_map_to_rles, rle_to_json


def discs(size, centres, radius) -> np.ndarray:
    """(H, W) int32 label map of discs at centres (x, y)."""
    rows, columns = np.mgrid[: size[0], : size[1]]
    label_map = np.zeros(size, dtype=np.int32)
    for label, (x, y) in enumerate(centres, start=1):
        label_map[(columns - x) ** 2 + (rows - y) ** 2 <= radius**2] = label
    return label_map


def paint(label_map: np.ndarray, seed: int = 0) -> np.ndarray:
    """(H, W, 3) uint8: every label its own strong colour on a light ground, so pixels show ids."""
    palette = np.random.default_rng(seed).integers(0, 200, size=(label_map.max() + 1, 3))
    palette[0] = (235, 225, 230)
    return palette.astype(np.uint8)[label_map]


def annotations_of(label_map: np.ndarray, image_id: int = 1) -> list[dict]:
    """COCO annotations of a label map, as the converter writes them."""
    boxes, areas = cell_boxes(label_map), cell_areas(label_map)
    border = cell_touches_border(label_map)
    return [
        {
            "id": image_id * 1000 + k,
            "image_id": image_id,
            "category_id": 1,
            "segmentation": rle_to_json(rle),
            "area": int(areas[k]),
            "bbox": [int(v) for v in (*boxes[k, :2], *(boxes[k, 2:] - boxes[k, :2]))],
            "iscrowd": 0,
            "touches_border": bool(border[k]),
            "label": k + 1,
            "rule": "component",
        }
        for k, rle in enumerate(label_map_to_rles(label_map))
    ]


def write_converted(folder: Path, splits: dict[str, list[np.ndarray]], root: Path) -> Path:
    """Write label maps, painted images and json of each split in the converted layout."""
    counts = {}
    for split, maps in splits.items():
        images, annotations = [], []
        for number, label_map in enumerate(maps, start=1):
            stem = f"{split} {number} é"
            name = f"{split}/original/{stem}.png"
            (root / split / "original").mkdir(parents=True, exist_ok=True)
            done, buffer = cv2.imencode(".png", paint(label_map, number)[..., ::-1])
            assert done
            (root / name).write_bytes(buffer.tobytes())
            label_file = f"labels/{split}/{stem}.png"
            write_label_map(folder / label_file, label_map)
            height, width = label_map.shape
            images.append(
                {"id": number, "file_name": name, "height": height, "width": width,
                 "label_file": label_file, "split": split}
            )  # fmt: skip
            annotations += annotations_of(label_map, number)
        content = {"images": images, "annotations": annotations, "info": {},
                   "categories": [{"id": 1, "name": "cell"}]}  # fmt: skip
        path = folder / f"annotations/instances_{split}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content), encoding="utf-8")
        cells = [int(label_map.max()) for label_map in maps]
        counts[split] = {"images": len(maps), "cells": sum(cells), "max_cells": max(cells)}
    description = {
        "format_version": 1, "name": "hand", "image_root": "../images", "options": {},
        "counts": counts, "versions": {},
        "splits": {s: {"json": f"annotations/instances_{s}.json"} for s in splits},
        "statistics": {"cell_area_percentiles": {"33": 300.0, "67": 400.0}},
    }  # fmt: skip
    (folder / "dataset.json").write_text(json.dumps(description), encoding="utf-8")
    return folder


CROWDED = [(x, y) for x in range(150, 280, 22) for y in range(20, 180, 22)]


@pytest.fixture(scope="module")
def hand_made(tmp_path_factory) -> Path:
    """Converted folder: train = a crowded right half and an empty image, val = fold = two discs."""
    base = tmp_path_factory.mktemp("hand made")
    crowded = discs((200, 300), [(30, 100), *CROWDED], 10)
    empty = np.zeros((180, 220), dtype=np.int32)
    pair = discs((120, 160), [(40, 40), (100, 60)], 15)
    splits = {"train": [crowded, empty], "val": [pair], "fold0_train": [pair]}
    return write_converted(base / "converted", splits, base / "images")
