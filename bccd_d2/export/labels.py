"""Label images: pixel value k is cell k, 0 the background."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from bccd_d2.io.atomic import atomic_file, write_bytes_atomic
from bccd_d2.io.label_images import check_label_map
from bccd_d2.masks.cells import Cells
from bccd_d2.masks.classes import Classes
from bccd_d2.masks.rle import decode_crop

UNSURE_VALUE = 255  # in a class image


def to_label_image(cells: Cells, bits: int | None = None) -> np.ndarray:
    """(H, W) uint16, or uint32 for more than 65,535 cells; the higher score wins an overlap.

    A cell wholly covered by better ones keeps its number but has no pixel.

    Args:
        bits: 16 or 32 to fix the type, so that all images of a run have one.

    Raises:
        ValueError: other bits, or more than 65,535 cells in 16 bits.
    """
    return _typed(cells.to_label_map(), bits, len(cells))


def write_label_tiff(
    path: str | Path, labels: Cells | np.ndarray, *, bits: int | None = None
) -> Path:
    """Write cells or a label map as a zlib-compressed grey TIFF, whole or not at all.

    ImageJ, QuPath, CellProfiler and napari open it; ImageJ itself reads 16 bits better than 32.

    Args:
        bits: as in `to_label_image`.
    """
    if isinstance(labels, Cells):
        image = to_label_image(labels, bits)
    else:
        image = _typed(check_label_map(labels), bits, int(np.max(labels, initial=0)))
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, image, photometric="minisblack", compression="zlib")
    return write_bytes_atomic(path, buffer.getvalue())


def write_label_tiles(
    path: str | Path, cells: Cells, *, bits: int | None = None, tile: int = 512
) -> Path:
    """The file of `write_label_tiff` for cells of an image of any size, in tiles, band by band.

    The label map is never whole in memory: ``tile`` rows of it are.

    Args:
        bits: as in `to_label_image`.
        tile: side of the file's tiles, px, a multiple of 16.
    """
    dtype = np.uint16 if _bits(bits, len(cells)) == 16 else np.uint32
    values = np.arange(1, len(cells) + 1).astype(dtype)
    return _write_tiles(path, cells, values, tile, photometric="minisblack")


def write_class_tiles(path: str | Path, cells: Cells, classes: Classes, tile: int = 512) -> Path:
    """Write the class image of cells of an image of any size, whole or not at all.

    A TIFF of 8 bits with a palette: value k is class k, from 1 in the order of ``classes``, in its
    colour; 255 is a cell of a type that the model is unsure of; 0, black, the background. Each
    cell's pixels are those of the label image.

    Raises:
        ValueError: more than 254 classes.
    """
    if len(classes) >= UNSURE_VALUE:
        raise ValueError(f"a class image holds {UNSURE_VALUE - 1} classes, not {len(classes)}")
    shown = classes.shown(cells.class_ids, cells.class_confidence)
    values = np.where(shown < 0, UNSURE_VALUE, shown + 1).astype(np.uint8)
    palette = np.zeros((3, 256), dtype=np.uint16)
    for value in (*range(1, len(classes) + 1), UNSURE_VALUE):
        colour = classes.colour(-1 if value == UNSURE_VALUE else value - 1)
        palette[:, value] = np.array(colour) * 257  # of 8 bits, as 16
    return _write_tiles(path, cells, values, tile, photometric="palette", colormap=palette)


def _write_tiles(
    path: str | Path, cells: Cells, values: np.ndarray, tile: int, **how: Any
) -> Path:
    """A TIFF in which each cell's pixels have its value; the background is 0."""
    with atomic_file(path) as stream:
        tifffile.imwrite(
            stream,
            _tiles(cells, tile, values),
            shape=cells.image_size,
            dtype=values.dtype,
            tile=(tile, tile),
            compression="zlib",
            maxworkers=1,
            **how,
        )
    return Path(path)


def _tiles(cells: Cells, tile: int, values: np.ndarray) -> Iterator[np.ndarray]:
    """Squares of the image of values, row by row; those at the end are padded with background."""
    height, width = cells.image_size
    boxes = cells.boxes.astype(np.int64)
    order = np.argsort(cells.scores, kind="stable")  # the better are painted later
    for top in range(0, height, tile):
        band = np.zeros((tile, -(-width // tile) * tile), dtype=values.dtype)
        there = (boxes[order, 1] < top + tile) & (boxes[order, 3] > top)
        for index in order[there].tolist():
            crop, y0, x0 = decode_crop(cells.rles[index])
            first, last = max(top, y0), min(top + tile, y0 + crop.shape[0])
            window = band[first - top : last - top, x0 : x0 + crop.shape[1]]
            window[crop[first - y0 : last - y0]] = values[index]
        for left in range(0, width, tile):
            yield np.ascontiguousarray(band[:, left : left + tile])


def _typed(label_map: np.ndarray, bits: int | None, largest: int) -> np.ndarray:
    return label_map.astype(np.uint16 if _bits(bits, largest) == 16 else np.uint32)


def _bits(bits: int | None, largest: int) -> int:
    if bits is None:
        bits = 16 if largest <= np.iinfo(np.uint16).max else 32
    if bits not in (16, 32):
        raise ValueError(f"bits must be 16 or 32, got {bits}")
    if bits == 16 and largest > np.iinfo(np.uint16).max:
        raise ValueError(f"{largest} labels do not fit into 16 bits; use bits=32")
    return bits
