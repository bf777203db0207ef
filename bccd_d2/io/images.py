"""The one reader of image files: PNG, JPEG, BMP, WebP and TIFF as RGB uint8, page by page.

Converting, training, evaluating, predicting, reports and the page all read here, so that a file is
the same array everywhere, or refused everywhere for the same reason. Headers are checked before
anything is decoded. How more than 8 bits become 8: `bccd_d2.io.value_range`.
"""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np
import tifffile
from PIL import Image, ImageOps

from bccd_d2.io.files import SMALLER, UnreadableError, check_size, is_tiff, opened
from bccd_d2.io.text import printable
from bccd_d2.io.tiff_header import check_page, open_tiff, page_of, pixel_type
from bccd_d2.io.tiff_pages import Plane, Planes, find_planes
from bccd_d2.io.tiff_pixels import TiffPixels
from bccd_d2.io.transparency import alpha_of, limits_of, multiplied, on_white
from bccd_d2.io.value_range import ValueRange, measure_range, scale_to_uint8

SUFFIXES = (".png", ".jpg", ".jpeg", ".jfif", ".bmp", ".webp", ".tif", ".tiff", ".svs",
            ".ndpi")  # fmt: skip
UNREAD_SUFFIXES = (  # of pictures that are not read; others are no pictures
    ".gif", ".heic", ".heif", ".avif", ".jp2", ".jpx", ".j2k", ".jxl", ".pdf", ".psd", ".dng",
    ".cr2", ".nef", ".arw", ".czi", ".lif", ".lsm", ".nd2", ".oib", ".oif", ".vsi",
    ".scn", ".mrxs", ".bif", ".dcm", ".ppm", ".pgm", ".tga", ".exr", ".hdr", ".zarr",
)  # fmt: skip
FORMATS = ("PNG", "JPEG", "BMP", "DIB", "WEBP", "TIFF")  # that Pillow may try
ORIENTATION = 0x0112
_GREY = (tifffile.PHOTOMETRIC.MINISBLACK, tifffile.PHOTOMETRIC.MINISWHITE)
_DIRECT = (*_GREY, tifffile.PHOTOMETRIC.RGB)
_LOSSLESS = (tifffile.COMPRESSION.NONE, tifffile.COMPRESSION.ADOBE_DEFLATE)


def read_image(path: str | Path, plane: Plane | None = None, what: str = "image",
               max_value: float | None = None) -> np.ndarray:  # fmt: skip
    """(H, W, 3) uint8 RGB of a plane, the file's first by default; see `read_plane`."""
    return read_plane(path, plane, what, max_value)[0]


def read_plane(path: str | Path, plane: Plane | None = None, what: str = "image",
               max_value: float | None = None) -> tuple[np.ndarray, ValueRange]:  # fmt: skip
    """One of a file's planes as (H, W, 3) uint8 RGB, and the values that became 0 to 255.

    Upright by its EXIF orientation; grey is repeated, what is transparent becomes white, a palette
    looked up, an inverted look-up table applied, CMYK, LAB and YCbCr converted.

    Args:
        plane: of `planes`; None = the first.
        what: what messages call the file.
        max_value: what becomes 255 in an image of more than 8 bits; None = by its values.

    Raises:
        FileNotFoundError: no such file.
        UnreadableError: another format, damaged, cut short, too large, or no picture (a
            ValueError); the message says which, and what to do.
    """
    path = Path(path)
    _check_suffix(path, what)
    with opened(path, what) as stream:
        if not is_tiff(stream):
            return _one_page(stream, max_value)
        with open_tiff(stream) as tif:
            plane = find_planes(tif).images[0] if plane is None else plane
            return _tiff_plane(tif, stream, plane, max_value)


def planes(path: str | Path, what: str = "image") -> Planes:
    """The images in a file, by its headers; files other than TIFF have one.

    Raises:
        FileNotFoundError, UnreadableError: see `read_plane`.
    """
    path = Path(path)
    _check_suffix(path, what)
    with opened(path, what) as stream:
        if not is_tiff(stream):
            with open_picture(stream):
                return Planes()
        with open_tiff(stream) as tif:
            return find_planes(tif)


