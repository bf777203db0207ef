"""Label images and masks: a file's own values, and the rules of label maps.

A label map is (H, W) int32, 0 = background, k = cell k. It holds each pixel once, so it is lossless
exactly when cells do not overlap.
"""

from __future__ import annotations

import os
import re
import tokenize
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image

from bccd_d2.io.atomic import write_png_atomic
from bccd_d2.io.files import MAX_BYTES, UnreadableError, is_tiff, lossy_labels, opened
from bccd_d2.io.images import (
    SUFFIXES,
    by_pillow,
    open_picture,
    orientation,
    read_page,
    turned_upright,
    upright,
)
from bccd_d2.io.records import read_rows
from bccd_d2.io.text import printable
from bccd_d2.io.tiff_header import check_page, open_tiff, page_of, pixel_type
from bccd_d2.io.tiff_pages import find_planes

ENDINGS = (*SUFFIXES, ".npy")
_WORDS = "cp_?masks?|inst(?:ance)?_?masks?|masks?|labels?|seg(?:mentation|mented|s)?|" \
    "instances?|annotations?|annotated|ground_?truth|gt"  # fmt: skip
_SUFFIX = re.compile(rf"(.+?)[ _.\-]+(?:{_WORDS})", re.IGNORECASE)
_PREFIX = re.compile(rf"(?:{_WORDS})[ _.\-]+(.+)", re.IGNORECASE)
_IMAGE_SUFFIX = re.compile(r"(.+?)[ _.\-]+(?:image|img|original|orig|raw|rgb)", re.IGNORECASE)
_TABLE = 2**22  # labels up to here are numbered anew by a table, larger ones by sorting


@dataclass(frozen=True, eq=False)
class Values:
    """What a file of a mask or of labels holds.

    Attributes:
        values: (H, W) of any type, or (H, W, 3) or (H, W, 4) uint8; as they stand in the file.
        mode: the pixel format: Pillow's name, or the type of a TIFF or an array.
        white_is_zero: the file says that its values are shown inverted.
        palette: (N, 3) uint8, the colours that the values stand for; None where there are none.
    """

    values: np.ndarray
    mode: str
    white_is_zero: bool = False
    palette: np.ndarray | None = None


# -- names --------------------------------------------------------------------------------------


def image_stem(stem: str) -> str:
    """The image's stem that a mask's or label image's stem belongs to; "" where it has no addition.

    >>> image_stem("s0_cp_masks"), image_stem("s0-mask"), image_stem("mask_s0"), image_stem("s0")
    ('s0', 's0', 's0', '')
    """
    found = _SUFFIX.fullmatch(stem) or _PREFIX.fullmatch(stem)
    return found[1] if found else ""


def plain_stem(stem: str) -> str:
    """An image's stem without an addition that says that it is one, such as ``_img``.

    >>> plain_stem("s0_img"), plain_stem("s0")
    ('s0', 's0')
    """
    found = _IMAGE_SUFFIX.fullmatch(stem)
    return found[1] if found else stem


def names_masks(folder: str) -> bool:
    """Whether a folder's name says that it holds masks or label images, such as ``labels``."""
    return re.fullmatch(_WORDS, folder, re.IGNORECASE) is not None


def same_name(stem: str) -> str:
    """A stem as it is compared: one unicode spelling."""
    return unicodedata.normalize("NFC", stem)


def label_images_of(paths: Sequence[Path]) -> list[Path]:
    """The files without Cellpose's ``_seg.npy``, which holds no array, where there are others."""
    kept = [path for path in paths if not path.name.lower().endswith("_seg.npy")]
    return kept or list(paths)


def find_label_file(folder: str | Path, stem: str) -> Path:
    """The label image of an image: its stem, or that with a usual addition such as ``_cp_masks``.

    The image itself may lie beside it: a picture in colour is no label image.

    Raises:
        FileNotFoundError: there is none.
        ValueError: there are several.
    """
    folder, wanted = Path(folder), same_name(stem)
    names = sorted(name for name in os.listdir(folder) if wanted in same_name(name))
    files = [folder / name for name in names if Path(name).suffix.lower() in ENDINGS]
    files = [path for path in files if path.is_file()]
    plain = [path for path in files if same_name(path.stem) == wanted]
    found = [path for path in files if same_name(image_stem(path.stem)) == wanted]
    found += [path for path in plain if not found or not _is_colour(path)]
    found = label_images_of(found)
    if not found:
        raise FileNotFoundError(
            f"no label image of {printable(stem)} in {printable(folder)}; looked for "
            f"{printable(stem)} with {', '.join(ENDINGS)}, also with _masks, _cp_masks, _labels, "
            "_seg and the like after the stem"
        )
    if len(found) > 1:
        listed = ", ".join(printable(path) for path in found)
        raise ValueError(f"several label images of {printable(stem)}: {listed}; keep one")
    return found[0]


