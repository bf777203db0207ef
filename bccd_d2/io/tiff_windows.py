"""Large TIFF pages read window by window: what a window needs is decoded, no more.

A mosaic of 20,000 x 20,000 px is 1.2 GB as RGB; its file holds it in tiles or strips, of which a
few hundred MB at most are kept decoded here. Uncompressed pixels in one piece are mapped instead.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from bccd_d2.io.images import (
    ORIENTATION,
    is_tiff,
    read_page,
    scale_to_uint8,
    top_value,
)

LARGE = 30_000_000  # px above which a TIFF page is read in windows
_GREY = (tifffile.PHOTOMETRIC.MINISBLACK, tifffile.PHOTOMETRIC.MINISWHITE)
_COLOUR = (tifffile.PHOTOMETRIC.RGB, tifffile.PHOTOMETRIC.YCBCR)


def open_image(path: str | Path, page: int = 0, large: int = LARGE) -> np.ndarray | TiffWindows:
    """A page as (H, W, 3) uint8 RGB, or as `TiffWindows` where it has more than ``large`` px.

    Raises:
        FileNotFoundError, ValueError: see `read.read_pages`; a large TIFF may also be of a kind
            that cannot be read in windows, and the message says why.
    """
    if is_tiff(path) and Path(path).is_file():
        try:
            with tifffile.TiffFile(path) as tif:
                found = tif.pages[page]
                pixels = int(found.imagewidth) * int(found.imagelength)
        except Exception:  # read_page says what is wrong with the file
            return read_page(path, page)
        if pixels > large:
            return TiffWindows(path, page)
    return read_page(path, page)


class TiffWindows:
    """One page of a TIFF as an image of (H, W, 3) uint8 RGB that is sliced by rows and columns.

    ``windows[y0:y1, x0:x1]`` is an array; it may be asked for by several threads. Depths above 8
    bits become 8 by the page's largest value, as in `bccd_d2.io.images`, for which the page is
    gone through once.

    Args:
        page: its number in the file.
        cache_mb: MB of decoded tiles or strips to keep; enough for the strips of a row of windows.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not RGB or grey in one plane and upright, or a compression that cannot be read.
    """

    dtype = np.dtype(np.uint8)

    def __init__(self, path: str | Path, page: int = 0, cache_mb: float = 400) -> None:
        self._path, self._lock = Path(path), threading.RLock()
        if not self._path.is_file():
            raise FileNotFoundError(f"image {path} does not exist")
        self._tif = tifffile.TiffFile(self._path)
        self._page = self._tif.pages[page]
        self._check()
        self.shape = (int(self._page.imagelength), int(self._page.imagewidth), 3)
        self._cache: OrderedDict[int, np.ndarray] = OrderedDict()
        self._room, self._kept = cache_mb * 1e6, 0
        self._top: float | None = None

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._cache.clear()
            self._tif.close()

    def __getitem__(self, index: tuple[slice, slice]) -> np.ndarray:
        """(h, w, 3) uint8, the rows and columns of two slices, each with step 1."""
        y0, y1, y_step = index[0].indices(self.shape[0])
        x0, x1, x_step = index[1].indices(self.shape[1])
        if y_step != 1 or x_step != 1:
            raise IndexError("windows have steps of 1")
        if self._page.dtype != np.uint8 and self._top is None:
            self._measure()
        return self._rgb(self._raw(y0, max(y0, y1), x0, max(x0, x1)))

    def _check(self) -> None:
        page = self._page
        tag = page.tags.get(ORIENTATION)
        checks = [
            (page.photometric in (*_GREY, *_COLOUR), f"colours as {page.photometric.name}"),
            (page.samplesperpixel in (1, 3, 4), f"{page.samplesperpixel} channels"),
            (page.planarconfig == 1 or page.samplesperpixel == 1, "one plane a channel"),
            (page.imagedepth == 1, "several layers in one page"),
            (tag is None or tag.value == 1, "an orientation that is not upright"),
            (page.dtype is not None, "pixels of an unknown type"),
        ]
        for passed, what in checks:
            if not passed:
                raise ValueError(
                    f"image {self._path} has {what}, which cannot be read in windows: save it as a "
                    "tiled RGB TIFF"
                )
        try:
            self._decoded(0)
        except Exception as error:  # codecs raise ValueError, their own errors, ...
            hint = ": pip install 'bccd_d2[tiff]'" if "imagecodecs" in str(error) else ""
            raise ValueError(f"image {self._path} is unreadable ({error}){hint}") from error

    def _raw(self, y0: int, y1: int, x0: int, x1: int) -> np.ndarray:
        """(h, w, channels) of the file's own type."""
        page = self._page
        if page.is_memmappable:
            shape = (*self.shape[:2], page.samplesperpixel)
            dtype = page.dtype.newbyteorder(self._tif.byteorder)
            pixels = np.memmap(self._path, dtype, "r", page.dataoffsets[0], shape)
            return np.array(pixels[y0:y1, x0:x1]).astype(page.dtype, copy=False)
        window = np.zeros((y1 - y0, x1 - x0, page.samplesperpixel), page.dtype)
        for number, top, left in self._segments(y0, y1, x0, x1):
            segment = self._segment(number)
            bottom, right = top + segment.shape[0], left + segment.shape[1]
            rows, columns = (max(y0, top), min(y1, bottom)), (max(x0, left), min(x1, right))
            window[rows[0] - y0 : rows[1] - y0, columns[0] - x0 : columns[1] - x0] = segment[
                rows[0] - top : rows[1] - top, columns[0] - left : columns[1] - left
            ]
        return window

    def _segments(self, y0: int, y1: int, x0: int, x1: int) -> Iterator[tuple[int, int, int]]:
        """Number, top and left of the tiles or strips that a window meets."""
        high, wide = self._segment_size()
        across = -(-self.shape[1] // wide)
        for row in range(y0 // high, -(-y1 // high)):
            for column in range(x0 // wide, -(-x1 // wide)):
                yield row * across + column, row * high, column * wide

    def _segment_size(self) -> tuple[int, int]:
        page = self._page
        if page.is_tiled:
            return int(page.tilelength), int(page.tilewidth)
        return min(int(page.rowsperstrip), int(page.imagelength)), int(page.imagewidth)

    def _segment(self, number: int) -> np.ndarray:
        with self._lock:
            if number in self._cache:
                self._cache.move_to_end(number)
                return self._cache[number]
            segment = self._decoded(number)
            self._cache[number] = segment
            self._kept += segment.nbytes
            while self._kept > self._room and len(self._cache) > 1:
                self._kept -= self._cache.popitem(last=False)[1].nbytes
            return segment

    def _decoded(self, number: int) -> np.ndarray:
        page = self._page
        with self._lock:
            stream = self._tif.filehandle
            stream.seek(page.dataoffsets[number])
            data = stream.read(page.databytecounts[number])
        options: dict[str, Any] = {"jpegtables": page.jpegtables} if page.jpegtables else {}
        segment, _, shape = page.decode(data or None, number, **options)
        if segment is None:
            return np.zeros((*shape[1:3], page.samplesperpixel), page.dtype)
        return segment.reshape(segment.shape[-3:])

    def _measure(self) -> None:
        """Find what becomes 255, going through the page once."""
        low, high, step = np.inf, -np.inf, 1024
        for y in range(0, self.shape[0], step):
            for x in range(0, self.shape[1], step):
                bottom, right = min(y + step, self.shape[0]), min(x + step, self.shape[1])
                window = self._raw(y, bottom, x, right)[..., :3]
                low, high = min(low, window.min()), max(high, window.max())
        self._top = top_value(self._page.dtype, low, high)

    def _rgb(self, pixels: np.ndarray) -> np.ndarray:
        if self._page.photometric == tifffile.PHOTOMETRIC.MINISWHITE:
            pixels = np.iinfo(pixels.dtype).max - pixels
        pixels = pixels[..., :3]
        if pixels.dtype != np.uint8:
            pixels = scale_to_uint8(pixels, self._top)
        return np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels
