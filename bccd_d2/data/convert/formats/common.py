"""The one form that every annotation format is read into, and what makes pixels of it.

A reader takes files to `ImageShapes`, one per image: what the file says, checked, and nothing of
the image itself. `annotate` then cuts it to the image's size, drops what is empty or double, counts
what it did, and gives `Annotated`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from bccd_d2.data.convert.formats.files import FormatError, Ring
from bccd_d2.masks.polygons import polygon_to_rle
from bccd_d2.masks.rle import Rle, label_map_to_rles, rle_box

KINDS = ("masks", "boxes", "points")
SLACK = 0.5  # px; tools round, so this much outside the image is nobody's mistake
DEFAULT_CATEGORY = "cell"
NO_EXTENT = "cells without extent, dropped"
OUTSIDE = "cells outside the image, dropped"
CUT = "cells cut off at the image's edge"
DOUBLE = "the same cell twice, one kept"
BOXED = "masks taken as boxes, for other cells have boxes only"


@dataclass(frozen=True, eq=False)
class Shape:
    """One annotated cell as its file describes it: exactly one of the four forms is there.

    Attributes:
        category: the name in the file, or "cell" where it has none.
        polygons: parts, each an outer ring and its holes, x and y in px.
        rle: a compressed RLE of the image's size.
        box: x0, y0, x1, y1 in px, half-open.
        point: x, y in px.
        ignored: a crowd, or marked as difficult: no cell to learn or to score, but no background.
    """

    category: str = DEFAULT_CATEGORY
    polygons: tuple[tuple[Ring, ...], ...] = ()
    rle: Rle | None = None
    box: tuple[float, float, float, float] | None = None
    point: tuple[float, float] | None = None
    ignored: bool = False

    @property
    def kind(self) -> str:
        """ "masks", "boxes" or "points"."""
        if self.point is not None:
            return "points"
        return "boxes" if self.box is not None else "masks"


@dataclass(frozen=True, eq=False)
class ImageShapes:
    """What annotation files say about one image.

    Attributes:
        name: the image's name as the file has it, perhaps with folders.
        file: the annotation file.
        shapes: its cells.
        image_size: height, width as the file states them; None where it does not.
        aliases: other names that the image may have.
        split: "train", "val" or "test" where file or folder say so.
        error: why the annotations of this image cannot be used.
        notes: what the reader did that a user should know, with counts.
        relative: coordinates are shares of the image's width and height, not px.
        labels: reads the label map that holds the cells, for label images: they are big, and are
            read when their turn comes.
        drawn: reads shapes out of masks, likewise.
    """

    name: str
    file: Path
    shapes: tuple[Shape, ...] = ()
    image_size: tuple[int, int] | None = None
    aliases: tuple[str, ...] = ()
    split: str | None = None
    error: str | None = None
    notes: Counter = field(default_factory=Counter)
    relative: bool = False
    labels: Callable[[], np.ndarray] | None = None
    drawn: Callable[[], list[Shape]] | None = None

    def kinds(self) -> Counter:
        """How many shapes there are of each kind; what is read later counts as one mask."""
        counts = Counter(shape.kind for shape in self.shapes)
        counts["masks"] += self.labels is not None or self.drawn is not None
        return counts


@dataclass(frozen=True, eq=False)
class Annotated:
    """N cells of one image, in px, inside it.

    Attributes:
        kind: "masks", "boxes" or "points".
        image_size: height, width.
        categories: N names.
        ignored: (N,) bool.
        rles: N masks; [] for other kinds.
        boxes: (N, 4) float half-open x0 y0 x1 y1; for points without extent.
        notes: what was cut, dropped or double, with counts.
    """

    kind: str
    image_size: tuple[int, int]
    categories: list[str]
    ignored: np.ndarray
    rles: list[Rle]
    boxes: np.ndarray
    notes: Counter

    def __len__(self) -> int:
        return len(self.categories)


def dataset_kind(images: Sequence[ImageShapes]) -> str:
    """The kind that all of these can be given as: masks only where every cell has one.

    Raises:
        ValueError: points beside masks or boxes, which nothing can be made of together.
    """
    total: Counter = sum((image.kinds() for image in images), Counter())
    found = [kind for kind in KINDS if total[kind]]
    if "points" in found and len(found) > 1:
        raise ValueError(
            f"the annotations hold {total['points']} points beside {total['masks']} outlines and "
            f"{total['boxes']} boxes; convert each into a dataset of its own"
        )
    return found[-1] if found else "masks"


def annotate(image: ImageShapes, image_size: tuple[int, int], kind: str) -> Annotated:
    """The cells of an image of this size.

    Args:
        image: from a reader.
        image_size: height, width of the image file itself.
        kind: of the dataset; masks become their boxes in a dataset of boxes.

    Raises:
        ValueError: the file states another size, or see `ImageShapes.error`.
    """
    if image.error is not None:
        raise ValueError(image.error)
    check_size(image, image_size)
    shapes, notes = _in_pixels(image, image_size), Counter(image.notes)
    kept: dict[Any, tuple[Shape, Rle | None, tuple[float, ...]]] = {}
    for shape in shapes:
        rle, box = _placed(shape, image_size, kind, notes)
        if box is None:
            continue
        key = (shape.category, box if rle is None else rle["counts"])
        if key in kept:
            notes[DOUBLE] += 1
            continue
        kept[key] = (shape, rle, box)
    cells = list(kept.values())
    size = f"{image.name} ({image_size[1]}x{image_size[0]} px)"
    for note, what, question in (
        (OUTSIDE, "lie outside", "are x and y exchanged, or was another image annotated?"),
        (NO_EXTENT, "have no extent in", "are their corners exchanged?"),
    ):
        if notes[note] > len(cells):
            raise FormatError(
                image.file, "", f"{notes[note]} of {len(shapes)} cells {what} {size}", question
            )
    return Annotated(
        kind=kind,
        image_size=image_size,
        categories=[shape.category for shape, _, _ in cells],
        ignored=np.array([shape.ignored for shape, _, _ in cells], dtype=bool),
        rles=[rle for _, rle, _ in cells if rle is not None] if kind == "masks" else [],
        boxes=np.array([box for _, _, box in cells], dtype=np.float64).reshape(-1, 4),
        notes=notes,
    )


def check_size(image: ImageShapes, image_size: tuple[int, int]) -> None:
    """Refuse annotations that were drawn on an image of another size.

    Raises:
        ValueError: the file states another size than ``image_size``.
    """
    stated = image.image_size
    if stated is None or 0 in stated or tuple(stated) == tuple(image_size):
        return
    (height, width), (h, w) = stated, image_size
    advice = "use the images that were annotated, or export the annotations again"
    if (height, width) == (w, h):
        advice = f"one of them lies on its side (an EXIF orientation?); {advice}"
    raise FormatError(
        image.file, "", f"says that {image.name} has {width}x{height} px, the image has {w}x{h}",
        advice,
    )


def _in_pixels(image: ImageShapes, size: tuple[int, int]) -> Sequence[Shape]:
    if image.labels is not None:
        label_map = image.labels()
        if label_map.shape != tuple(size):
            (h, w), (height, width) = label_map.shape, size
            raise FormatError(
                image.file, "", f"has {w}x{h} px, its image {image.name} {width}x{height}",
                "export the labels again at the image's size",
            )
        return [Shape(rle=rle) for rle in label_map_to_rles(label_map)]
    if image.drawn is not None:
        return image.drawn()
    if not image.relative:
        return image.shapes
    scale = np.array([size[1], size[0]], dtype=np.float64)
    return [
        replace(
            shape,
            box=None if shape.box is None else tuple(np.multiply(shape.box, np.tile(scale, 2))),
            polygons=tuple(tuple(ring * scale for ring in part) for part in shape.polygons),
        )
        for shape in image.shapes
    ]


def _placed(
    shape: Shape, size: tuple[int, int], kind: str, notes: Counter
) -> tuple[Rle | None, tuple[float, ...] | None]:
    """The shape's mask and box inside the image; (None, None) for one that is dropped."""
    if shape.point is not None:
        return None, _point(shape.point, size, notes)
    if shape.box is not None:
        return None, _box(shape.box, size, notes)
    rle = _mask(shape, size, notes)
    if not coco_mask.area(rle):
        notes[OUTSIDE if _is_outside(shape, size) else NO_EXTENT] += 1
        return None, None
    box = tuple(map(float, rle_box(rle)))
    if kind == "boxes":
        notes[BOXED] += 1
        return None, box
    return rle, box


