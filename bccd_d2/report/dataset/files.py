"""What the converter left about a dataset, read for its page: audit, cells, file names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bccd_d2.io.dataset_file import image_root, max_value, read_description, split_json
from bccd_d2.io.images import read_image
from bccd_d2.io.records import confined, read_json
from bccd_d2.masks.cells import Cells
from bccd_d2.masks.coco import CONVERT_AGAIN, read_coco

_COUNT = range(1 << 40)
_EMPTY = {str: None}
_PERCENTILES = ({"1": float, "50": float, "99": float}, _EMPTY)
_SUMMARY = {
    "images": _COUNT,
    "cells": _COUNT,
    "cells_per_image": {"min": _COUNT, "max": _COUNT, "mean": float, "50?": float},
    "share_of_images_over_100_cells": float,
    "covered": ({"0": float, "50": float, "100": float}, _EMPTY),
    "cell_area": _PERCENTILES,
    "border_cells": float,
    "suspected_clumps": _COUNT,
    "categories?": {str: _COUNT},
}
_TWINS = {"files": [str, str], "splits": [str, str], "across_splits": bool,
          "differing_bits": _COUNT}  # fmt: skip
_COLOUR = [float, float, float]
AUDIT = {  # of the converter
    "summary": {"all": _SUMMARY, "train?": _SUMMARY, "val?": _SUMMARY, "test?": _SUMMARY},
    "findings": {
        "skipped": [{"file": str, "kind": str, "reason": str}],
        "near_duplicates": [_TWINS],
        "images_without_cells": [str],
        "masks_of_one_cell_over_everything": [str],
        "masks_with_more_than_two_grey_values": [{"file": str, "grey_values": _COUNT}],
        "suspected_clumps": [{"file": str, "labels": [int]}],
    },
    "images": [
        {"file": str, "split": str, "width": _COUNT, "height": _COUNT, "cells": _COUNT,
         "covered_percent": float, "border_cells": _COUNT, "mean_rgb": _COLOUR, "std_rgb": _COLOUR}
    ],
}  # fmt: skip

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
        max_value: what the dataset says becomes 255 in images of more than 8 bits.
    """

    row: Mapping[str, Any]
    path: Path
    cells: Cells
    labels: np.ndarray
    border: np.ndarray
    clump: np.ndarray
    max_value: float | None = None

    def read(self) -> np.ndarray:
        """The picture, (H, W, 3) uint8 RGB; see `bccd_d2.io.images.read_plane`."""
        return read_image(self.path, max_value=self.max_value)


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
    description = read_description(folder)
    kind = description.get("annotations", "masks")
    if kind != "masks":
        raise ValueError(
            f"{folder}: this dataset has {kind}, no masks to show; its figures are in audit.txt"
        )
    audit = read_json(folder / "audit.json", AUDIT, CONVERT_AGAIN)
    found: dict[str, tuple[Cells, np.ndarray, np.ndarray]] = {}
    for split in SPLITS:
        if split in description["splits"]:
            found |= _split_images(split_json(folder, split, description))
    root = image_root(folder, description)
    findings = audit["findings"]["suspected_clumps"]
    suspects = {item["file"]: set(item["labels"]) for item in findings}
    given = max_value(description)
    images = {}
    for row in audit["images"]:
        file = row["file"]
        if file not in found:
            raise ValueError(f"{folder}: the audit's {file} is not annotated; {CONVERT_AGAIN}")
        cells, labels, border = found[file]
        clump = np.isin(labels, list(suspects.get(file, ())))
        images[file] = DatasetImage(
            row, confined(root, file), cells, labels, border, clump, given
        )
    twins = {name for pair in audit["findings"]["near_duplicates"] for name in pair["files"]}
    unknown = {row["split"] for row in audit["images"]} - audit["summary"].keys()
    if unknown or twins - images.keys():
        wrong = ", ".join(sorted(unknown | (twins - images.keys())))
        raise ValueError(f"{folder / 'audit.json'} does not fit itself: {wrong}; {CONVERT_AGAIN}")
    return DatasetFiles(folder, description, audit, images)


def _split_images(path: Path) -> dict[str, tuple[Cells, np.ndarray, np.ndarray]]:
    found = {}
    for image in read_coco(path):
        annotations = [a for a in image.annotations if not a.get("iscrowd", 0)]
        try:
            cells = Cells.from_coco(annotations, image.size)
            labels = np.array([a["label"] for a in annotations], dtype=np.int64)
            border = np.array([a["touches_border"] for a in annotations], dtype=bool)
        except (ValueError, KeyError) as error:
            raise ValueError(
                f"{path}: {image.entry['file_name']} ({type(error).__name__}: {error}); "
                f"{CONVERT_AGAIN}"
            ) from error
        found[image.entry["file_name"]] = (cells, labels, border)
    return found
