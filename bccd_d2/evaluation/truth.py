"""True cells of a converted split, read from its COCO json."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bccd_d2.masks.cells import Cells


@dataclass(frozen=True)
class TrueImage:
    """One image's true cells and its file name relative to the image root."""

    file_name: str
    cells: Cells


def read_truth(json_file: str | Path) -> Mapping[int, TrueImage]:
    """The images of a COCO json with RLE masks by their id, in ascending order of id.

    Crowd annotations are left out; an image without annotations has no cells.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is no COCO json, holds no images, or a mask is no RLE.
    """
    path = Path(json_file)
    if not path.is_file():
        raise FileNotFoundError(f"ground truth {path} does not exist; convert the dataset again")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        annotations: dict[int, list[dict]] = {image["id"]: [] for image in content["images"]}
        for annotation in content["annotations"]:
            annotations[annotation["image_id"]].append(annotation)
        images = sorted(content["images"], key=lambda image: image["id"])
        truth = {
            image["id"]: TrueImage(
                image["file_name"],
                Cells.from_coco(annotations[image["id"]], (image["height"], image["width"])),
            )
            for image in images
        }
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} is no COCO json with RLE masks ({type(error).__name__}: {error}); convert the "
            f"dataset again"
        ) from error
    if not truth:
        raise ValueError(f"{path} holds no images; convert the dataset again with other splits")
    return truth
