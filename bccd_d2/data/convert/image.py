"""One image and its mask: label PNG, COCO annotations and what the audit wants to know.

It runs in worker processes. What goes back to the parent is a few hundred bytes and four numbers a
cell; annotations wait on disk, so memory does not grow with them.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from bccd_d2.data.convert.class_masks import ClassCodes, ClassMask, read_class_mask
from bccd_d2.data.convert.hashing import perceptual_hash
from bccd_d2.data.convert.mask_files import MaskError, MaskFile, MaskOptions, read_mask_file
from bccd_d2.data.convert.pairing import Pair, Skip
from bccd_d2.data.convert.placement import stain_at_cells
from bccd_d2.data.convert.record import ImageRecord, Unmatched
from bccd_d2.data.convert.tool_labels import read_single
from bccd_d2.data.convert.types import TypedPair, join_types
from bccd_d2.io.images import planes, read_plane
from bccd_d2.io.text import printable
from bccd_d2.io.value_range import ValueRange
from bccd_d2.masks import labels
from bccd_d2.masks.clumps import solidities, suspect_clumps
from bccd_d2.masks.components import Labelled, label_cells
from bccd_d2.masks.rle import (
    Rle,
    label_map_to_rles,
    rle_areas,
    rle_to_json,
    rle_to_polygons,
)

MAX_CELLS = 65535


@dataclass(frozen=True)
class LabelOptions:
    """How a mask becomes annotations.

    Attributes:
        connectivity: 8 or 4, which pixels touch.
        min_area: px; smaller components of a binary mask are dropped. 16 keeps those of more than
            15 px. Of a label image every cell is kept.
        fill_holes: give enclosed background to the cell around it.
        split_clumps: cut merged cells apart; such cells have the rule "split".
        threshold: foreground from this grey value on, for masks that are not binary.
        mask_kind: "binary" masks, "labels" (each value a cell), or "auto": found out file by file.
        ignore_values: of mask pixels that belong to no cell; they become background.
        invert: True: dark is cell; False: bright is, for sure; None: bright, and a mask that looks
            the other way round is left out and named.
        max_value: what is white in images of more than 8 bits; None = by their values.
        classes: what the values or colours of masks stand for, where they are classes.
        polygons: outlines instead of RLE in the json; holes are lost.
        single: a mask of one value is a label image of one cell; found out by the converter.
    """

    connectivity: int = 8
    min_area: int = 16
    fill_holes: bool = False
    split_clumps: bool = False
    threshold: float | None = None
    polygons: bool = False
    mask_kind: str = "auto"
    ignore_values: tuple[int, ...] = ()
    invert: bool | None = None
    max_value: float | None = None
    single: bool = False
    classes: ClassCodes | None = None

    @property
    def mask_options(self) -> MaskOptions:
        """Those that say how a mask file is read."""
        return MaskOptions(
            self.mask_kind, self.threshold, self.ignore_values, self.invert, self.min_area
        )


def label_path(folder: Path, pair: Pair) -> Path:
    """Where the label PNG of a pair lies in a converted dataset."""
    return folder / "labels" / pair.source / f"{pair.stem}.png"


def part_path(folder: Path, pair: Pair) -> Path:
    """Where the annotations of a pair wait until the json of its split is put together."""
    return folder / "parts" / pair.source / f"{pair.stem}.json"


def convert_pair(pair: Pair, options: LabelOptions, folder: Path) -> ImageRecord | Skip:
    """Write the label PNG and the annotations of one pair under ``folder``.

    A file that cannot be used is answered with a `Skip`, not an exception: it must not end a batch.

    Raises:
        OSError: ``folder`` cannot be written.
    """
    read = _read(pair, options)
    if isinstance(read, Skip):
        return read
    image, value_range, truth = read
    labelled, categories = _cells(truth, options)
    if len(labelled.is_split) > MAX_CELLS:
        return _skip(
            pair.mask, "too many cells",
            f"{len(labelled.is_split)} components, a label PNG holds {MAX_CELLS}; is this a mask "
            f"of cells? A larger --min-area drops specks",
        )
    rles = label_map_to_rles(labelled.label_map)
    record = {
        "grey_values": truth.grey_values,
        "mask_mode": truth.mode,
        "mask_pixels": int(np.count_nonzero(truth.foreground)),
        "reading": truth.reading,
        "ignored_pixels": truth.ignored,
        "value_range": value_range.as_json(),
        **_measure(image, labelled, rles),
    }
    unmatched = Unmatched()
    if isinstance(pair, TypedPair):
        categories, unmatched = join_types(pair.types, labelled.label_map, record["boxes"])
    write_labels(folder, pair, labelled.label_map)
    rows = _annotations(labelled, record, rles, options.polygons)
    if categories:
        rows = [row | {"category": name} for row, name in zip(rows, categories, strict=True)]
    write_part(folder, pair, rows)
    plain = Pair(pair.stem, pair.source, pair.image, pair.mask)
    return ImageRecord(plain, **record, categories=tuple(categories), unmatched=unmatched)


def write_labels(folder: Path, pair: Pair, label_map: np.ndarray) -> None:
    """Write the label PNG of a pair."""
    _write(label_path(folder, pair), _encode_labels(label_map))


def write_part(folder: Path, pair: Pair, annotations: Sequence[dict[str, Any]]) -> None:
    """Write the annotations of a pair, COCO's without their ids."""
    _write(part_path(folder, pair), json.dumps(annotations).encode())


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def _encode_labels(label_map: np.ndarray) -> bytes:
    """16-bit PNG; rows are stored as differences to the row above, three times faster than default.

    An OpenCV without that switch writes the same pixels more slowly.
    """
    switches = [cv2.IMWRITE_PNG_COMPRESSION, 2]
    if hasattr(cv2, "IMWRITE_PNG_FILTER_UP"):
        switches += [cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_UP]
    return cv2.imencode(".png", label_map.astype(np.uint16), switches)[1].tobytes()


