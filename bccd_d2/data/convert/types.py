"""Types from elsewhere, joined to the cells of masks: typed boxes or points beside outlines."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from bccd_d2.data.convert.formats.bbbc041 import DIFFICULT
from bccd_d2.data.convert.formats.common import (
    DEFAULT_CATEGORY,
    Annotated,
    ImageShapes,
    annotate,
)
from bccd_d2.data.convert.formats.detect import read_annotations
from bccd_d2.data.convert.matching import ImageIndex
from bccd_d2.data.convert.pairing import Pair, Sources
from bccd_d2.data.convert.record import Unmatched
from bccd_d2.data.convert.split_lists import digest
from bccd_d2.io.text import printable
from bccd_d2.masks.overlap import match

IOU = 0.5  # of an object's box and a cell's, from which they are one


@dataclass(frozen=True)
class TypeSource:
    """Where typed objects lie.

    Attributes:
        option: "boxes" or "points", as `formats.detect.read_annotations` has it.
        path: file or folder.
        classes: a file of class names, for YOLO and points.
    """

    option: str
    path: str | Path
    classes: str | Path | None = None

    def recorded(self) -> dict[str, Any]:
        """What decides the result, as dataset.json holds it; no folder of this machine."""
        return {
            "types": self.option,
            "types_file": digest(self.path),
            "types_classes": digest(self.classes),
        }


@dataclass(frozen=True)
class TypedPair(Pair):
    """An image with its mask and the typed objects of it.

    Attributes:
        types: boxes or points with categories; None where the source has none of this image.
    """

    types: ImageShapes | None = field(default=None, kw_only=True)


def with_types(sources: Sources, source: TypeSource | None) -> Sources:
    """The same pairs, each with its typed objects; what has none, or no image, is said.

    Without a source they are as they were.

    Raises:
        FileNotFoundError: the types' file is missing.
        ValueError: it is broken, holds outlines, or is of none of the images.
    """
    if source is None:
        return sources
    read, skips = read_annotations(source.option, source.path, source.classes)
    index = ImageIndex(sources.image_root)
    found: dict[Path, ImageShapes] = {}
    strays = 0
    for shapes in read:
        files = index.find((shapes.name, *shapes.aliases))
        strays += len(files) != 1
        if len(files) == 1:
            found[files[0]] = shapes
    pairs = [
        TypedPair(p.stem, p.source, p.image, p.mask, types=found.get(p.image))
        for p in sources.pairs
    ]
    typed = sum(pair.types is not None for pair in pairs)
    if not typed:
        raise ValueError(
            f"types {source.path} are of none of the {len(pairs)} images of {sources.image_root}: "
            "do their names agree?"
        )
    left_out = list(sources.left_out)
    notes = (
        (strays, f"images in {printable(source.path)} are none, or several, of these"),
        (len(pairs) - typed, f"images without types in {printable(source.path)}"),
    )
    left_out += [f"{count} {what}" for count, what in notes if count]
    return dataclasses.replace(
        sources, pairs=pairs, skips=[*sources.skips, *skips], left_out=left_out
    )


def join_types(
    types: ImageShapes | None, label_map: np.ndarray, boxes: np.ndarray
) -> tuple[list[str], Unmatched]:
    """The category of each cell, "cell" where no object says it, and what is left over.

    A box goes with the cell whose own box it overlaps most, by `IOU` at least, one to one; a point
    with the cell that it lies in, unless points of several categories do. Objects that their
    makers left open are "difficult": the cell is a cell, of a type that nobody knows.

    Args:
        types: of this image; None = nothing is known.
        label_map: (H, W), cells 1..N.
        boxes: (N, 4) of the cells, half-open x0 y0 x1 y1.

    Raises:
        ValueError: the objects are outlines, or were drawn on an image of another size.
    """
    categories = [DEFAULT_CATEGORY] * len(boxes)
    if types is None:
        return categories, Unmatched((), tuple(range(1, len(boxes) + 1)))
    kind = next(iter(+types.kinds()), "boxes")
    if kind == "masks":
        raise ValueError(
            f"{types.file} holds outlines: give them as cells with --coco or --geojson, not as "
            "types of other masks"
        )
    found = annotate(types, label_map.shape, kind)
    pairs = _points(found, label_map) if kind == "points" else _boxes(found, boxes)
    for number, cell in pairs:
        ignored = bool(found.ignored[number])
        categories[cell] = DIFFICULT if ignored else found.categories[number]
    used, named = {number for number, _ in pairs}, {cell for _, cell in pairs}
    objects = tuple(
        (found.categories[n], tuple(round(float(v), 1) for v in found.boxes[n]))
        for n in range(len(found))
        if n not in used
    )
    cells = tuple(label for label in range(1, len(boxes) + 1) if label - 1 not in named)
    return categories, Unmatched(objects, cells, len(named))


def _boxes(found: Annotated, boxes: np.ndarray) -> list[tuple[int, int]]:
    """Pairs of an object and a cell, from 0."""
    if not len(found) or not len(boxes):
        return []
    ours, theirs = (_xywh(b) for b in (found.boxes, boxes))
    chosen = match(np.asarray(coco_mask.iou(ours, theirs, [0] * len(theirs))), IOU)
    return list(zip(chosen.pred_index.tolist(), chosen.truth_index.tolist(), strict=True))


def _xywh(boxes: np.ndarray) -> np.ndarray:
    given = np.array(boxes, dtype=np.float64).reshape(-1, 4)
    given[:, 2:] -= given[:, :2]
    return given


def _points(found: Annotated, label_map: np.ndarray) -> list[tuple[int, int]]:
    height, width = label_map.shape
    x = np.clip(found.boxes[:, 0].astype(int), 0, max(width - 1, 0))
    y = np.clip(found.boxes[:, 1].astype(int), 0, max(height - 1, 0))
    under = label_map[y, x].tolist() if label_map.size else []
    said = Counter({(label, c) for label, c in zip(under, found.categories, strict=True)})
    several = Counter(label for label, _ in said)
    return [
        (number, label - 1) for number, label in enumerate(under) if label and several[label] == 1
    ]


def unmatched_rows(
    names: Sequence[str], unmatched: Sequence[Unmatched]
) -> dict[str, list[dict[str, Any]]]:
    """What the audit lists of objects without a cell and cells without a type, by image."""
    objects = [
        {"file": name, "category": category, "box": list(box)}
        for name, one in zip(names, unmatched, strict=True)
        for category, box in one.objects
    ]
    cells = [
        {"file": name, "labels": list(one.cells)}
        for name, one in zip(names, unmatched, strict=True)
        if one.cells
    ]
    return {"typed_objects_without_a_cell": objects, "cells_without_a_type": cells}
