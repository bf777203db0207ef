"""A folder as `bccd predict` leaves it, as far as `bccd count` reads it."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np

from bccd_d2.export.table import measure, write_csv
from bccd_d2.inference.batch.outputs import write_counts
from bccd_d2.io.label_images import write_label_map
from bccd_d2.masks.cells import Cells

SHA = "f" * 64


def write_results(folder: Path, images: list, label_maps: list, types: list | None = None) -> Path:
    """What `bccd predict` would leave, as far as `bccd count` reads it."""
    rows = []
    for number, (image, labels) in enumerate(zip(images, label_maps, strict=True)):
        name, cells = f"field_{number:02d}", Cells.from_label_map(labels)
        path = folder / "images" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), image[..., ::-1])
        table = measure(cells, image)
        if types is not None:
            table["type"] = np.array(types[number], dtype=object)
        (folder / "out" / "csv").mkdir(parents=True, exist_ok=True)
        (folder / "out" / "labels").mkdir(exist_ok=True)
        write_csv(folder / "out" / "csv" / f"{name}.csv", table)
        write_label_map(folder / "out" / "labels" / f"{name}.png", labels)
        height, width = labels.shape
        rows.append({"image": name, "file": str(path), "page": 1, "height": height,
                     "width": width, "cells": len(cells), "check": ""})  # fmt: skip
    write_counts(folder / "out" / "counts.csv", rows)
    model = {"name": "drawn", "sha256": SHA, "score_threshold": 0.5}
    run = {"models": [model], "looked_at": {"score_threshold": 0.5, "views": [{}]}, "options": {},
           "failures": []}  # fmt: skip
    (folder / "out" / "run.json").write_text(json.dumps(run))
    return folder / "out"
