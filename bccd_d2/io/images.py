"""Images to predict on: PNG, JPEG, BMP and TIFF of 8, 16 or 32 bits as RGB uint8, page by page.

How more than 8 bits become 8: every page by one factor for all its channels, so colours keep their
balance and contrast is not stretched. The factor comes from the number of bits in use, the smallest
of 8, 10, 12, 14 and 16 that holds the page's largest value: a 12-bit camera's image in a 16-bit
file (0 to 4095) becomes 0 to 255, and a full 16-bit one is divided by 257. A stain seen through a
microscope is bright somewhere, so the largest value tells the bits; a percentile stretch, as
fluorescence viewers do, would turn an empty field into noise. Floating point counts as 0 to 1, or
as 0 to 255 when a value is above 1.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import tifffile
from PIL import Image, ImageOps

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
BITS = (8, 10, 12, 14, 16)
ORIENTATION = 0x0112


def read_image(path: str | Path) -> np.ndarray:
    """(H, W, 3) uint8 RGB, the first page of the file; see `read_pages`."""
    return next(read_pages(path))


def read_pages(path: str | Path) -> Iterator[np.ndarray]:
    """Each page of an image file, (H, W, 3) uint8 RGB, one in memory at a time.

    Upright by its EXIF orientation; grey is repeated, transparency dropped, a palette looked up.
    Files other than TIFF have one page (of an animation it is the first); a TIFF's thumbnails and
    pyramid levels are no pages.

    Raises:
        FileNotFoundError: no such file.
        ValueError: another format, unreadable, cut short, or pixels that are no picture.
    """
    for number in page_numbers(path):
        yield read_page(path, number)


def page_numbers(path: str | Path) -> list[int]:
    """The numbers of a file's pages for `read_page`, from 0; those of thumbnails are missing.

    Raises:
        FileNotFoundError, ValueError: see `read_pages`.
    """
    path = _checked(path)
    if not is_tiff(path):
        return [0]
    with _unreadable(path), tifffile.TiffFile(path) as tif:
        numbers = [number for number, page in enumerate(tif.pages) if not page.is_reduced]
        if not numbers:
            raise ValueError("it has no page")
        return numbers


def read_page(path: str | Path, number: int = 0) -> np.ndarray:
    """One page of `page_numbers`, (H, W, 3) uint8 RGB; see `read_pages`.

    Raises:
        FileNotFoundError, ValueError: see `read_pages`.
    """
    path = _checked(path)
    with _unreadable(path):
        return _tiff_page(path, number) if is_tiff(path) else _one_page(path)


def is_tiff(path: str | Path) -> bool:
    """By the file's name."""
    return Path(path).suffix.lower() in (".tif", ".tiff")


def _checked(path: str | Path) -> Path:
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"image {path} does not exist")
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(f"image {path} must be one of {', '.join(SUFFIXES)}")
    return path


@contextlib.contextmanager
def _unreadable(path: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # decoders raise OSError, SyntaxError, struct.error, ...
        raise ValueError(
            f"image {path} is unreadable ({error or type(error).__name__}); it may be cut short: "
            f"copy it again or leave it out"
        ) from error


def to_uint8(pixels: np.ndarray) -> np.ndarray:
    """Pixels of any type as uint8 of the same shape, by the rule above.

    Raises:
        ValueError: negative, not finite, or above 255 (floating point) or 65,535 (whole numbers).
    """
    if pixels.dtype == np.uint8:
        return pixels
    if pixels.dtype == bool:
        return pixels.astype(np.uint8) * 255
    if pixels.size == 0:
        return pixels.astype(np.uint8)
    return scale_to_uint8(pixels, top_value(pixels.dtype, pixels.min(), pixels.max()))


def top_value(dtype: np.dtype, low: float, high: float) -> float:
    """What becomes 255 in a page whose values reach from ``low`` to ``high``.

    Raises:
        ValueError: see `to_uint8`.
    """
    low, high = float(low), float(high)
    floating = np.issubdtype(dtype, np.floating)
    limit = 255.0 if floating else 65535.0
    if not (low >= 0 and high <= limit):
        raise ValueError(f"{dtype} pixels must be in 0 to {limit:g}, got {low:g} to {high:g}")
    if floating:
        return 1.0 if high <= 1 else 255.0
    return float(2 ** next(bits for bits in BITS if high < 2**bits) - 1)


def scale_to_uint8(pixels: np.ndarray, top: float) -> np.ndarray:
    """Pixels from 0 to ``top`` as uint8 from 0 to 255."""
    return np.rint(pixels * np.float32(255 / top)).astype(np.uint8)


def _one_page(path: Path) -> np.ndarray:
    if path.suffix.lower() == ".png":
        # Pillow reads 16-bit colour as 8 bits of unknown origin, OpenCV as it is.
        pixels = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
        if pixels is not None and pixels.dtype == np.uint16:
            colour = pixels if pixels.ndim == 2 else pixels[..., 2::-1]
            with Image.open(path) as picture:
                turn = picture.getexif().get(ORIENTATION, 1)
            return _turned(_to_rgb(colour), turn)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Image.open(path) as picture:
            return _pillow_rgb(picture)


def _tiff_page(path: Path, number: int) -> np.ndarray:
    with tifffile.TiffFile(path) as tif:
        page = tif.pages[number]
        if page.dtype == np.uint8:
            with Image.open(path) as picture:
                picture.seek(number)
                return _pillow_rgb(picture)
        tag = page.tags.get(ORIENTATION)
        return _turned(_deep_page(path, number, page), tag.value if tag else 1)


def _deep_page(path: Path, number: int, page: tifffile.TiffPage) -> np.ndarray:
    """A page of more than 8 bits; Pillow would silently drop the lower ones."""
    try:
        pixels = page.asarray()
    except ValueError as error:
        if "imagecodecs" not in str(error):
            raise
        done, found = cv2.imreadmulti(str(path), number, 1, flags=cv2.IMREAD_UNCHANGED)
        if not done or page.planarconfig != tifffile.PLANARCONFIG.CONTIG:
            raise ValueError(f"{error}: pip install imagecodecs") from error
        return _to_rgb(found[0] if found[0].ndim == 2 else found[0][..., 2::-1])
    if page.axes == "SYX":
        pixels = np.moveaxis(pixels, 0, -1)
    if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE:
        pixels = np.iinfo(pixels.dtype).max - pixels
    return _to_rgb(pixels)


def _turned(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Upright: orientations 5 to 8 have rows and columns swapped; 1 and unknown ones stay."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    rows = -1 if orientation in (3, 4, 7, 8) else 1
    columns = -1 if orientation in (2, 3, 6, 7) else 1
    return np.ascontiguousarray(pixels[::rows, ::columns])


def _pillow_rgb(picture: Image.Image) -> np.ndarray:
    picture.load()
    upright = ImageOps.exif_transpose(picture)
    if upright.mode.startswith("I") or upright.mode == "F":
        return _to_rgb(np.asarray(upright))
    return np.asarray(upright if upright.mode == "RGB" else upright.convert("RGB"))


def _to_rgb(pixels: np.ndarray) -> np.ndarray:
    """(H, W), (H, W, 1), (H, W, 3) or (H, W, 4) of any depth as RGB uint8.

    Raises:
        ValueError: another shape, such as a fluorescence stack of two channels.
    """
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 3, 4):
        raise ValueError(f"pixels must be grey, RGB or RGBA, got an array of {pixels.shape}")
    pixels = to_uint8(np.ascontiguousarray(pixels[..., :3]))
    return np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels
