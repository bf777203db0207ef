"""What the converter left about a dataset, read for its page: audit, cells, file names."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bccd_d2.masks.cells import Cells

SPLITS = ("train", "val", "test")  # folds hold the same images again


@dataclass(frozen=True, eq=False)
class DatasetImage:
    """One image of a converted dataset.

    Attributes:
        row: its line of the audit: split, width, height, cells, covered_percent, mean_rgb, ...
        path: of the image file.
        cells: as annotated.
        labels: (N,) int64 their values in the label map.
        border: (N,) bool, they touch the image's edge.
        clump: (N,) bool, the audit suspects several cells in one.
    """

    row: Mapping[str, Any]
    path: Path
    cells: Cells
    labels: np.ndarray
    border: np.ndarray
    clump: np.ndarray


@dataclass(frozen=True, eq=False)
class DatasetFiles:
    """A converted dataset: dataset.json, audit.json, and its images by name of file."""

    folder: Path
    description: Mapping[str, Any]
    audit: Mapping[str, Any]
    images: Mapping[str, DatasetImage]

    def splits(self) -> list[str]:
        """The splits that hold images, in the order train, val, test."""
        used = {image.row["split"] for image in self.images.values()}
        return [split for split in SPLITS if split in used]

    def in_split(self, split: str) -> list[DatasetImage]:
        """Its images in the order of the audit."""
        return [image for image in self.images.values() if image.row["split"] == split]


def read_dataset(folder: str | Path) -> DatasetFiles:
    """Read a converted dataset's audit and annotations; no image is opened.

    Raises:
        FileNotFoundError: the folder is no converted dataset.
        ValueError: a file in it is broken, or the audit is not of these annotations.
    """
    folder = Path(folder)
    description, audit = (_read(folder / name) for name in ("dataset.json", "audit.json"))
    kind = description.get("annotations", "masks") if isinstance(description, Mapping) else "masks"
    if kind != "masks":
        raise ValueError(
            f"{folder}: this dataset has {kind}, no masks to show; its figures are in audit.txt"
        )
    try:
        found = {}
        for split in SPLITS:
            if split in description["splits"]:
                content = _read(folder / description["splits"][split]["json"])
                found |= _split_images(content)
        root = Path(os.path.abspath(folder / description["image_root"]))
        suspects = {
            item["file"]: set(item["labels"]) for item in audit["findings"]["suspected_clumps"]
        }
        images = {}
        for row in audit["images"]:
            cells, labels, border = found[row["file"]]
            clump = np.isin(labels, list(suspects.get(row["file"], ())))
            images[row["file"]] = DatasetImage(
                row, root / row["file"], cells, labels, border, clump
            )
    except (KeyError, TypeError) as error:
        raise ValueError(
            f"{folder}: audit and annotations do not fit ({type(error).__name__}: {error}); "
            "convert the dataset again"
        ) from error
    return DatasetFiles(folder, description, audit, images)


def _split_images(content: Mapping[str, Any]) -> dict[str, tuple[Cells, np.ndarray, np.ndarray]]:
    by_id: dict[int, list[dict]] = {image["id"]: [] for image in content["images"]}
    for annotation in content["annotations"]:
        if not annotation.get("iscrowd", 0):
            by_id[annotation["image_id"]].append(annotation)
    found = {}
    for image in content["images"]:
        annotations: Sequence[Mapping[str, Any]] = by_id[image["id"]]
        cells = Cells.from_coco(annotations, (image["height"], image["width"]))
        labels = np.array([a["label"] for a in annotations], dtype=np.int64)
        border = np.array([a["touches_border"] for a in annotations], dtype=bool)
        found[image["file_name"]] = (cells, labels, border)
    return found


def _read(path: Path) -> Any:
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} does not exist; give a folder that bccd convert wrote"
        )
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is broken ({error}); convert the dataset again") from error
