"""Drawn smears whose truth is told as masks, boxes or points, and a model that knows their size."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from bccd_d2.io.label_images import read_label_file
from bccd_d2.masks.labels import cell_boxes
from bccd_d2.models.file import describe, stored_tensors, write_model_file
from bccd_d2.models.load import load_model
from bccd_d2.models.preprocessing import Preprocessing
from bccd_d2.synth.dataset import write_dataset


def sized_model(path: Path) -> Path:
    """The shipped model as one that says how large the cells were that it learned from."""
    model = load_model("", device="cpu")
    config = model.config.clone()
    config.defrost()
    config.INPUT.DIAMETER = 50.0
    config.INPUT.IMAGE_SCALE = 0.5
    point = {"score_threshold": model.score_threshold, "origin": "a test"}
    described = describe("sized", config, point, Preprocessing.of(config).state_dict())
    write_model_file(path, stored_tensors(model.net.state_dict()), described)
    return path


def smears(folder: Path, count: int) -> Path:
    """A folder of images, and beside it masks, boxes (YOLO) and points of their cells."""
    root = write_dataset(
        folder / "drawn", n_train=count, n_test=1, seed=3, size=(320, 400), n_cells=9, workers=1
    )
    for kind in ("images", "labels", "boxes", "points"):
        (folder / kind).mkdir()
    (folder / "classes.txt").write_text("RBC\n")
    for number, file in enumerate(sorted((root / "train" / "original").glob("*.png"))):
        image, name = cv2.imread(str(file)), f"smear{number}"
        labels = read_label_file(root / "train" / "labels" / file.name)
        cv2.imwrite(str(folder / "images" / f"{name}.png"), image)
        cv2.imwrite(str(folder / "labels" / f"{name}.png"), labels.astype(np.uint16))
        height, width = labels.shape
        boxes, points = [], []
        for x0, y0, x1, y1 in cell_boxes(labels):
            middle = (x0 + x1) / 2, (y0 + y1) / 2
            points.append(f"{middle[0]:.0f} {middle[1]:.0f} 0\n")
            boxes.append(f"0 {middle[0] / width} {middle[1] / height} "
                         f"{(x1 - x0) / width} {(y1 - y0) / height}\n")  # fmt: skip
        (folder / "boxes" / f"{name}.txt").write_text("".join(boxes))
        (folder / "points" / f"{name}.txt").write_text("".join(points))
    return folder