def image_size(path: str | Path) -> tuple[int, int, int]:
    """Width, height and number of images of a file, by its headers; of the first image.

    Raises:
        FileNotFoundError, UnreadableError: see `read_plane`.
    """
    path = Path(path)
    _check_suffix(path, "image")
    with opened(path, "image") as stream:
        if not is_tiff(stream):
            with open_picture(stream) as picture:
                return *picture.size, 1
        with open_tiff(stream) as tif:
            found = find_planes(tif).images
            page = page_of(tif, found[0].page)
            return int(page.imagewidth), int(page.imagelength), len(found)


def _check_suffix(path: Path, what: str) -> None:
    if path.is_file() and path.suffix.lower() not in SUFFIXES:
        raise UnreadableError(f"{what} {printable(path)} must be one of {', '.join(SUFFIXES)}")


# -- files with one image -----------------------------------------------------------------------


@contextlib.contextmanager
def open_picture(stream: BinaryIO) -> Iterator[Image.Image]:
    """A file's header by Pillow, of a size that may be decoded."""
    stream.seek(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            picture = Image.open(stream, formats=FORMATS)
        except Image.DecompressionBombError as error:
            raise UnreadableError(f"it has more pixels than are read at once: {SMALLER}") from error
        with picture:
            check_size(*picture.size, len(picture.getbands()))
            frames = getattr(picture, "n_frames", 1)
            if frames > 1 and picture.format in ("PNG", "WEBP"):
                raise UnreadableError(f"it is a film of {frames} pictures: save each as a PNG")
            _check_not_cut(stream, picture)
            yield picture


def _check_not_cut(stream: BinaryIO, picture: Image.Image) -> None:
    """A PNG is whole where its chunks are; Deflate makes nothing smaller than its 1032nd part."""
    size = os.fstat(stream.fileno()).st_size
    if picture.format == "PNG" and picture.width * picture.height / 8 > 1100 * size + 65536:
        raise UnreadableError(
            f"its header says {picture.width} x {picture.height} px, for which its {size} bytes "
            "are too few; it may be cut short: copy it again or leave it out"
        )
    place = 8  # of a chunk: its length, its name, its data, its checksum
    while picture.format == "PNG" and place + 8 <= size:
        stream.seek(place)
        place += 12 + int.from_bytes(stream.read(4), "big")
        if place > size:
            raise UnreadableError(
                "one of its chunks ends beyond the file; it may be cut short: copy it again or "
                "leave it out"
            )
        if stream.read(4) == b"IEND":
            break


def _one_page(stream: BinaryIO, max_value: float | None) -> tuple[np.ndarray, ValueRange]:
    with open_picture(stream) as picture:
        if not _is_deep_colour(stream, picture):
            return _pillow_rgb(picture, max_value)
        picture.load()  # OpenCV does not notice a file that ends too early
        turn = picture.getexif().get(ORIENTATION, 1)
    # Pillow reads 16-bit colour as 8 bits of unknown origin, OpenCV as it is.
    stream.seek(0)
    pixels = cv2.imdecode(np.frombuffer(stream.read(), np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise UnreadableError("OpenCV cannot decode it: save it anew")
    pixels = upright(pixels, turn)
    rgb, found = _to_rgb(pixels if pixels.ndim == 2 else pixels[..., 2::-1], max_value)
    alpha = pixels[..., 3] if pixels.ndim == 3 and pixels.shape[2] == 4 else None
    return on_white(rgb, alpha, limits_of(alpha)), found


def _is_deep_colour(stream: BinaryIO, picture: Image.Image) -> bool:
    """Whether it is a PNG of 16 bits a channel, grey without transparency excepted."""
    stream.seek(24)
    depth = stream.read(1)
    return picture.format == "PNG" and depth == b"\x10" and not picture.mode.startswith("I")


def _pillow_rgb(
    picture: Image.Image, max_value: float | None = None
) -> tuple[np.ndarray, ValueRange]:
    picture.load()
    turned = turned_upright(picture)
    if turned.mode.startswith("I") or turned.mode == "F":
        pixels = np.asarray(turned)
        return _to_rgb(pixels.astype(np.uint16) if _fits_16(turned, pixels) else pixels, max_value)
    if turned.has_transparency_data:
        pixels = np.asarray(turned.convert("RGBA"))
        rgb, alpha = np.ascontiguousarray(pixels[..., :3]), pixels[..., 3]
        return on_white(rgb, alpha, limits_of(alpha)), ValueRange()
    return np.asarray(turned if turned.mode == "RGB" else turned.convert("RGB")), ValueRange()


def turned_upright(picture: Image.Image) -> Image.Image:
    """A loaded picture as its EXIF orientation says; itself where that is upright."""
    if picture.getexif().get(ORIENTATION, 1) == 1:
        return picture
    return ImageOps.exif_transpose(picture)


def _fits_16(picture: Image.Image, pixels: np.ndarray) -> bool:
    """Whether these are whole numbers of 16 bits that Pillow holds in 32 or in another order."""
    return picture.mode != "F" and pixels.size > 0 and 0 <= pixels.min() <= pixels.max() < 65536


# -- TIFF ---------------------------------------------------------------------------------------


def _tiff_plane(tif: tifffile.TiffFile, stream: BinaryIO, plane: Plane,
                max_value: float | None) -> tuple[np.ndarray, ValueRange]:  # fmt: skip
    size = os.fstat(stream.fileno()).st_size
    pages = [page_of(tif, number) for number in plane.pages]
    for page in pages:
        check_page(page, size)
        check_colours(page)
    pixel_bytes = sum(int(page.samplesperpixel) * pixel_type(page).itemsize for page in pages)
    check_size(pages[0].imagewidth, pages[0].imagelength, pixel_bytes)
    if len(pages) == 1 and _is_plain_ycbcr(pages[0]):
        picture = Image.frombytes("YCbCr", (pages[0].imagewidth, pages[0].imagelength),
                                  read_page(stream, pages[0]).tobytes())  # fmt: skip
        return upright(np.asarray(picture.convert("RGB")), orientation(pages[0])), ValueRange()
    if len(pages) == 1 and by_pillow(pages[0]):
        stream.seek(0)
        with open_picture(stream) as picture:
            picture.seek(plane.page)
            return _pillow_rgb(picture)
    if len({(page.shape, page.dtype) for page in pages}) > 1:
        raise UnreadableError("its channels differ in size or type: save it as RGB")
    read = [read_page(stream, page) for page in pages]
    alpha = alpha_of(read[0], pages[0]) if len(pages) == 1 else None
    raw = np.concatenate([colours(part) for part in read], axis=2)
    found = measure_range(raw, declared_bits(pages[0]), max_value)
    rgb = np.concatenate([shown(part, page, found) for part, page in zip(  # fmt: skip
        np.split(raw, len(pages), axis=2), pages, strict=True)], axis=2)  # fmt: skip
    rgb = on_white(_three(rgb), alpha, limits_of(alpha), multiplied(pages[0]))
    return upright(rgb, orientation(pages[0])), found


def _is_plain_ycbcr(page: tifffile.TiffPage) -> bool:
    """Whether a page holds luma and chroma uncompressed, which Pillow does not read.

    Raises:
        UnreadableError: it does, with fewer pixels of chroma.
    """
    plain = page.photometric == tifffile.PHOTOMETRIC.YCBCR and page.compression == 1
    if plain and page.is_subsampled:
        raise UnreadableError("uncompressed YCbCr with fewer colours is not read: save it as RGB")
    return plain and page.dtype == np.uint8 and page.samplesperpixel == 3


def declared_bits(page: tifffile.TiffPage) -> int:
    """How many bits a page says are in use, where that is less than its type has; else 0."""
    bits = int(page.bitspersample)
    if bits % 8 == 0:
        tag = page.tags.valueof(281, default=0)  # MaxSampleValue, its default is all bits
        values = np.atleast_1d(np.asarray(tag))
        whole = values.size > 0 and np.issubdtype(values.dtype, np.integer)
        bits = int(values.max()).bit_length() if whole else 0
    return bits if 8 < bits < 16 else 0


def by_pillow(page: tifffile.TiffPage) -> bool:
    """Whether a page of at most 8 bits is decoded by Pillow, which knows all their kinds."""
    plain = page.photometric in _DIRECT and page.compression in _LOSSLESS and page.predictor == 1
    plain = plain and page.bitspersample == 8 and not page.extrasamples
    return page.dtype in (np.uint8, np.bool_) and not plain


def check_colours(page: tifffile.TiffPage) -> None:
    """Refuse channels that are neither grey nor RGB, perhaps with transparency.

    Raises:
        UnreadableError: they are something else.
    """
    samples, extra = int(page.samplesperpixel), tuple(page.extrasamples or ())
    known = samples in (1, 3, 4) or (samples == 2 and any(kind in (1, 2) for kind in extra))
    if page.photometric in (*_DIRECT, None) and not known:
        raise UnreadableError(f"pixels must be grey, RGB or RGBA, got {samples} channels: save RGB")
    if not by_pillow(page) and page.photometric not in (*_DIRECT, tifffile.PHOTOMETRIC.YCBCR):
        name = getattr(page.photometric, "name", page.photometric)
        raise UnreadableError(f"colours as {name} of {page.dtype} are not read: save it as RGB")


def read_page(stream: BinaryIO, page: tifffile.TiffPage) -> np.ndarray:
    """(H, W, channels) of the file's own type, a whole page; `check_page` comes before."""
    try:
        return TiffPixels(stream, page).window(0, page.imagelength, 0, page.imagewidth)
    except ValueError as error:
        if "imagecodecs" not in str(error) or page.planarconfig != 1 or page.bitspersample % 8:
            raise
    stream.seek(0)
    data = np.frombuffer(stream.read(), np.uint8)
    number = page.index
    done, found = cv2.imdecodemulti(data, cv2.IMREAD_UNCHANGED, range=(number, number + 1))
    if not done or found[0].dtype != page.dtype:
        raise UnreadableError("its compression needs imagecodecs: pip install 'bccd_d2[tiff]'")
    return found[0][..., None] if found[0].ndim == 2 else found[0][..., 2::-1]


def colours(raw: np.ndarray) -> np.ndarray:
    """The channels without transparency: (H, W, 1) or (H, W, 3)."""
    return raw[..., : 1 if raw.shape[2] <= 2 else 3]


def shown(raw: np.ndarray, page: tifffile.TiffPage, value_range: ValueRange) -> np.ndarray:
    """Values of a page as uint8, with white turned to be 255 where the page has it at 0."""
    pixels = scale_to_uint8(raw, value_range)
    return 255 - pixels if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE else pixels


def orientation(page: tifffile.TiffPage) -> int:
    """The number of a page's orientation; 1 = upright."""
    value = page.tags.valueof(ORIENTATION, default=1)
    return int(value) if isinstance(value, (int, np.integer)) else 1


def upright(pixels: np.ndarray, turn: int) -> np.ndarray:
    """Upright: orientations 5 to 8 have rows and columns swapped; 1 and unknown ones stay."""
    if turn in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    rows = -1 if turn in (3, 4, 7, 8) else 1
    columns = -1 if turn in (2, 3, 6, 7) else 1
    return np.ascontiguousarray(pixels[::rows, ::columns])


def _to_rgb(pixels: np.ndarray, max_value: float | None) -> tuple[np.ndarray, ValueRange]:
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    found = measure_range(pixels, given=max_value)
    return _three(scale_to_uint8(np.ascontiguousarray(pixels), found)), found


def _three(pixels: np.ndarray) -> np.ndarray:
    return np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels
