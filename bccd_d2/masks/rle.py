"""Between label maps, per-cell crops, COCO run-length encoding (RLE) and polygons.

RLE here is pycocotools' compressed form, ``{"size": [H, W], "counts": bytes}``: column-major runs,
the first of background. The encoders work on runs, never on one full-size bitmap a cell, which is
what makes a 70-cell image take milliseconds instead of a second: pycocotools unpacks whole images,
2 MB a cell; the runs of a cell are a few hundred numbers.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from pycocotools import mask as coco_mask

Rle = dict[str, Any]
_DIGITS = 8  # of five bits, that a run's length can have: more than images do


def rle_runs(rle: Rle) -> tuple[np.ndarray, np.ndarray]:
    """Starts and ends (half-open) of the foreground runs, int64, as column-major pixel indices.

    The arrays are read-only: those of the last few thousand masks are kept, for a cell is measured,
    drawn and written one after the other.

    The counts string holds 6 bits a character, from "0" on: five of the number, least first, and
    one that says that it goes on; the last of them carries the sign. From the fourth number on it
    is the difference to the number two before (pycocotools' ``rleFrString``).

    Raises:
        ValueError: ``counts`` is not compressed bytes, or its runs do not fill the image.
    """
    counts, (height, width) = rle["counts"], rle["size"]
    if not isinstance(counts, bytes):
        raise ValueError(
            f"rle must have compressed bytes as counts, got {type(counts).__name__}; call "
            f"rle_from_json first"
        )
    return _runs(counts, int(height), int(width))


@functools.lru_cache(maxsize=4096)
def _runs(counts: bytes, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    codes = np.frombuffer(counts, dtype=np.uint8).astype(np.int64) - 48
    last = np.flatnonzero((codes & 32) == 0)
    whole = not codes.size or (((codes >= 0) & (codes < 64)).all() and last.size and
                               last[-1] == codes.size - 1)
    longest = np.diff(last, prepend=-1).max(initial=0)
    if not whole or longest > _DIGITS:
        raise ValueError(f"rle has broken counts: {counts[:40]!r} is no compressed RLE")
    if not last.size:
        lengths = np.zeros(0, dtype=np.int64)
    else:
        first = np.concatenate(([0], last[:-1] + 1))
        digit = np.arange(last[-1] + 1) - np.repeat(first, last - first + 1)
        lengths = np.add.reduceat((codes[: last[-1] + 1] & 31) << (5 * digit), first)
        lengths[(codes[last] & 16) != 0] -= 1 << (5 * (last - first + 1))[(codes[last] & 16) != 0]
        lengths[1::2] = np.cumsum(lengths[1::2])
        lengths[2::2] = np.cumsum(lengths[2::2])
    edges = np.cumsum(lengths)
    if (lengths < 0).any() or (edges[-1] if edges.size else 0) != height * width:
        raise ValueError(f"rle has broken counts: its runs do not fill {height}x{width} pixels")
    ends = edges[1::2].copy()
    starts = ends - lengths[1::2]
    ends.flags.writeable = starts.flags.writeable = False
    return starts, ends


def run_pixels(starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Every index inside the half-open runs, int64, run by run."""
    lengths = ends - starts
    offsets = np.cumsum(lengths) - lengths
    return np.repeat(starts - offsets, lengths) + np.arange(lengths.sum())


def compress_runs(starts: np.ndarray, ends: np.ndarray, image_size: tuple[int, int]) -> Rle:
    """RLE of foreground runs [start, end) in column-major order; touching runs are joined."""
    height, width = (int(n) for n in image_size)
    joined = np.flatnonzero(starts[1:] == ends[:-1])
    if joined.size:
        starts, ends = np.delete(starts, joined + 1), np.delete(ends, joined)
    edges = np.empty(2 * starts.size + 2, dtype=np.int64)
    edges[0], edges[-1] = 0, height * width
    edges[1:-1:2], edges[2:-1:2] = starts, ends
    counts = np.diff(edges)
    if counts[-1] == 0:
        counts = counts[:-1]
    return coco_mask.frPyObjects(
        {"size": [height, width], "counts": counts.tolist()}, height, width
    )


def encode_crop(mask_crop: np.ndarray, y0: int, x0: int, image_size: tuple[int, int]) -> Rle:
    """RLE in an image of ``image_size`` (H, W) of a bool mask that is zero outside one window.

    Args:
        mask_crop: (h, w) bool, the window's pixels.
        y0: row of the window's top left pixel.
        x0: column of the same.

    Raises:
        ValueError: the window reaches outside the image.
    """
    height, width = image_size
    crop_height, crop_width = mask_crop.shape
    if y0 < 0 or x0 < 0 or y0 + crop_height > height or x0 + crop_width > width:
        raise ValueError(
            f"a {crop_height}x{crop_width} window at row {y0}, column {x0} does not fit in an "
            f"image of {height}x{width}; clip it first"
        )
    padded = np.zeros((crop_width, crop_height + 2), dtype=np.int8)
    padded[:, 1:-1] = mask_crop.T
    steps = np.diff(padded, axis=1)
    start_column, start_row = np.nonzero(steps == 1)
    end_column, end_row = np.nonzero(steps == -1)
    starts = (start_column + x0) * height + start_row + y0
    ends = (end_column + x0) * height + end_row + y0
    return compress_runs(starts, ends, (height, width))


def label_map_to_rles(label_map: np.ndarray) -> list[Rle]:
    """RLE of each cell of a label map, in the order of the labels: item k - 1 is cell k.

    Args:
        label_map: (H, W) integer, 0 = background, cells 1..N without gaps.

    Returns:
        N RLEs; [] for a map without cells.

    Raises:
        ValueError: a label is missing between 1 and the largest.
    """
    found, rles = numbered_rles(label_map)
    if found.size and found[-1] != found.size:
        raise ValueError(
            f"label_map must hold cells 1..N without gaps, got {found.size} labels up to "
            f"{found[-1]}; call bccd_d2.masks.labels.relabel first"
        )
    return rles


def numbered_rles(label_map: np.ndarray) -> tuple[np.ndarray, list[Rle]]:
    """The labels of a label map that are there, ascending, and the RLE of each.

    Args:
        label_map: (H, W) integer, 0 = background.
    """
    height, width = label_map.shape
    flat = label_map.T.ravel()
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    starts = np.concatenate(([0], changes))
    ends = np.concatenate((changes, [flat.size]))
    values = flat[starts]
    inside = values > 0
    starts, ends, values = starts[inside], ends[inside], values[inside]
    order = np.argsort(values, kind="stable")
    starts, ends, values = starts[order], ends[order], values[order]
    found, first = np.unique(values, return_index=True)
    bounds = itertools.pairwise(np.append(first, values.size))
    return found, [compress_runs(starts[a:b], ends[a:b], (height, width)) for a, b in bounds]


def rle_to_mask(rle: Rle) -> np.ndarray:
    """(H, W) bool mask of one RLE."""
    # A list of one avoids an array copy that numpy 2 warns of.
    return coco_mask.decode([rle])[..., 0].astype(bool)


def rle_areas(rles: Sequence[Rle]) -> np.ndarray:
    """(N,) int64 pixels; one call a mask, for pycocotools overflows on lists of over 255."""
    return np.array([int(coco_mask.area(rle)) for rle in rles], dtype=np.int64)


def rle_box(rle: Rle) -> tuple[int, int, int, int]:
    """Tight half-open box (x0, y0, x1, y1) in pixels; (0, 0, 0, 0) for an empty mask."""
    x, y, w, h = coco_mask.toBbox(rle)
    return int(x), int(y), int(x + w), int(y + h)


def decode_crop(rle: Rle) -> tuple[np.ndarray, int, int]:
    """The mask inside its tight box, with the box's top left corner.

    Only the box's columns are unpacked, which is some fifty times faster than the whole image; the
    last masks are remembered, as each file that is written of a cell asks for its own.

    Returns:
        (h, w) bool crop, not to be written to, row y0, column x0; a (0, 0) crop at (0, 0) for an
        empty mask.
    """
    height, width = rle["size"]
    return _crop(bytes(rle["counts"]), int(height), int(width))


@functools.lru_cache(maxsize=512)  # a crowded image and a half; 10 kB each
def _crop(counts: bytes, height: int, width: int) -> tuple[np.ndarray, int, int]:
    rle: Rle = {"size": [height, width], "counts": counts}
    x0, y0, x1, y1 = rle_box(rle)
    columns = np.zeros((x1 - x0) * height, dtype=bool)
    starts, ends = rle_runs(rle)
    columns[run_pixels(starts - x0 * height, ends - x0 * height)] = True
    crop = np.ascontiguousarray(columns.reshape(x1 - x0, height).T[y0:y1])
    crop.flags.writeable = False
    return crop, y0, x0


def rle_to_polygons(rle: Rle, tolerance: float = 0.0) -> list[list[float]]:
    """Outer outlines of a mask as COCO polygons: flat x, y lists, one a connected part.

    Vertices lie on pixel corners, so a 3x2 rectangle has an outline of area 6 and filling it gives
    the pixels back. Holes are not expressed (COCO polygons have none): use RLE where they matter.

    Args:
        tolerance: px; vertices closer than this to the simplified outline are left out (Douglas
            and Peucker). 0 keeps every corner.

    Returns:
        [] for an empty mask.
    """
    crop, y0, x0 = decode_crop(rle)
    if crop.size == 0:
        return []
    # Doubling and padding puts contour vertices between pixels: OpenCV traces pixel centres.
    doubled = np.pad(crop.astype(np.uint8), 1).repeat(2, axis=0).repeat(2, axis=1)
    outlines, _ = cv2.findContours(doubled, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    polygons = []
    for outline in outlines:
        corners = np.floor((outline[:, 0, :] + 1) / 2) - 1
        if tolerance > 0:
            corners = cv2.approxPolyDP(corners.astype(np.float32), tolerance, True)[:, 0, :]
        keep = np.any(corners != np.roll(corners, 1, axis=0), axis=1)
        corners = corners[keep] + (x0, y0)
        if len(corners) >= 3:
            polygons.append([float(v) for v in corners.ravel()])
    return polygons


def rle_to_json(rle: Rle) -> Rle:
    """The same RLE with ``counts`` as str, as COCO json files hold it."""
    counts = rle["counts"]
    return {
        "size": [int(n) for n in rle["size"]],
        "counts": counts.decode("ascii") if isinstance(counts, bytes) else counts,
    }


def rle_from_json(rle: Rle) -> Rle:
    """The compressed RLE of a COCO json segmentation, with ``counts`` str, bytes or a list of runs.

    Raises:
        ValueError: it is no RLE (a polygon list, say).
    """
    if not isinstance(rle, dict) or "counts" not in rle or "size" not in rle:
        raise ValueError(f"expected an RLE with 'size' and 'counts', got {type(rle).__name__}")
    size, counts = rle["size"], rle["counts"]
    if not (isinstance(size, (list, tuple)) and len(size) == 2 and all(map(_is_whole, size))):
        raise ValueError(f"RLE 'size' must be height and width, got {size!r:.60}")
    height, width = (int(n) for n in size)
    if height * width >= 1 << 32:
        raise ValueError(f"RLE 'size' {height}x{width} has more pixels than an RLE can count")
    if isinstance(counts, Sequence) and not isinstance(counts, (str, bytes)):
        if not all(map(_is_whole, counts)) or sum(counts) != height * width:
            raise ValueError(f"RLE 'counts' must be runs that fill {height}x{width} pixels")
        return coco_mask.frPyObjects(
            {"size": [height, width], "counts": list(counts)}, height, width
        )
    if isinstance(counts, str) and counts.isascii():
        counts = counts.encode("ascii")
    if not isinstance(counts, bytes):
        raise ValueError(f"RLE 'counts' must be ASCII text or runs, got {counts!r:.60}")
    return {"size": [height, width], "counts": counts}


def _is_whole(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        return False
    return bool(value >= 0)
