"""A TIFF page's own values, window by window: what a window needs is decoded, no more.

Every tile or strip is decoded here and nowhere else, and never to more bytes than its size allows.
"""

from __future__ import annotations

import lzma
import struct
import threading
import zlib
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np
import tifffile

from bccd_d2.io.files import UnreadableError
from bccd_d2.io.tiff_header import pixel_type, segment_bytes, segment_size

_C = tifffile.COMPRESSION
_DEFLATE = (_C.ADOBE_DEFLATE, _C.DEFLATE)
_JPEG = (_C.JPEG, _C.OJPEG)
_JPEG2000 = (33003, 33004, 33005, 34712)  # Aperio's and the standard's
_BOUNDED = (_C.NONE, _C.LZW, _C.PACKBITS, 50000)  # by their nature or their library; 50000: zstd
READ = (*_BOUNDED, *_DEFLATE, *_JPEG, *_JPEG2000, _C.LZMA)


class TiffPixels:
    """One page of an open TIFF as (H, W, channels) of the file's own type; for several threads.

    Args:
        stream: of the file; a page in one uncompressed piece is mapped instead.
        page: checked by `tiff_header.check_page`.
        cache_mb: MB of decoded tiles or strips to keep; enough for those of a row of windows.
    """

    def __init__(self, stream: BinaryIO, page: tifffile.TiffPage, cache_mb: float = 0) -> None:
        if page.compression not in READ:
            raise UnreadableError(
                f"its compression {getattr(page.compression, 'name', page.compression)} is not "
                "read: save it without, or with LZW"
            )
        self._stream, self._page, self._lock = stream, page, threading.RLock()
        self.shape = int(page.imagelength), int(page.imagewidth), int(page.samplesperpixel)
        self._cache: OrderedDict[int, np.ndarray] = OrderedDict()
        self._room, self._kept = cache_mb * 1e6, 0

    def clear(self) -> None:
        """Forget what was decoded."""
        with self._lock:
            self._cache.clear()
            self._kept = 0

    def window(self, y0: int, y1: int, x0: int, x1: int) -> np.ndarray:
        """(y1 - y0, x1 - x0, channels) of the file's type, in the machine's byte order."""
        page = self._page
        if page.is_memmappable and page.planarconfig == tifffile.PLANARCONFIG.CONTIG:
            dtype = pixel_type(page).newbyteorder(page.parent.byteorder)
            with self._lock:
                pixels = np.memmap(self._stream, dtype, "r", page.dataoffsets[0], self.shape)
            return np.array(pixels[y0:y1, x0:x1]).astype(page.dtype, copy=False)
        window = np.zeros((y1 - y0, x1 - x0, self.shape[2]), page.dtype)
        for number, plane, top, left in self._segments(y0, y1, x0, x1):
            segment = self._segment(number)
            bottom, right = top + segment.shape[0], left + segment.shape[1]
            rows, columns = (max(y0, top), min(y1, bottom)), (max(x0, left), min(x1, right))
            window[
                rows[0] - y0 : rows[1] - y0, columns[0] - x0 : columns[1] - x0, plane
            ] = segment[rows[0] - top : rows[1] - top, columns[0] - left : columns[1] - left]
        return window

    def _segments(
        self, y0: int, y1: int, x0: int, x1: int
    ) -> Iterator[tuple[int, slice, int, int]]:
        """Number, channels, top and left of the tiles or strips that a window meets."""
        high, wide = segment_size(self._page)
        down, across = -(-self.shape[0] // high), -(-self.shape[1] // wide)
        separate = self._page.planarconfig == tifffile.PLANARCONFIG.SEPARATE
        for plane in range(self.shape[2] if separate else 1):
            channels = slice(plane, plane + 1) if separate else slice(None)
            for row in range(y0 // high, -(-y1 // high)):
                for column in range(x0 // wide, -(-x1 // wide)):
                    number = (plane * down + row) * across + column
                    yield number, channels, row * high, column * wide

    def _segment(self, number: int) -> np.ndarray:
        with self._lock:
            if number in self._cache:
                self._cache.move_to_end(number)
                return self._cache[number]
            segment = self._decoded(number)
            if not self._room:
                return segment
            self._cache[number] = segment
            self._kept += segment.nbytes
            while self._kept > self._room and len(self._cache) > 1:
                self._kept -= self._cache.popitem(last=False)[1].nbytes
            return segment

    def _decoded(self, number: int) -> np.ndarray:
        page = self._page
        self._stream.seek(page.dataoffsets[number])
        data = self._stream.read(page.databytecounts[number])
        if len(data) < page.databytecounts[number]:
            raise EOFError("a tile or strip ends too early")
        data = bounded(data, page) if data else data
        options: dict[str, Any] = {"jpegtables": page.jpegtables} if page.jpegtables else {}
        if page.jpegheader:  # NDPI: one JPEG a page, cut at its restart markers
            options["jpegheader"] = page.jpegheader
        segment, _, shape = page.decode(data or None, number, **options)
        if segment is None:  # one that was never written
            return np.zeros((*shape[1:3], shape[3]), page.dtype)
        return segment.reshape(segment.shape[-3:])


def bounded(data: bytes, page: tifffile.TiffPage) -> bytes:
    """Compressed data of one tile or strip that is known not to decode to more than its size.

    Raises:
        UnreadableError: it would.
    """
    most, kind = segment_bytes(page), page.compression
    if kind in _DEFLATE:
        # Inflated here, where it can be stopped, and handed on as stored blocks.
        inflated = zlib.decompressobj().decompress(data, most + 1)
        _check(len(inflated) <= most)
        return zlib.compress(inflated, 0)
    if kind == _C.LZMA:
        _check(len(lzma.LZMADecompressor().decompress(data, most + 1)) <= most)
    elif kind in _JPEG or kind in _JPEG2000:
        high, wide = segment_size(page)
        found = _jpeg_size(data) if kind in _JPEG else _jpeg2000_size(data)
        _check(found is None or (found[0] <= high and found[1] <= wide))
    return data


def _check(good: bool) -> None:
    if not good:
        raise UnreadableError(
            "a tile or strip holds more pixels than it has room for: it is damaged; save it anew"
        )


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    """Height and width by a JPEG stream's frame header."""
    position = 2
    while position + 9 <= len(data) and data[position] == 0xFF:
        marker, length = data[position + 1], struct.unpack(">H", data[position + 2 : position + 4])
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return struct.unpack(">HH", data[position + 5 : position + 9])
        position += 2 + length[0]
    return None


def _jpeg2000_size(data: bytes) -> tuple[int, int] | None:
    """Height and width by a JPEG 2000 codestream's header."""
    start = data.find(b"\xff\x4f\xff\x51")
    if start < 0 or len(data) < start + 16:
        return None
    wide, high = struct.unpack(">II", data[start + 8 : start + 16])
    return high, wide
