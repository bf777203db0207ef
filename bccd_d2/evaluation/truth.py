"""True cells of a converted split, read from its COCO json: as masks, boxes or points."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bccd_d2.evaluation.boxes import TrueBoxes
from bccd_d2.masks.cells import Cells
from bccd_d2.masks.rle import rle_from_json

Size = tuple[int, int]


@dataclass(frozen=True)
class TrueImage:
    """One image's true cells and its file name relative to the image root.

    Attributes:
        cells: a `Cells` of masks, `TrueBoxes`, or (N, 2) points x, y.
        image_size: height, width.
        ignored: masks of what is no cell and no background (crowds); None for boxes and points.
    """

    file_name: str
    cells: Any
    image_size: Size
    ignored: Cells | None = None


def read_truth(json_file: str | Path) -> Mapping[int, TrueImage]:
    """The images of a COCO json with RLE masks by their id, in ascending order of id.

    An image without annotations has no cells.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is no COCO json, holds no images, has boxes or points in place of masks, or a
            mask is no RLE.
    """
    return _read(json_file, "masks", lambda rows, size: Cells.from_coco(rows, size), _ignored)


def read_true_boxes(json_file: str | Path) -> Mapping[int, TrueImage]:
    """As `read_truth`, for the boxes of a dataset; masks have boxes too.

    Raises:
        FileNotFoundError, ValueError: see `read_truth`.
    """

    def boxes(rows: Sequence[Mapping[str, Any]], size: Size) -> TrueBoxes:
        corners = np.array([row["bbox"] for row in rows], dtype=np.float64).reshape(-1, 4)
        corners[:, 2:] += corners[:, :2]
        crowd = np.array([bool(row.get("iscrowd")) for row in rows], dtype=bool)
        return TrueBoxes(corners[~crowd], corners[crowd], size)

    return _read(json_file, "boxes", boxes)


def read_true_points(json_file: str | Path) -> Mapping[int, TrueImage]:
    """As `read_truth`, for the points of a dataset; ignored ones are left out.

    Raises:
        FileNotFoundError, ValueError: see `read_truth`.
    """

    def points(rows: Sequence[Mapping[str, Any]], _: Size) -> np.ndarray:
        kept = [row["point"] for row in rows if not row.get("iscrowd")]
        return np.array(kept, dtype=np.float64).reshape(-1, 2)

    return _read(json_file, "points", points)


def _ignored(rows: Sequence[Mapping[str, Any]], size: Size) -> Cells:
    return Cells.from_rles(
        [rle_from_json(row["segmentation"]) for row in rows if row.get("iscrowd")], size
    )


def _read(
    json_file: str | Path,
    kind: str,
    cells_of: Callable[[Sequence[Mapping[str, Any]], Size], Any],
    ignored_of: Callable[[Sequence[Mapping[str, Any]], Size], Cells | None] = lambda *_: None,
) -> Mapping[int, TrueImage]:
    path = Path(json_file)
    if not path.is_file():
        raise FileNotFoundError(f"ground truth {path} does not exist; convert the dataset again")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        check_kind(path, content, kind)
        annotations: dict[int, list[dict]] = {image["id"]: [] for image in content["images"]}
        for annotation in content["annotations"]:
            annotations[annotation["image_id"]].append(annotation)
        images = sorted(content["images"], key=lambda image: image["id"])
        truth = {}
        for image in images:
            rows, size = annotations[image["id"]], (image["height"], image["width"])
            truth[image["id"]] = TrueImage(
                image["file_name"], cells_of(rows, size), size, ignored_of(rows, size)
            )
    except WrongKindError:
        raise
    except (ValueError, KeyError, TypeError) as error:
        what = {"masks": "RLE masks", "boxes": "boxes", "points": "points"}[kind]
        raise ValueError(
            f"{path} is no COCO json with {what} ({type(error).__name__}: {error}); convert the "
            f"dataset again"
        ) from error
    if not truth:
        raise ValueError(f"{path} holds no images; convert the dataset again with other splits")
    return truth


def check_image_size(size: Size, predictions: Cells) -> None:
    """Refuse predictions of another image size than the truth's.

    Raises:
        ValueError: they are.
    """
    if tuple(size) != predictions.image_size:
        raise ValueError(
            f"predictions must be of the truth's image size {tuple(size)}, got "
            f"{predictions.image_size}; scale them to the original image first"
        )


class WrongKindError(ValueError):
    """A dataset whose annotations are of another kind than the work needs."""


def check_kind(path: Path, content: Mapping[str, Any], wanted: str) -> None:
    """Refuse a json whose annotations cannot be taken as ``wanted``; masks can be boxes.

    Raises:
        WrongKindError: they cannot.
    """
    info = content.get("info") if isinstance(content, Mapping) else None
    kind = info.get("annotations", "masks") if isinstance(info, Mapping) else "masks"
    if kind != wanted and (kind, wanted) != ("masks", "boxes"):
        raise WrongKindError(
            f"{path}: this dataset has {kind}, no {wanted}; it serves `bccd train --eval-only` and "
            f"`bccd compare`, which score by what it has"
        )