def _is_colour(path: Path) -> bool:
    try:
        return read_values(path).values.ndim == 3
    except (ValueError, OSError):
        return False


# -- values -------------------------------------------------------------------------------------


def read_values(path: str | Path, what: str = "label image") -> Values:
    """A mask's or label image's own values, not scaled, upright; axes of length 1 are dropped.

    Raises:
        FileNotFoundError: no such file.
        UnreadableError: damaged, cut short, too large, of several pages, or no image (a
            ValueError); the message says which, and what to do.
    """
    path = Path(path)
    if path.is_file() and path.suffix.lower() not in ENDINGS:
        raise UnreadableError(f"{what} {printable(path)} must be one of {', '.join(ENDINGS)}")
    with opened(path, what) as stream:
        if path.suffix.lower() == ".npy":
            return _array(stream)
        return _tiff_values(stream) if is_tiff(stream) else _pillow_values(stream)


def _array(stream: BinaryIO) -> Values:
    try:
        mapped = np.lib.format.open_memmap(stream.name, mode="r")
    except (ValueError, SyntaxError, tokenize.TokenError, UnicodeDecodeError) as error:
        if "object" in str(error).lower():
            raise UnreadableError(
                "it holds Python objects, not an array (Cellpose's _seg.npy?): save label images, "
                "in Cellpose with --save_tif or --save_png"
            ) from error
        raise UnreadableError(f"{error}: it is no sound array; save it anew") from error
    if mapped.nbytes > MAX_BYTES or mapped.dtype.kind not in "buif":
        raise UnreadableError(f"an array of {mapped.shape} {mapped.dtype} is not read as labels")
    array = np.squeeze(np.array(mapped))
    return Values(_two_axes(array), array.dtype.name)


def _two_axes(array: np.ndarray) -> np.ndarray:
    colour = array.ndim == 3 and array.shape[2] in (3, 4) and array.dtype == np.uint8
    if array.ndim != 2 and not colour:
        raise UnreadableError(_no_plane(array))
    return array


def _no_plane(array: np.ndarray) -> str:
    return (f"label_map must be (H, W) of integers, got {array.shape} {array.dtype}: give label "
            "images, one plane of whole numbers each")  # fmt: skip


def _pillow_values(stream: BinaryIO) -> Values:
    with open_picture(stream) as picture:
        return _of_picture(picture)


def _of_picture(picture: Image.Image) -> Values:
    picture.load()
    turned = turned_upright(picture)
    mode = turned.mode
    if mode == "1":
        return Values(np.asarray(turned).astype(np.uint8) * 255, mode)
    if mode == "P" and "transparency" not in picture.info:
        palette = np.array(turned.getpalette("RGB"), np.uint8).reshape(-1, 3)
        return Values(np.asarray(turned), mode, palette=palette)
    if mode in ("L", "F") or mode.startswith("I"):
        if "transparency" not in picture.info:
            return Values(np.asarray(turned), mode)
    clear = mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in picture.info
    return Values(np.asarray(turned.convert("RGBA" if clear else "RGB")), mode)


def _tiff_values(stream: BinaryIO) -> Values:
    with open_tiff(stream) as tif:
        found = find_planes(tif).images
        if len(found) > 1 or len(found[0].pages) > 1:
            raise UnreadableError(
                f"it has {len(tif.pages)} pages, a mask or label image has one: save each as a file"
            )
        page = page_of(tif, found[0].page)
        check_page(page, os.fstat(stream.fileno()).st_size)
        white_is_zero = page.photometric == 0
        if by_pillow(page):
            stream.seek(0)
            with open_picture(stream) as picture:
                picture.seek(found[0].page)
                read = _of_picture(picture)
            inverted = white_is_zero and read.values.ndim == 2  # Pillow has turned it
            values = 255 - read.values if inverted else read.values
            return Values(values, read.mode, white_is_zero, read.palette)
        values = upright(np.squeeze(read_page(stream, page), axis=None), orientation(page))
        return Values(_two_axes(values), pixel_type(page).name, white_is_zero)


# -- label maps ---------------------------------------------------------------------------------


