"""One image and its annotations of any format: what `image` is for binary masks."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bccd_d2.data.convert import image as conversion
from bccd_d2.data.convert.annotated_pairs import AnnotatedPair
from bccd_d2.data.convert.formats.common import DEFAULT_CATEGORY, Annotated, annotate
from bccd_d2.data.convert.image import LabelOptions
from bccd_d2.data.convert.pairing import Pair, Skip
from bccd_d2.data.convert.record import ImageRecord
from bccd_d2.masks import labels
from bccd_d2.masks.cells import Cells
from bccd_d2.masks.rle import rle_areas, rle_to_json, rle_to_polygons

OVERLAP = "cells that overlap others; the smaller lies on top in the label map"
HIDDEN = "cells wholly covered by smaller ones, dropped"


def convert_annotated(
    pair: AnnotatedPair, options: LabelOptions, folder: Path
) -> ImageRecord | Skip:
    """Write the annotations of one image, and for masks its label PNG, under ``folder``.

    What cannot be used is answered with a `Skip`, not an exception: it must not end a batch.

    Raises:
        OSError: ``folder`` cannot be written.
    """
    given = conversion.read_only_image(pair.image, options.max_value)
    if isinstance(given, Skip):
        return given
    image, value_range = given
    try:
        found = annotate(pair.shapes, image.shape[:2], pair.kind)
    except (ValueError, OSError) as error:
        return Skip(pair.mask.as_posix(), "unreadable annotations", str(error))
    if len(found) > conversion.MAX_CELLS:
        return Skip(
            pair.mask.as_posix(), "too many cells",
            f"{len(found)} cells, an image may have {conversion.MAX_CELLS}; cut it into tiles",
        )
    plain = Pair(pair.stem, pair.source, pair.image, pair.mask)
    label_map = None
    if pair.kind == "masks":
        found, label_map = with_label_map(found)
        conversion.write_labels(folder, plain, label_map)
    order = np.argsort(found.ignored, kind="stable")  # cells first: label k is annotation k
    conversion.write_part(folder, plain, [_annotation(found, i, options.polygons) for i in order])
    record = _record(plain, image, found, label_map)
    return dataclasses.replace(record, value_range=value_range.as_json())


def with_label_map(found: Annotated) -> tuple[Annotated, np.ndarray]:
    """The cells that show in a label map of them all, and that map; ignored ones are not in it.

    A label map holds each pixel once: where masks overlap the smaller cell keeps it, so that a
    platelet on a red cell shows.
    """
    areas = rle_areas(found.rles)
    cells = np.flatnonzero(~found.ignored)
    ranks = np.argsort(np.argsort(-areas[cells], kind="stable"), kind="stable")
    chosen = Cells.from_rles([found.rles[i] for i in cells], found.image_size, ranks)
    label_map = chosen.to_label_map()
    visible = np.bincount(label_map.ravel(), minlength=len(cells) + 1)[1:]
    notes = Counter(found.notes)
    notes[OVERLAP] += int(((visible < areas[cells]) & (visible > 0)).sum())
    hidden = cells[visible == 0]
    notes[HIDDEN] += len(hidden)
    kept = np.setdiff1d(np.arange(len(found)), hidden)
    shown = dataclasses.replace(
        found,
        categories=[found.categories[i] for i in kept],
        ignored=found.ignored[kept],
        rles=[found.rles[i] for i in kept],
        boxes=found.boxes[kept],
        notes=notes,
    )
    return shown, labels.relabel(label_map)


def _annotation(found: Annotated, index: int, polygons: bool) -> dict[str, Any]:
    """A COCO annotation without its ids; ignored ones are crowds, which every scorer passes by."""
    x0, y0, x1, y1 = (round(v, 3) for v in found.boxes[index].tolist())
    ignored = bool(found.ignored[index])
    row: dict[str, Any] = {"category": found.categories[index], "iscrowd": int(ignored)}
    if found.kind == "points":
        return row | {"point": [x0, y0], "area": 0}
    box = found.boxes[index]
    border = labels.touches_border(box, found.image_size).item()
    row |= {"bbox": [x0, y0, round(x1 - x0, 3), round(y1 - y0, 3)], "touches_border": border}
    if found.kind == "boxes":
        return row | {"area": round((x1 - x0) * (y1 - y0), 3)}
    rle = found.rles[index]
    row["segmentation"] = rle_to_polygons(rle) if polygons else rle_to_json(rle)
    row["area"] = int(rle_areas([rle])[0])
    if not ignored:
        row |= {"label": int(np.count_nonzero(~found.ignored[: index + 1])), "rule": "annotated"}
    return row


def _record(
    pair: Pair, image: np.ndarray, found: Annotated, label_map: np.ndarray | None
) -> ImageRecord:
    cells = np.flatnonzero(~found.ignored)
    boxes = found.boxes[cells]
    if label_map is not None:
        areas = rle_areas([found.rles[i] for i in cells])
    else:
        areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    return ImageRecord(
        pair=pair,
        areas=areas,
        boxes=boxes,
        border=labels.touches_border(boxes, found.image_size),
        is_split=np.zeros(len(boxes), dtype=bool),
        suspects=[],
        specks=0,
        speck_pixels=0,
        holes=0,
        hole_pixels=0,
        grey_values=0,
        mask_mode=found.kind,
        mask_pixels=0 if label_map is None else int(np.count_nonzero(label_map)),
        reading="annotations",
        kind=found.kind,
        categories=tuple(found.categories[i] for i in cells),
        ignored_categories=tuple(found.categories[i] for i in np.flatnonzero(found.ignored)),
        notes=Counter({note: count for note, count in found.notes.items() if count}),
        **conversion.measure_image(image, boxes),
    )


def category_names(records: Sequence[ImageRecord]) -> list[str]:
    """The categories of a dataset in alphabetical order; "cell" where there are none."""
    names = {n for record in records for n in record.categories + record.ignored_categories}
    return sorted(names) or [DEFAULT_CATEGORY]
