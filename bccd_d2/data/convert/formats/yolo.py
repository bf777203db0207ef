"""YOLO text files, one per image: boxes ``class x y w h`` or polygons ``class x y x y x y ...``.

Coordinates are shares of the image's width and height, x and y of a box its centre. Names of the
classes come from ``classes.txt``, ``obj.names`` or ``data.yaml`` beside the files or above them.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import yaml

from bccd_d2.data.convert.formats.common import ImageShapes, Shape
from bccd_d2.data.convert.formats.files import (
    FormatError,
    files_of,
    numbers,
    read_text,
    ring_of,
    split_of,
)
from bccd_d2.data.convert.pairing import Skip

NAME_FILES = ("classes.txt", "obj.names", "data.yaml", "dataset.yaml", "data.yml")
NO_LABELS = ("classes.txt", "notes.txt", "readme.txt", "labels.txt", "licence.txt", "license.txt",
             "readme.roboflow.txt", "readme.dataset.txt", "train.txt", "val.txt", "valid.txt",
             "test.txt")  # fmt: skip
BEYOND = 0.5  # of the image's side: what lies further out is in px, not in shares
CONFIDENCE = "confidences of boxes, left out"


def read_yolo(
    path: str | Path, classes: str | Path | None = None
) -> tuple[list[ImageShapes], list[Skip]]:
    """What a YOLO file, or each of a folder and below, says about the image of its name.

    Args:
        classes: the file of the names; None looks for one.

    Raises:
        FileNotFoundError: no such file.
        FormatError: the file of the names is broken.
    """
    path = Path(path)
    names = class_names(path, classes)
    images = []
    for file in files_of(path, ".txt"):
        if path.is_dir() and file.name.lower() in NO_LABELS:
            continue
        inside = file.relative_to(path) if path.is_dir() else Path(file.name)
        name, split = inside.with_suffix("").as_posix(), split_of(inside)
        try:
            images.append(_read_file(file, name, split, names))
        except FormatError as error:
            images.append(ImageShapes(name, file, split=split, error=str(error)))
    return images, []


def class_names(path: Path, classes: str | Path | None = None) -> dict[int, str]:
    """Names by class number; {} where no file of names is found.

    Raises:
        FileNotFoundError: ``classes`` does not exist.
        FormatError: the file holds no names.
    """
    if classes is not None:
        return _read_names(Path(classes))
    folder = path if path.is_dir() else path.parent
    places = [place / name for place in (folder, *folder.absolute().parents[:2])
              for name in NAME_FILES]  # fmt: skip
    found = next((place for place in places if place.is_file()), None)
    return {} if found is None else _read_names(found)


def _read_names(file: Path) -> dict[int, str]:
    text = read_text(file)
    if file.suffix.lower() not in (".yaml", ".yml"):
        names = [line.strip() for line in text.splitlines()]
        return {n: name for n, name in enumerate(names) if name}
    try:
        content = yaml.safe_load(text)
        names = content["names"]
        pairs = names.items() if isinstance(names, dict) else enumerate(names)
        return {int(number): str(name) for number, name in pairs}
    except (yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        raise FormatError(
            file, "names", f"cannot be read ({type(error).__name__})",
            "it must be a list, or numbers with names",
        ) from error


def _read_file(
    file: Path, name: str, split: str | None, names: dict[int, str]
) -> ImageShapes:
    notes: Counter = Counter()
    shapes = []
    for number, line in enumerate(read_text(file).splitlines(), start=1):
        tokens = line.split()
        if tokens:
            shapes.append(_shape(tokens, file, f"line {number}", names, notes))
    return ImageShapes(name, file, tuple(shapes), split=split, notes=notes, relative=True)


def _shape(
    tokens: list[str], file: Path, place: str, names: dict[int, str], notes: Counter
) -> Shape:
    count = len(tokens)
    if count < 5 or (count > 6 and count % 2 == 0):
        remedy = "boxes are 'class x y w h', outlines 'class x y x y x y ...'"
        if count in (2, 3):
            remedy += "; points ('x y class') are given with --points"
        raise FormatError(file, place, f"holds {count} values", remedy)
    found = numbers(tokens, count, file, place)
    if found[0] != int(found[0]) or found[0] < 0:
        raise FormatError(file, place, f"begins with {tokens[0]!r}, no class number", "correct it")
    values = found[1:]
    if count == 6:
        notes[CONFIDENCE] += 1
        values = values[:4]
    if min(values) < -BEYOND or max(values) > 1 + BEYOND:
        raise FormatError(
            file, place, f"holds {max(values, key=abs):g}, no share of the image in [0, 1]",
            "divide pixels by the image's width and height",
        )
    category = names.get(int(found[0]), str(int(found[0])))
    if len(values) == 4:
        x, y, w, h = values
        return Shape(category, box=(x - w / 2, y - h / 2, x + w / 2, y + h / 2))
    return Shape(category, polygons=((ring_of(values, file, place),),))