def check_label_map(label_map: np.ndarray) -> np.ndarray:
    """The map as (H, W) int32.

    Raises:
        ValueError: not two-dimensional, not whole numbers, negative, or beyond 32 bits.
    """
    array = np.asarray(label_map)
    if array.ndim != 2 or not (np.issubdtype(array.dtype, np.integer) or array.dtype == bool):
        raise ValueError(_no_plane(array))
    if array.size and array.min() < 0:
        raise ValueError(f"label_map must not hold negative labels, got {array.min()}: set "
                         "what is no cell to 0")  # fmt: skip
    if array.size and array.max() > np.iinfo(np.int32).max:
        raise ValueError(f"label_map must hold labels of 31 bits, got {array.max()}")
    return array.astype(np.int32, copy=False)


def compact_labels(values: np.ndarray) -> np.ndarray:
    """(H, W) int32: the same cells numbered 1..N without gaps, in the order of their old labels.

    Any type of whole numbers at least 0 will do, floating point and 64 bits included; memory does
    not grow with the labels.

    Raises:
        ValueError: not two-dimensional, not whole numbers, or negative.
    """
    array = np.asarray(values)
    if np.issubdtype(array.dtype, np.floating) and array.ndim == 2:
        if not (np.isfinite(array).all() and np.array_equal(array, np.rint(array))):
            raise ValueError(f"label_map must be (H, W) of integers, got {array.dtype} fractions")
        largest = float(np.abs(array).max(initial=0))
        if largest >= 2.0 ** np.finfo(array.dtype).nmant:
            raise ValueError(
                f"labels up to {largest:g} are not exact in {array.dtype}: save them as integers"
            )
        array = array.astype(np.int64)
    if array.ndim != 2 or array.dtype.kind not in "bui":
        raise ValueError(_no_plane(array))
    low, high = (int(array.min()), int(array.max())) if array.size else (0, 0)
    if low < 0:
        raise ValueError(f"label_map must not hold negative labels, got {low}: set what is no cell "
                         "to 0")  # fmt: skip
    if high < _TABLE:
        present = np.bincount(array.astype(np.int64, copy=False).ravel(), minlength=1) > 0
        present[0] = False
        lookup = (np.cumsum(present, dtype=np.int32) * present).astype(np.int32)
        return lookup[array.astype(np.int32, copy=False)]
    labels, inverse = np.unique(array, return_inverse=True)
    first = 0 if labels[0] == 0 else 1
    return (inverse.reshape(array.shape) + first).astype(np.int32)


def read_label_file(path: str | Path, compact: bool = True) -> np.ndarray:
    """(H, W) int32 label map, cells numbered 1..N without gaps, or as in the file.

    Raises:
        FileNotFoundError: no such file.
        ValueError: unreadable, in colour, or not of whole numbers at least 0.
    """
    read = read_values(path)
    try:
        if reason := lossy_labels(path):
            raise ValueError(reason)
        return compact_labels(read.values) if compact else check_label_map(read.values)
    except ValueError as error:
        raise ValueError(f"label image {printable(path)}: {error}") from error


def write_label_map(path: str | Path, label_map: np.ndarray) -> Path:
    """Write a 16-bit grey PNG, whole or not at all.

    Raises:
        ValueError: more than 65,535 cells; write a 32-bit TIFF instead.
    """
    label_map = check_label_map(label_map)
    if label_map.size and label_map.max() > np.iinfo(np.uint16).max:
        raise ValueError(f"{path}: {label_map.max()} labels do not fit into 16 bits; use a TIFF")
    return write_png_atomic(path, label_map.astype(np.uint16))


# -- scores -------------------------------------------------------------------------------------


def read_label_scores(path: str | Path) -> dict[str, np.ndarray]:
    """Scores of labels by image stem, of a CSV table with the columns image, label and score.

    The labels of an image must be numbered 1..N without gaps, as its label image must.

    Returns:
        For each stem (N,) float32 in [0, 1], label k at k - 1.

    Raises:
        FileNotFoundError: no such file.
        ValueError: other columns, a gap, a label twice, or a score outside [0, 1].
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"scores {path} do not exist")
    columns = {"image": str, "label": int, "score": float}
    rows: dict[str, dict[int, float]] = {}
    remedy = "every line needs image, label (a whole number) and score"
    for row in read_rows(path, columns, remedy, ours=False):
        image, label, score = (row[name] for name in columns)
        if not 0 <= score <= 1 or label in rows.setdefault(image, {}):
            raise ValueError(
                f"{path}: score {score} of label {label} of {printable(image)} is outside [0, 1], "
                "or the label's second"
            )
        rows[image][label] = score
    for image, scores in rows.items():
        if sorted(scores) != list(range(1, len(scores) + 1)):
            raise ValueError(f"{path}: the labels of {image} are not numbered 1 to {len(scores)}")
    return {
        image: np.array([scores[k] for k in sorted(scores)], dtype=np.float32)
        for image, scores in rows.items()
    }
