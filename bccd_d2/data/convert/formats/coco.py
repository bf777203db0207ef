"""COCO json as CVAT, Label Studio, Roboflow, FiftyOne and this project write it.

What differs between them: ids start anywhere and may be text, fields that COCO demands are left out
(FiftyOne), ``segmentation`` is ``[]`` for boxes (CVAT, Roboflow), RLE is compressed or not, names
have folders and prefixes (Label Studio), category 0 may be a mere heading (Roboflow), and CVAT
marks every mask of its brush with ``iscrowd: 1``, which means "several cells" everywhere else.
"""

from __future__ import annotations

import re
import urllib.parse
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bccd_d2.data.convert.formats.common import DEFAULT_CATEGORY, NO_EXTENT, ImageShapes, Shape
from bccd_d2.data.convert.formats.files import (
    FormatError,
    files_of,
    numbers,
    read_json,
    ring_of,
    split_of,
)
from bccd_d2.data.convert.pairing import Skip
from bccd_d2.masks.polygons import ring_area
from bccd_d2.masks.rle import Rle, rle_from_json, rle_runs

HOLES = "rings inside another ring, taken as its holes"
BRUSH = "brush masks that CVAT marks as crowds, taken as cells"
NAMELESS = "cells whose category has no name in the file"
MAX_PIXELS = 2**31 - 1
FOLD = re.compile(r"fold\d+_")


def read_coco(path: str | Path) -> tuple[list[ImageShapes], list[Skip]]:
    """What one COCO json, or all json files of a folder, say about each image they list.

    In a folder, the split is what the name of file or folder says (``train/_annotations.coco.json``
    or ``instances_val2017.json``); an image's own ``split`` goes before it. Cross-validation folds
    that this project wrote are passed over: they repeat other files.

    Raises:
        FileNotFoundError: no such file.
        FormatError: a file is no COCO json.
    """
    files = files_of(path, ".json")
    several = Path(path).is_dir()
    if several:
        files = [file for file in files if not FOLD.search(file.name)] or files
    images: list[ImageShapes] = []
    skips: list[Skip] = []
    for file in files:
        try:
            found, left_out = _read_file(file, split_of(file) if several else None)
        except FormatError as error:
            if len(files) == 1:
                raise
            found, left_out = [], [Skip(file.as_posix(), "unreadable annotations", str(error))]
        images += found
        skips += left_out
    return images, skips


def _read_file(file: Path, split: str | None) -> tuple[list[ImageShapes], list[Skip]]:
    content = read_json(file)
    _check_layout(content, file)
    names = _category_names(content.get("categories") or [], file)
    by_image, stray = _group(content["images"], content["annotations"], file)
    cvat = _is_cvat(content)
    images, skips = [], []
    for number, entry in enumerate(content["images"]):
        try:
            annotations = by_image.get(str(entry.get("id")), [])
            images.append(_image(entry, number, annotations, (file, names, cvat, split)))
        except FormatError as error:
            skips.append(Skip(file.as_posix(), "unreadable annotations", str(error)))
    if stray:
        first = ", ".join(f"annotations[{n}]" for n in stray[:3])
        reason = f"{len(stray)} annotations ({first}) are of images that 'images' does not list"
        skips.append(Skip(file.as_posix(), "missing image", f"{reason}; export the file again"))
    return images, skips


def _check_layout(content: Any, file: Path) -> None:
    if isinstance(content, list) and content and isinstance(content[0], Mapping):
        if "objects" in content[0]:
            raise FormatError(file, "", "is BBBC041's own json", "give it with --boxes")
        if "image_id" in content[0]:
            raise FormatError(
                file, "", "is a list of results: it does not name the images",
                "give the json of the whole dataset, with 'images' and 'annotations'",
            )
    for key in ("images", "annotations"):
        entries = content.get(key) if isinstance(content, Mapping) else None
        if not isinstance(entries, list) or not all(isinstance(e, Mapping) for e in entries):
            raise FormatError(
                file, key, "is no list of objects, so this is no COCO json",
                "export it as 'COCO' (instances, object detection)",
            )


def _category_names(categories: Any, file: Path) -> dict[str, str]:
    if not isinstance(categories, list) or not all(isinstance(c, Mapping) for c in categories):
        raise FormatError(file, "categories", "is no list of objects", "export it again")
    return {str(c.get("id")): str(c["name"]) for c in categories if c.get("name")}


def _group(
    images: list[Mapping], annotations: list[Mapping], file: Path
) -> tuple[dict[str, list[tuple[int, Mapping]]], list[int]]:
    """Annotations with their places by image id as text, and the places of those of no image."""
    groups: dict[str, list[tuple[int, Mapping]]] = {}
    for number, image in enumerate(images):
        if str(image.get("id")) in groups:
            raise FormatError(
                file, f"images[{number}].id", f"{image.get('id')!r} is there twice or missing",
                "give every image an id of its own",
            )
        groups[str(image.get("id"))] = []
    stray = []
    for number, annotation in enumerate(annotations):
        group = groups.get(str(annotation.get("image_id")))
        if group is None:
            stray.append(number)
        else:
            group.append((number, annotation))
    return groups, stray


def _is_cvat(content: Mapping[str, Any]) -> bool:
    """Whether CVAT (by Datumaro) wrote the file: an empty licence of id 0, or its attributes."""
    if content.get("licenses") == [{"name": "", "id": 0, "url": ""}]:
        return True
    attributes = (annotation.get("attributes") for annotation in content["annotations"])
    return any(isinstance(given, Mapping) and "occluded" in given for given in attributes)


def _image(
    entry: Mapping[str, Any], number: int, annotations: list[tuple[int, Mapping]], about: tuple
) -> ImageShapes:
    file, names, cvat, split = about
    name = entry.get("file_name") or entry.get("path")
    if not isinstance(name, str) or not name:
        raise FormatError(
            file, f"images[{number}].file_name", f"is {name!r}, not a name", "export it again"
        )
    size = None
    if entry.get("height") is not None and entry.get("width") is not None:
        sides = (entry["height"], entry["width"])
        height, width = numbers(sides, 2, file, f"images[{number}], height and width,")
        size = (int(height), int(width))
    notes: Counter = Counter()
    shapes, error = [], None
    try:
        for place, annotation in annotations:
            shape = _shape(annotation, (file, f"annotations[{place}]"), names, cvat, notes)
            shapes += [] if shape is None else [shape]
    except FormatError as broken:
        shapes, error = [], str(broken)
    extra = entry.get("extra")
    original = extra.get("name") if isinstance(extra, Mapping) else None  # Roboflow
    return ImageShapes(
        name=plain_name(name),
        file=file,
        shapes=tuple(shapes),
        image_size=size,
        aliases=(original,) if isinstance(original, str) else (),
        split=entry["split"] if entry.get("split") in ("train", "val", "test") else split,
        error=error,
        notes=notes,
    )


def plain_name(name: str) -> str:
    """A file name out of what tools write: no back slashes, no ``%20``, no address around it.

    Label Studio serves local files as ``/data/local-files/?d=folder/x.png``.
    """
    query = urllib.parse.urlsplit(name).query if "?d=" in name else ""
    if query:
        name = urllib.parse.parse_qs(query).get("d", [name])[0]
    if "%" in name:
        name = urllib.parse.unquote(name)
    return name.replace("\\", "/")


def _shape(
    annotation: Mapping[str, Any],
    where: tuple[Path, str],
    names: Mapping[str, str],
    cvat: bool,
    notes: Counter,
) -> Shape | None:
    """The annotation's shape; None where it has no extent."""
    identity = annotation.get("category_id")
    category = names.get(str(identity))
    if category is None:
        notes[NAMELESS] += bool(names) or identity is not None
        category = DEFAULT_CATEGORY if identity is None else f"category {identity}"
    segmentation = annotation.get("segmentation")
    crowd = bool(annotation.get("iscrowd"))
    if crowd and cvat and isinstance(segmentation, Mapping):
        attributes = annotation.get("attributes")
        crowd = bool(isinstance(attributes, Mapping) and attributes.get("is_crowd"))
        notes[BRUSH] += not crowd
    common: dict[str, Any]
    common = {"category": category, "ignored": crowd or bool(annotation.get("ignore"))}
    if isinstance(annotation.get("point"), list):
        x, y = numbers(annotation["point"], 2, where[0], f"{where[1]}.point")
        return Shape(**common, point=(x, y))
    if isinstance(segmentation, Mapping):
        return Shape(**common, rle=_rle(segmentation, *where))
    if segmentation:
        parts = _parts(segmentation, annotation.get("area"), where, notes)
        if not parts:
            notes[NO_EXTENT] += 1
        return Shape(**common, polygons=parts) if parts else None
    if annotation.get("bbox") is None:
        raise FormatError(
            where[0], where[1], "has neither segmentation nor bbox", "correct it or remove it"
        )
    x, y, w, h = numbers(annotation["bbox"], 4, where[0], f"{where[1]}.bbox")
    return Shape(**common, box=(x, y, x + w, y + h))