def _mask(shape: Shape, size: tuple[int, int], notes: Counter) -> Rle:
    if shape.rle is not None:
        if tuple(shape.rle["size"]) != tuple(size):
            h, w = shape.rle["size"]
            raise ValueError(
                f"a mask of {w}x{h} px in an image of {size[1]}x{size[0]}; use the images that "
                f"were annotated"
            )
        return shape.rle
    corners = _corners(shape)
    limits = np.array([size[1], size[0]]) + SLACK
    if ((corners < -SLACK) | (corners > limits)).any() and not _is_outside(shape, size):
        notes[CUT] += 1
    parts = [polygon_to_rle(part, size) for part in shape.polygons]
    return parts[0] if len(parts) == 1 else coco_mask.merge(parts)


def _corners(shape: Shape) -> np.ndarray:
    return np.concatenate([np.zeros((0, 2)), *(ring for part in shape.polygons for ring in part)])


def _is_outside(shape: Shape, size: tuple[int, int]) -> bool:
    """Whether no part of the outlines' bounding box lies in the image; False for an RLE."""
    corners = _corners(shape)
    if not len(corners):
        return False
    return bool((corners.max(0) <= 0).any() or (corners.min(0) >= (size[1], size[0])).any())


def _box(
    box: tuple[float, ...], size: tuple[int, int], notes: Counter
) -> tuple[float, ...] | None:
    height, width = size
    if box[2] <= box[0] or box[3] <= box[1]:
        notes[NO_EXTENT] += 1
        return None
    limits = np.array([width, height, width, height], dtype=np.float64)
    cut = np.clip(box, 0, limits)
    if cut[2] - cut[0] < SLACK or cut[3] - cut[1] < SLACK:
        notes[OUTSIDE] += 1
        return None
    if np.abs(cut - box).max() > SLACK:
        notes[CUT] += 1
    return tuple(cut.tolist())


def _point(
    point: tuple[float, float], size: tuple[int, int], notes: Counter
) -> tuple[float, ...] | None:
    limits = np.array([size[1], size[0]], dtype=np.float64)
    cut = np.clip(point, 0, limits)
    if np.abs(cut - point).max() > SLACK:
        notes[OUTSIDE] += 1
        return None
    x, y = cut.tolist()
    return x, y, x, y
