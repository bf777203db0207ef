"""COCO json files of cells: read once, checked, grouped by image."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bccd_d2.io.records import check, confined, read_json
from bccd_d2.masks.rle import rle_from_json, rle_runs

CONVERT_AGAIN = "convert the dataset again"
EVALUATE_AGAIN = "evaluate again"
SIDE = range(1, 1 << 20)  # px
_ID = range(0, 1 << 63)
IMAGE = {
    "id": _ID,
    "file_name": str,
    "height": SIDE,
    "width": SIDE,
    "label_file?": str,
    "split?": str,
}
FILE = {"images": [IMAGE], "annotations": [dict], "categories?": [{"id": _ID, "name": str}]}
FLAG = (bool, range(0, 2))


@dataclass(frozen=True)
class CocoImage:
    """One image of a COCO json.

    Attributes:
        entry: its fields: id, file_name, height, width, and what else the file says of it.
        annotations: of this image, as the file has them; crowds are among them.
    """

    entry: Mapping[str, Any]
    annotations: list[Mapping[str, Any]]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width, in pixels."""
        return self.entry["height"], self.entry["width"]


def read_coco(path: str | Path, *, boxes: bool = False) -> list[CocoImage]:
    """The images of a COCO json of masks, in its order, each with its annotations.

    Args:
        boxes: every annotation must have a ``bbox``; else it may.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is broken, or says of an image or annotation what cannot be; the message
            names the file, the field and the remedy.
    """
    return read_typed_coco(path, boxes=boxes)[0]


def read_typed_coco(
    path: str | Path, *, boxes: bool = False
) -> tuple[list[CocoImage], dict[int, str]]:
    """As `read_coco`, and the names of the categories by their ids, in the order of the file.

    Raises:
        FileNotFoundError, ValueError: see `read_coco`; or a category stands twice.
    """
    content = read_json(path, FILE, CONVERT_AGAIN)
    listed = content.get("categories", [])
    names = {row["id"]: row["name"] for row in listed}
    try:
        if len(names) < len(listed) or len(set(names.values())) < len(names):
            raise ValueError("a category stands twice")
        return _grouped(content, boxes), names
    except ValueError as error:
        raise ValueError(f"{path}: {error}; {CONVERT_AGAIN}") from error


def read_results(
    path: str | Path, sizes: Mapping[int, tuple[int, int]], remedy: str = EVALUATE_AGAIN
) -> dict[int, list[dict[str, Any]]]:
    """The results of a COCO results json by image id; [] for an image without any.

    A ``bbox`` there is what a detector gave, so it is the ``detected_bbox`` too.

    Args:
        sizes: height and width of each image by its id.

    Raises:
        FileNotFoundError, ValueError: see `read_coco`; or a result is of no image in ``sizes``.
    """
    grouped: dict[int, list[dict[str, Any]]] = {image_id: [] for image_id in sizes}
    for index, result in enumerate(read_json(path, [dict], remedy)):
        try:
            check(result.get("score"), float, "score")
            image_id = _image_id(result, grouped)
            check_segmentation(result.get("segmentation"), sizes[image_id])
            if "bbox" in result:
                result = {"detected_bbox": result["bbox"], **result}
            _check_detected(result)
        except ValueError as error:
            raise ValueError(f"{path}: result [{index}]: {error}; {remedy}") from error
        grouped[image_id].append(result)
    return grouped


def check_segmentation(found: Any, size: tuple[int, int]) -> None:
    """Pass an RLE that fills an image of ``size`` (height, width), or polygons.

    A broken RLE would lead pycocotools, which is written in C, out of its memory.

    Raises:
        ValueError: it is neither.
    """
    if isinstance(found, list):
        check(found, [[float]], "segmentation")
        if not found or any(len(polygon) < 6 or len(polygon) % 2 for polygon in found):
            raise ValueError("segmentation: a polygon needs x and y of three points or more")
        return
    rle = rle_from_json(found)
    if tuple(rle["size"]) != tuple(size):
        raise ValueError(f"segmentation is of size {rle['size']} in an image of {list(size)}")
    rle_runs(rle)


def _grouped(content: Mapping[str, Any], boxes: bool) -> list[CocoImage]:
    found: dict[int, CocoImage] = {}
    names = set()
    for index, image in enumerate(content["images"]):
        if image["id"] in found or image["file_name"] in names:
            raise ValueError(f"images[{index}] has the id or file_name of another image")
        for key in ("file_name", "label_file"):
            confined("the dataset", image.get(key, "-"))
        names.add(image["file_name"])
        found[image["id"]] = CocoImage(image, [])
    for index, annotation in enumerate(content["annotations"]):
        try:
            image = found[_image_id(annotation, found)]
            _check_annotation(annotation, image.size)
            if boxes and "bbox" not in annotation:
                raise ValueError("bbox is missing")
        except ValueError as error:
            raise ValueError(f"annotations[{index}]: {error}") from error
        image.annotations.append(annotation)
    return list(found.values())


def _image_id(record: Mapping[str, Any], known: Mapping[int, Any]) -> int:
    image_id = record.get("image_id")
    if type(image_id) is not int or image_id not in known:
        raise ValueError(f"image_id {image_id!r:.40} is none of the images'")
    return image_id


def _check_detected(record: Mapping[str, Any]) -> None:
    if "detected_bbox" in record:
        check(record["detected_bbox"], [float] * 4, "detected_bbox")


def _check_annotation(annotation: Mapping[str, Any], size: tuple[int, int]) -> None:
    box = annotation.get("bbox", [0, 0, 1, 1])
    if not (isinstance(box, list) and len(box) == 4 and all(map(_is_number, box))):
        raise ValueError(f"bbox must be four finite numbers x, y, width, height, got {box!r:.60}")
    crowd = annotation.get("iscrowd", 0)
    if crowd not in (0, 1):
        raise ValueError(f"iscrowd must be 0 or 1, got {crowd!r:.40}")
    if not crowd and min(box[2:]) <= 0:
        raise ValueError(f"bbox must have a width and height above 0, got {box}")
    for key, shape in (("area", float), ("label", range(0, 1 << 31)), ("touches_border", FLAG)):
        if key in annotation:
            check(annotation[key], shape, key)
    if "point" in annotation:
        check(annotation["point"], [float, float], "point")
    _check_detected(annotation)
    if "segmentation" in annotation:
        check_segmentation(annotation["segmentation"], size)


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value) and abs(value) < 1e9