def _skip(path: Path, kind: str, reason: str) -> Skip:
    return Skip(printable(path.as_posix()), kind, reason)


def _cells(truth: MaskFile, options: LabelOptions) -> tuple[Labelled, list[str]]:
    """The cells of a mask, and their categories; [] where the mask says nothing of them."""
    if truth.label_map is not None:
        return Labelled.of_labels(truth.label_map), []
    label = functools.partial(
        label_cells,
        connectivity=options.connectivity,
        min_area=options.min_area,
        fill_holes=options.fill_holes,
        split_clumps=options.split_clumps,
    )
    if isinstance(truth, ClassMask):
        return truth.cells(label)
    return label(truth.foreground), []


def read_only_image(
    path: Path, max_value: float | None
) -> tuple[np.ndarray, ValueRange] | Skip:
    """The one image of a file, (H, W, 3) uint8 RGB, and its range; or why it cannot be used."""
    try:
        pages = len(planes(path).images)
        if pages > 1:
            return _skip(path, "several pages", f"it holds {pages} images, annotations are of one: "
                         "save each page as a file, with annotations of its own")  # fmt: skip
        return read_plane(path, max_value=max_value)
    except (ValueError, OSError) as error:
        return _skip(path, "unreadable image", str(error))


def _read(
    pair: Pair, options: LabelOptions
) -> tuple[np.ndarray, ValueRange, MaskFile] | Skip:
    """Image and mask of a pair, or why they cannot be used."""
    given = read_only_image(pair.image, options.max_value)
    if isinstance(given, Skip):
        return given
    image, value_range = given
    try:
        truth = _read_mask(pair.mask, options)
        _check_options(pair.mask, truth, options)
    except MaskError as error:
        return _skip(pair.mask, error.kind, str(error))
    except (ValueError, OSError) as error:
        return _skip(pair.mask, "unreadable mask", str(error))
    size = truth.foreground.shape
    if image.shape[:2] != size:
        return _skip(pair.mask, "size mismatch", _sizes(pair, image.shape[:2], size))
    return image, value_range, truth


def _read_mask(path: Path, options: LabelOptions) -> MaskFile:
    if options.classes is not None:
        return read_class_mask(path, options.classes)
    read = read_single if options.single else read_mask_file
    return read(path, options.mask_options)


def _check_options(path: Path, truth: MaskFile, options: LabelOptions) -> None:
    for name in ("fill_holes", "split_clumps"):
        if truth.label_map is not None and getattr(options, name):
            raise MaskError(
                "label image",
                f"mask {printable(path)} has one value a cell, and --{name.replace('_', '-')} is "
                "for binary masks: leave it out, or say --mask-kind binary",
            )


def _sizes(pair: Pair, wanted: tuple[int, int], got: tuple[int, int]) -> str:
    reason = (
        f"the mask is {got[1]}x{got[0]} px, its image {pair.image.name} is "
        f"{wanted[1]}x{wanted[0]}; export the mask again at the image's size"
    )
    if wanted == got[::-1]:
        reason += " (one of them lies on its side: an EXIF orientation?)"
    return reason


def _measure(image: np.ndarray, labelled: Labelled, rles: list[Rle]) -> dict[str, Any]:
    """The part of an `ImageRecord` that image and label map tell."""
    label_map = labelled.label_map
    areas = rle_areas(rles).astype(np.int32)
    boxes = np.array(coco_mask.toBbox(rles) if rles else [], dtype=np.int32).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    suspects = suspect_clumps(areas, solidities(label_map, boxes)) & ~labelled.is_split
    return {
        "areas": areas,
        "boxes": boxes,
        "border": labels.touches_border(boxes, label_map.shape),
        "is_split": labelled.is_split,
        "suspects": (np.flatnonzero(suspects) + 1).tolist(),
        "specks": labelled.specks,
        "speck_pixels": labelled.speck_pixels,
        "holes": labelled.holes,
        "hole_pixels": labelled.hole_pixels,
        **measure_image(image, boxes),
    }


def measure_image(image: np.ndarray, boxes: np.ndarray) -> dict[str, Any]:
    """The part of an `ImageRecord` that the image tells, with or without the boxes of its cells."""
    sample = np.ascontiguousarray(image[::4, ::4])
    mean, deviation = (v.ravel() for v in cv2.meanStdDev(sample))
    pixels = sample.shape[0] * sample.shape[1]
    return {
        "image_size": image.shape[:2],
        "pixel_count": pixels,
        "pixel_sum": mean * pixels,
        "pixel_square_sum": (np.square(mean) + np.square(deviation)) * pixels,
        "image_hash": perceptual_hash(image),
        "stain": stain_at_cells(image, boxes),
    }


def _annotations(
    labelled: Labelled, record: dict[str, Any], rles: list[Rle], polygons: bool
) -> list[dict[str, Any]]:
    """COCO annotations without their ids, in label order."""
    result, rules = [], labelled.rules
    for index, rle in enumerate(rles):
        x0, y0, x1, y1 = record["boxes"][index].tolist()
        result.append(
            {
                "segmentation": rle_to_polygons(rle) if polygons else rle_to_json(rle),
                "area": int(record["areas"][index]),
                "bbox": [x0, y0, x1 - x0, y1 - y0],
                "iscrowd": 0,
                "touches_border": bool(record["border"][index]),
                "label": index + 1,
                "rule": rules[index],
            }
        )
    return result