def _rle(segmentation: Mapping[str, Any], file: Path, place: str) -> Rle:
    """A compressed RLE that is known to fill its image."""
    counts = segmentation.get("counts")
    try:
        height, width = (int(n) for n in segmentation["size"])
        if not 0 < height * width <= MAX_PIXELS or min(height, width) < 1:
            raise ValueError(f"a size of {width}x{height}")
        if isinstance(counts, list):
            runs = np.array(counts, dtype=np.int64)
            if runs.ndim != 1 or (runs < 0).any() or runs.sum() != height * width:
                raise ValueError(f"counts that do not add up to {height}x{width} pixels")
        rle = rle_from_json({"size": [height, width], "counts": counts})
        rle_runs(rle)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise FormatError(
            file, f"{place}.segmentation", f"is a broken RLE ({error})", "export it again"
        ) from error
    return rle


def _parts(
    segmentation: Any, area: Any, where: tuple[Path, str], notes: Counter
) -> tuple[tuple[np.ndarray, ...], ...]:
    """The polygons of an annotation, each with its holes; those of fewer than three points go.

    COCO knows no holes: several rings are parts of one cell. A ring inside another would then mean
    nothing, so it is a hole, unless ``area`` says that it is filled.
    """
    place = f"{where[1]}.segmentation"
    if not isinstance(segmentation, list):
        raise FormatError(where[0], place, "is neither polygons nor an RLE", "export it again")
    given = segmentation if isinstance(segmentation[0], list) else [segmentation]
    if len(given) >= 3 and all(isinstance(p, list) and len(p) == 2 for p in given):
        given = [[value for pair in given for value in pair]]  # one ring of pairs
    long_enough = [p for p in given if not isinstance(p, list) or len(p) not in (0, 2, 4)]
    if any(isinstance(p, list) and len(p) % 2 and not isinstance(p[0], list) for p in long_enough):
        raise FormatError(
            where[0], place, "holds an odd number of coordinates", "export it again"
        )
    rings = [ring_of(p, where[0], place) for p in long_enough]
    owners = [_owner(i, rings) for i in range(len(rings))]
    outer = sum(ring_area(r) for r, owner in zip(rings, owners, strict=True) if owner is None)
    inner = sum(ring_area(r) for r, owner in zip(rings, owners, strict=True) if owner is not None)
    if inner and isinstance(area, (int, float)) and area > 0:
        if abs(area - outer) < abs(area - (outer - inner)):
            owners = [None] * len(rings)
    notes[HOLES] += sum(owner is not None for owner in owners)
    return tuple(
        (ring, *(hole for hole, of in zip(rings, owners, strict=True) if of == i))
        for i, (ring, owner) in enumerate(zip(rings, owners, strict=True))
        if owner is None
    )


def _owner(index: int, rings: list[np.ndarray]) -> int | None:
    """The ring that this one lies wholly inside; None where there is none."""
    ring = rings[index]
    for other, around in enumerate(rings):
        if other == index or ring_area(around) <= ring_area(ring):
            continue
        if (ring.min(0) > around.min(0)).all() and (ring.max(0) < around.max(0)).all():
            if _inside(ring, around).all():
                return other
    return None


def _inside(points: np.ndarray, ring: np.ndarray) -> np.ndarray:
    """(N,) bool: the point lies inside the ring, by counting the sides to its right."""
    x, y = points[:, :1], points[:, 1:]
    (x0, y0), (x1, y1) = ring.T, np.roll(ring, -1, axis=0).T
    beside = (y0 <= y) != (y1 <= y)
    with np.errstate(divide="ignore", invalid="ignore"):
        crossing = x0 + (y - y0) / (y1 - y0) * (x1 - x0)
    return ((beside & (crossing > x)).sum(axis=1) % 2).astype(bool)
