"""Lists of points: text or CSV with x, y and perhaps a class, one file an image or one for all.

A first line of names is optional. Without one the columns are x, y, class. With one they are found
by name, in any order and among others, so tables of ImageJ and of this project's predictions do.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from pathlib import Path

from bccd_d2.data.convert.formats.common import DEFAULT_CATEGORY, ImageShapes, Shape
from bccd_d2.data.convert.formats.files import FormatError, files_of, numbers, read_text, split_of
from bccd_d2.data.convert.formats.yolo import NO_LABELS, class_names
from bccd_d2.data.convert.pairing import Skip

COLUMNS = {
    "x": ("x", "x_px", "centroid_x", "center_x", "centre_x", "cx", "xm"),
    "y": ("y", "y_px", "centroid_y", "center_y", "centre_y", "cy", "ym"),
    "class": ("class", "category", "type", "class_name", "class_id"),
    "image": ("image", "filename", "file_name", "file", "image_name"),
}


def read_points(
    path: str | Path, classes: str | Path | None = None
) -> tuple[list[ImageShapes], list[Skip]]:
    """What a list of points, or each of a folder, says about the image of its name.

    With a column ``image`` one file serves many images.

    Args:
        classes: names of class numbers, one a line from class 0; None looks for a classes.txt.

    Raises:
        FileNotFoundError: no such file.
        FormatError: a file for many images, or that of the names, is broken.
    """
    path = Path(path)
    names = class_names(path, classes)
    files = files_of(path, ".txt", ".csv", ".tsv")
    images = []
    for file in files:
        if path.is_dir() and file.name.lower() in NO_LABELS:
            continue
        inside = file.relative_to(path) if path.is_dir() else Path(file.name)
        name, split = inside.with_suffix("").as_posix(), split_of(inside)
        try:
            found = _read_file(file, names)
        except FormatError as error:
            if len(files) == 1:
                raise
            images.append(ImageShapes(name, file, split=split, error=str(error)))
            continue
        for image, shapes in found.items():
            images.append(ImageShapes(image or name, file, tuple(shapes), split=split))
    return images, []


def _read_file(file: Path, names: dict[int, str]) -> dict[str, list[Shape]]:
    """Points by the image's name; "" where the file is of one image and does not name it."""
    lines = [line for line in read_text(file).splitlines() if line.strip()]
    rows = [_fields(line, lines[0]) for line in lines]
    order, has_head = _columns(rows[0], file) if rows else ({"x": 0, "y": 1}, False)
    found: dict[str, list[Shape]] = {} if "image" in order else {"": []}
    for number, row in enumerate(rows[has_head:], start=1 + has_head):
        place = f"line {number}"
        if len(row) <= max(order.values()) and len(row) <= max(order["x"], order["y"]):
            raise FormatError(file, place, f"holds {len(row)} values", "write 'x y class'")
        if len(row) > len(rows[0]):
            raise FormatError(
                file, place, f"holds {len(row)} values, the first line {len(rows[0])}",
                "write decimals with a point, and names without what parts the columns",
            )
        x, y = numbers((row[order["x"]], row[order["y"]]), 2, file, place)
        given = row[order["class"]] if "class" in order and order["class"] < len(row) else ""
        image = row[order["image"]].replace("\\", "/") if "image" in order else ""
        found.setdefault(image, []).append(Shape(_category(given, names), point=(x, y)))
    return found


def _fields(line: str, first: str) -> list[str]:
    """The values of a line, parted as the file's first line is: by tab, comma, semicolon, blank."""
    for separator in ("\t", ";", ","):
        if separator in first:
            return [value.strip() for value in next(csv.reader([line], delimiter=separator))]
    return line.split()


def _columns(first: Sequence[str], file: Path) -> tuple[dict[str, int], bool]:
    """The place of each column, and whether the first line holds their names."""
    if not any(re.search("[A-Za-z]", value) for value in first[:2]) and len(first) <= 3:
        return {"x": 0, "y": 1} | ({"class": 2} if len(first) > 2 else {}), False
    words = [value.lower().strip() for value in first]
    order = {}
    for column, spellings in COLUMNS.items():
        places = [words.index(word) for word in spellings if word in words]
        if places:
            order[column] = places[0]
    if not {"x", "y"} <= order.keys():
        raise FormatError(
            file, "line 1", f"names no columns x and y: {', '.join(first)[:60]!r}",
            "write 'x y class' a line, in px; boxes ('class x y w h') are given with --boxes",
        )
    return order, True


def _category(given: str, names: dict[int, str]) -> str:
    if re.fullmatch(r"\d+(\.0)?", given):
        number = int(float(given))
        return names.get(number, str(number))
    return given or DEFAULT_CATEGORY
