"""Image and mask files as arrays, read strictly: half a file is an error, never half an image."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageOps

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
ORIENTATION = 0x0112


class NotBinaryError(ValueError):
    """A mask file with more than two grey values, and no threshold to divide them."""


@dataclass(frozen=True, eq=False)
class BinaryMask:
    """A mask file as foreground and background.

    Attributes:
        mask: (H, W) bool, True = cell.
        grey_values: how many distinct grey values the file holds.
        mode: Pillow's name of the file's pixel format ("RGB", "L", "1", "P", "RGBA", "I;16").
    """

    mask: np.ndarray
    grey_values: int
    mode: str


def _load(path: Path, what: str) -> Image.Image:
    """The decoded file; every way in which a decoder fails becomes one ValueError."""
    if not path.is_file():
        raise FileNotFoundError(f"{what} {path} does not exist")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            picture = Image.open(path)
            picture.load()
    except Exception as error:  # Pillow's decoders raise OSError, SyntaxError, struct.error, ...
        raise ValueError(
            f"{what} {path} is unreadable ({error or type(error).__name__}); it may be cut short: "
            f"copy it again or remove it"
        ) from error
    return picture


def read_image(path: str | Path) -> np.ndarray:
    """(H, W, 3) uint8 RGB, turned upright by its EXIF orientation.

    Grey, palette and 16-bit files are converted, transparency is dropped; of a file with several
    pages it is the first.

    Raises:
        FileNotFoundError: no such file.
        ValueError: unreadable or cut short.
    """
    picture = _load(Path(path), "image")
    if picture.getexif().get(ORIENTATION, 1) != 1:
        picture = ImageOps.exif_transpose(picture)
    if picture.mode.startswith("I") or picture.mode == "F":
        grey = np.asarray(picture, dtype=np.float64)
        if picture.mode.startswith("I"):
            grey = grey / 257
        grey = np.clip(np.nan_to_num(grey), 0, 255).round().astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    return np.asarray(picture if picture.mode == "RGB" else picture.convert("RGB"))


def read_mask(path: str | Path, threshold: float | None = None) -> BinaryMask:
    """The foreground of a mask file in any common pixel format.

    Grey is the brightest of the colour channels, composited over black where there is
    transparency. Without a threshold the file may hold at most two grey values: of two the brighter
    is foreground, a single one is foreground unless it is 0.

    Args:
        threshold: grey values from here on are foreground, in the file's own scale (0 to 255, or
            0 to 65535 in a 16-bit file).

    Raises:
        FileNotFoundError: no such file.
        NotBinaryError: more than two grey values and no threshold (a ValueError).
        ValueError: unreadable or cut short.
    """
    path = Path(path)
    picture = _load(path, "mask")
    grey = _grey(picture)
    values = _distinct(grey)
    if threshold is not None:
        mask = grey >= threshold
    elif len(values) <= 2:
        mask = grey == values[-1] if len(values) and values[-1] != 0 else np.zeros(grey.shape, bool)
    else:
        middle = 128 if values[-1] <= 255 else int(values[-1] + 1) // 2
        raise NotBinaryError(
            f"mask {path} has {len(values)} grey values ({values[0]:g} to {values[-1]:g}), a "
            f"binary mask has two; say from which value on a pixel is cell: --threshold {middle}"
        )
    return BinaryMask(mask, len(values), picture.mode)


def _grey(picture: Image.Image) -> np.ndarray:
    if picture.mode == "1":
        return np.asarray(picture).astype(np.uint8) * 255
    if picture.mode == "L" or picture.mode.startswith("I") or picture.mode == "F":
        return np.asarray(picture)
    if picture.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        colour = np.asarray(picture)
        grey = _brightest(colour).astype(np.uint16)
        return ((grey * colour[..., 3] + 127) // 255).astype(np.uint8)
    return _brightest(np.asarray(picture if picture.mode == "RGB" else picture.convert("RGB")))


def _brightest(colour: np.ndarray) -> np.ndarray:
    red, green, blue = colour[..., 0], colour[..., 1], colour[..., 2]
    return cv2.max(cv2.max(red, green), blue)


def _distinct(grey: np.ndarray) -> np.ndarray:
    """Ascending distinct values; counting is ten times faster than sorting where it is possible."""
    if grey.dtype == np.uint8:
        return np.flatnonzero(cv2.calcHist([grey], [0], None, [256], [0, 256]))
    if grey.dtype == np.uint16:
        return np.flatnonzero(np.bincount(grey.ravel()))
    return np.unique(grey)
