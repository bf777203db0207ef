"""What a TIFF says about itself, checked before any pixel is decoded.

A few changed bytes can make its chain of pages a ring, or its size absurd. Everything here reads
headers only, in bounded time and memory.
"""

from __future__ import annotations

import contextlib
import logging
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import tifffile

from bccd_d2.io.files import MAX_BYTES, SMALLER, UnreadableError, check_size

# What is wrong with a file stands in our messages; without a handler tifffile prints its own.
logging.getLogger("tifffile").addHandler(logging.NullHandler())

NDPI = ".ndpi"  # files that are told by their name alone, by tifffile too
MAX_PAGES = 10_000
MAX_TAGS = 4096  # of a page
MAX_SEGMENT = 2**28  # bytes of a tile or strip
MAX_SAMPLES = 16  # a pixel
_MAGIC = {42: ("I", "H", 12), 43: ("Q", "Q", 20)}  # version: offset, number of tags, size of one


@contextlib.contextmanager
def open_tiff(stream: BinaryIO) -> Iterator[tifffile.TiffFile]:
    """The file with a sound chain of pages; files that its metadata names are not opened.

    Raises:
        UnreadableError: see `check_chain`.
    """
    check_chain(stream)
    with tifffile.TiffFile(stream, _multifile=False) as tif:
        yield tif


def check_chain(stream: BinaryIO) -> int:
    """How many pages the file has.

    Raises:
        UnreadableError: they form a ring, are too many, or lie outside the file.
    """
    stream.seek(0)
    size, head = os.fstat(stream.fileno()).st_size, stream.read(16)
    order = {b"II": "<", b"MM": ">"}[head[:2]]
    offset_type, count_type, tag_size = _MAGIC[_unpack(order + "H", head[2:4])]
    if tag_size == 12 and Path(getattr(stream, "name", "")).suffix.lower() == NDPI:
        offset_type = "Q"  # Hamamatsu's own
    offset_type, count_type = order + offset_type, order + count_type
    first = 4 if tag_size == 12 else 8
    offset = _unpack(offset_type, head[first : first + struct.calcsize(offset_type)])
    seen: dict[int, int] = {}
    while offset:
        if offset in seen:
            raise UnreadableError(
                f"its pages form a ring (page {len(seen)} is followed by page {seen[offset] + 1} "
                "again): it is damaged; copy it again, or save it anew"
            )
        if len(seen) == MAX_PAGES:
            raise UnreadableError(f"it has more than {MAX_PAGES} pages: split it into files")
        seen[offset] = len(seen)
        stream.seek(offset)
        count = _read(stream, count_type, len(seen))
        end = offset + struct.calcsize(count_type) + count * tag_size
        if not 0 < count <= MAX_TAGS or end > size:
            raise UnreadableError(
                f"page {len(seen)} has no sound header: it may be cut short or damaged; copy it "
                "again, or save it anew"
            )
        stream.seek(end)
        offset = _read(stream, offset_type, len(seen))
    if not seen:
        raise UnreadableError("it has no page: it may be cut short; copy it again")
    stream.seek(0)
    return len(seen)


def page_of(tif: tifffile.TiffFile, number: int) -> tifffile.TiffPage:
    """A page with all that its header says.

    Raises:
        UnreadableError: tifffile takes it to be as the first one, without reading its header.
    """
    page = tif.pages[number]
    if not isinstance(page, tifffile.TiffPage):
        raise UnreadableError(f"page {number + 1} has no header of its own: save it anew")
    return page


def check_page(page: tifffile.TiffPage, file_size: int, whole: bool = True) -> None:
    """Refuse a page whose header cannot be true or asks for too much memory.

    Args:
        whole: it will be decoded at once, not window by window.

    Raises:
        UnreadableError: no pixels, a type that is not read, too large, or cut short.
    """
    height, width = int(page.imagelength), int(page.imagewidth)
    if height < 1 or width < 1:
        raise UnreadableError("it has no pixels: leave it out")
    if page.dtype is None or page.dtype.kind not in "buif":
        raise UnreadableError(
            f"pixels of {page.bitspersample} bits are not read: save it with 8 or 16 bits"
        )
    if page.imagedepth != 1:
        raise UnreadableError("it has several layers in one page: save each as a page")
    samples = int(page.samplesperpixel)
    if not 1 <= samples <= MAX_SAMPLES:
        raise UnreadableError(f"{samples} channels are not read: save it as RGB or grey")
    check_size(width, height, samples * page.dtype.itemsize, whole)
    _check_segments(page, file_size)


def pixel_type(page: tifffile.TiffPage) -> np.dtype:
    """The type of a page's values, in the machine's byte order; after `check_page`."""
    assert page.dtype is not None  # check_page refuses it
    return page.dtype


def segment_size(page: tifffile.TiffPage) -> tuple[int, int]:
    """Height and width of a page's tiles or strips."""
    if page.is_tiled:
        return int(page.tilelength), int(page.tilewidth)
    return min(int(page.rowsperstrip), int(page.imagelength)), int(page.imagewidth)


def segment_bytes(page: tifffile.TiffPage) -> int:
    """Bytes that one tile or strip decodes to, at most."""
    high, wide = segment_size(page)
    samples = 1 if page.planarconfig == tifffile.PLANARCONFIG.SEPARATE else page.samplesperpixel
    return high * wide * int(samples) * pixel_type(page).itemsize


def _check_segments(page: tifffile.TiffPage, file_size: int) -> None:
    high, wide = segment_size(page)
    if high < 1 or wide < 1:
        raise UnreadableError("its tiles have no size: it is damaged; save it anew")
    large = segment_bytes(page) > MAX_SEGMENT and not page.is_memmappable
    if large and (page.is_tiled or segment_bytes(page) > MAX_BYTES):
        raise UnreadableError(f"its tiles or strips have {wide} x {high} px: {SMALLER}")
    planes = page.samplesperpixel if page.planarconfig == 2 else 1
    wanted = -(-page.imagelength // high) * -(-page.imagewidth // wide) * planes
    offsets, counts = np.array(page.dataoffsets, float), np.array(page.databytecounts, float)
    if len(offsets) != len(counts) or len(offsets) < wanted:
        raise UnreadableError(
            f"it lists {len(offsets)} of its {wanted} tiles or strips: it is damaged; save it anew"
        )
    if (offsets + counts > file_size).any():
        raise UnreadableError(
            "its pixels lie beyond the file's end: it may be cut short; copy it again"
        )


def _read(stream: BinaryIO, layout: str, page: int) -> int:
    data = stream.read(struct.calcsize(layout))
    if len(data) < struct.calcsize(layout):
        raise UnreadableError(
            f"page {page} lies beyond the file's end: it may be cut short; copy it again"
        )
    return _unpack(layout, data)


def _unpack(layout: str, data: bytes) -> int:
    return struct.unpack(layout, data)[0]
