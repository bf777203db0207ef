"""True cells of a converted split, read from its COCO json."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bccd_d2.masks.cells import Cells
from bccd_d2.masks.coco import CONVERT_AGAIN, read_coco


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
    images = sorted(read_coco(json_file), key=lambda image: image.entry["id"])
    try:
        truth = {
            image.entry["id"]: TrueImage(
                image.entry["file_name"], Cells.from_coco(image.annotations, image.size)
            )
            for image in images
        }
    except (ValueError, KeyError) as error:
        raise ValueError(
            f"{json_file} is no COCO json with RLE masks ({error}); {CONVERT_AGAIN}"
        ) from error
    if not truth:
        raise ValueError(f"{json_file} holds no images; {CONVERT_AGAIN} with other splits")
    return truth
