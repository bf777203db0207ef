"""True cells of a converted split, read from its COCO json: as masks, boxes or points."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bccd_d2.evaluation.boxes import TrueBoxes
from bccd_d2.masks.cells import Cells
from bccd_d2.masks.classes import CELL
from bccd_d2.masks.coco import CONVERT_AGAIN, CocoImage, read_typed_coco
from bccd_d2.masks.polygons import segmentation_to_rle


@dataclass(frozen=True)
class TrueImage:
    """One image's true cells and its file name relative to the image root.

    Attributes:
        cells: a `Cells` of masks, `TrueBoxes`, or (N, 2) points x, y.
        image_size: height, width.
        ignored: masks of what is no cell and no background (crowds); None for boxes and points.
        categories: what each of the cells is called.
    """

    file_name: str
    cells: Any
    image_size: tuple[int, int]
    ignored: Cells | None = None
    categories: tuple[str, ...] = ()


def read_truth(json_file: str | Path) -> Mapping[int, TrueImage]:
    """The images of a COCO json with masks by their id, in ascending order of id.

    An image without annotations has no cells.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is no COCO json, holds no images, or has boxes or points in place of masks.
    """
    return _read(json_file, "masks", _masks)


def read_true_boxes(json_file: str | Path) -> Mapping[int, TrueImage]:
    """As `read_truth`, for the boxes of a dataset; masks have boxes too.

    Raises:
        FileNotFoundError, ValueError: see `read_truth`.
    """
    return _read(json_file, "boxes", _boxes)


def read_true_points(json_file: str | Path) -> Mapping[int, TrueImage]:
    """As `read_truth`, for the points of a dataset; ignored ones are left out.

    Raises:
        FileNotFoundError, ValueError: see `read_truth`.
    """
    return _read(json_file, "points", _points)


def _masks(image: CocoImage) -> tuple[Cells, Cells]:
    crowds = [
        segmentation_to_rle(annotation["segmentation"], image.size)
        for annotation in image.annotations
        if annotation.get("iscrowd")
    ]
    return Cells.from_coco(image.annotations, image.size), Cells.from_rles(crowds, image.size)


def _boxes(image: CocoImage) -> tuple[TrueBoxes, None]:
    corners = np.array([row["bbox"] for row in image.annotations], dtype=np.float64).reshape(-1, 4)
    corners[:, 2:] += corners[:, :2]
    crowd = np.array([bool(row.get("iscrowd")) for row in image.annotations], dtype=bool)
    return TrueBoxes(corners[~crowd], corners[crowd], image.size), None


def _points(image: CocoImage) -> tuple[np.ndarray, None]:
    kept = [row["point"] for row in image.annotations if not row.get("iscrowd")]
    return np.array(kept, dtype=np.float64).reshape(-1, 2), None


def _read(
    json_file: str | Path, kind: str, cells_of: Callable[[CocoImage], tuple[Any, Cells | None]]
) -> Mapping[int, TrueImage]:
    listed, names = read_typed_coco(json_file)
    images = sorted(listed, key=lambda image: image.entry["id"])
    _check_kind(json_file, images, kind)
    truth = {}
    for image in images:
        try:
            cells, ignored = cells_of(image)
        except (ValueError, KeyError) as error:
            raise ValueError(
                f"{json_file} is no COCO json with {kind} ({error}); {CONVERT_AGAIN}"
            ) from error
        name = image.entry["file_name"]
        called = tuple(
            names.get(row.get("category_id", 0), CELL)
            for row in image.annotations
            if not row.get("iscrowd")
        )
        truth[image.entry["id"]] = TrueImage(name, cells, image.size, ignored, called)
    if not truth:
        raise ValueError(f"{json_file} holds no images; {CONVERT_AGAIN} with other splits")
    return truth


def _check_kind(json_file: str | Path, images: list[CocoImage], wanted: str) -> None:
    """Refuse a json whose annotations cannot be taken as ``wanted``; masks can be boxes."""
    first = next((row for image in images for row in image.annotations), None)
    if first is None:
        return
    has = {"points": "point" in first, "boxes": "bbox" in first, "masks": "segmentation" in first}
    if not has[wanted]:
        kind = next((name for name, found in has.items() if found), "annotations without a place")
        raise ValueError(
            f"{json_file}: this dataset has {kind}, no {wanted}; it serves `bccd train "
            f"--eval-only` and `bccd compare`, which score by what it has"
        )
