"""The json of the Broad Bioimage Benchmark Collection's set 41: boxes by rows and columns."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bccd_d2.data.convert.formats.common import DEFAULT_CATEGORY, ImageShapes, Shape
from bccd_d2.data.convert.formats.files import FormatError, numbers, read_json
from bccd_d2.data.convert.pairing import Skip

DIFFICULT = "difficult"  # neither clearly this type nor that: no cell to score


def is_bbbc041(content: Any) -> bool:
    """Whether a json is a list of images with objects."""
    first = content[0] if isinstance(content, list) and content else None
    return isinstance(first, Mapping) and "image" in first and "objects" in first


def read_bbbc041(path: str | Path) -> tuple[list[ImageShapes], list[Skip]]:
    """What the json says about each of its images.

    Raises:
        FileNotFoundError: no such file.
        FormatError: it is something else.
    """
    file = Path(path)
    content = read_json(file)
    if not is_bbbc041(content):
        raise FormatError(
            file, "", "is no list of images with 'objects'", "give COCO json with --coco"
        )
    images, skips = [], []
    for number, entry in enumerate(content):
        try:
            images.append(_image(entry, file, f"[{number}]"))
        except FormatError as error:
            skips.append(Skip(file.as_posix(), "unreadable annotations", str(error)))
    return images, skips


def _image(entry: Any, file: Path, place: str) -> ImageShapes:
    image = entry.get("image") if isinstance(entry, Mapping) else None
    name = image.get("pathname") if isinstance(image, Mapping) else None
    if not isinstance(image, Mapping) or not isinstance(name, str) or not name:
        raise FormatError(file, f"{place}.image.pathname", f"is {name!r}, no name", "correct it")
    shape, size = image.get("shape"), None
    if isinstance(shape, Mapping):
        sides = (shape.get("r"), shape.get("c"))
        height, width = numbers(sides, 2, file, f"{place}.image.shape")
        size = (int(height), int(width))
    objects = entry.get("objects")
    shapes, error = [], None
    try:
        if not isinstance(objects, list):
            raise FormatError(file, f"{place}.objects", "is no list", "correct it")
        shapes = [_shape(one, file, f"{place}.objects[{n}]") for n, one in enumerate(objects)]
    except FormatError as broken:
        shapes, error = [], str(broken)
    return ImageShapes(name, file, tuple(shapes), size, error=error)


def _shape(found: Any, file: Path, place: str) -> Shape:
    try:
        low, high = found["bounding_box"]["minimum"], found["bounding_box"]["maximum"]
        corners = (low["c"], low["r"], high["c"], high["r"])
        category = str(found.get("category") or DEFAULT_CATEGORY)
    except (KeyError, TypeError, AttributeError) as error:
        raise FormatError(
            file, f"{place}.bounding_box", "needs minimum and maximum with r and c", "correct it"
        ) from error
    x0, y0, x1, y1 = numbers(corners, 4, file, f"{place}.bounding_box")
    return Shape(category, box=(x0, y0, x1, y1), ignored=category == DIFFICULT)
