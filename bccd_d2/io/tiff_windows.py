"""Large TIFF pages as images that are read window by window.

A mosaic of 20,000 x 20,000 px is 1.2 GB as RGB; its file holds it in tiles or strips, of which a
few hundred MB at most are kept decoded here.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import tifffile

from bccd_d2.io.files import UnreadableError, explain, is_tiff, opened
from bccd_d2.io.images import (
    by_pillow,
    check_colours,
    colours,
    declared_bits,
    orientation,
    read_plane,
    shown,
)
from bccd_d2.io.text import printable
from bccd_d2.io.tiff_header import check_chain, check_page, open_tiff, page_of, pixel_type
from bccd_d2.io.tiff_pages import Plane, find_planes
from bccd_d2.io.tiff_pixels import TiffPixels
from bccd_d2.io.transparency import alpha_of, limits_of, multiplied, on_white
from bccd_d2.io.value_range import ValueRange, find_range

LARGE = 30_000_000  # px above which a TIFF page is read in windows


def open_image(
    path: str | Path, plane: Plane | None = None, max_value: float | None = None, large: int = LARGE
) -> tuple[np.ndarray | TiffWindows, ValueRange]:
    """A plane as (H, W, 3) uint8 RGB, or as `TiffWindows` where it has more than ``large`` px.

    The second answer is what became 0 to 255.

    Raises:
        FileNotFoundError, UnreadableError: see `images.read_plane`; a large TIFF may also be of a
            kind that cannot be read in windows, and the message says why.
    """
    path = Path(path)
    with opened(path, "image") as stream:
        pixels = 0
        if is_tiff(stream):
            with open_tiff(stream) as tif:
                plane = find_planes(tif).images[0] if plane is None else plane
                page = page_of(tif, plane.page)
                pixels = int(page.imagewidth) * int(page.imagelength)
    if pixels > large:
        windows = TiffWindows(path, plane, max_value=max_value)
        return windows, windows.value_range
    return read_plane(path, plane, max_value=max_value)


class TiffWindows:
    """One page of a TIFF as an image of (H, W, 3) uint8 RGB that is sliced by rows and columns.

    ``windows[y0:y1, x0:x1]`` is an array; it may be asked for by several threads. Depths above 8
    bits become 8 by the page's largest value, as in `bccd_d2.io.images`, for which the page is
    gone through once.

    Args:
        plane: of `images.planes`; None = the first page.
        cache_mb: MB of decoded tiles or strips to keep; enough for the strips of a row of windows.
        max_value: what becomes 255 where it has more than 8 bits; None = by its values.

    Raises:
        FileNotFoundError: no such file.
        UnreadableError: not RGB or grey and upright, or a compression that cannot be read.
    """

    dtype = np.dtype(np.uint8)

    def __init__(self, path: str | Path, plane: Plane | None = None, cache_mb: float = 400,
                 max_value: float | None = None) -> None:  # fmt: skip
        self._path, plane = Path(path), plane or Plane()
        with opened(self._path, "image") as stream:
            check_chain(stream)
        self._stream = open(self._path, "rb")  # noqa: SIM115 - held until close
        try:
            self._tif = tifffile.TiffFile(self._stream, _multifile=False)
            self._page = page_of(self._tif, plane.page)
            self._check(plane)
            self.shape = (int(self._page.imagelength), int(self._page.imagewidth), 3)
            self._pixels = TiffPixels(self._stream, self._page, cache_mb)
            self.value_range = self._measure(max_value)
        except Exception as error:  # codecs raise ValueError, their own errors, ...
            self._stream.close()
            raise UnreadableError(
                f"image {printable(path)} is unreadable: {explain(error, b'TIFF')}"
            ) from error

    def close(self) -> None:
        """Let go of the file."""
        self._pixels.clear()
        self._tif.close()
        self._stream.close()

    def __getitem__(self, index: tuple[slice, slice]) -> np.ndarray:
        """(h, w, 3) uint8, the rows and columns of two slices, each with step 1."""
        y0, y1, y_step = index[0].indices(self.shape[0])
        x0, x1, x_step = index[1].indices(self.shape[1])
        if y_step != 1 or x_step != 1:
            raise IndexError("windows have steps of 1")
        raw = self._pixels.window(y0, max(y0, y1), x0, max(x0, x1))
        pixels = shown(colours(raw), self._page, self.value_range)
        pixels = np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels
        alpha = alpha_of(raw, self._page)
        return on_white(pixels, alpha, self._alpha, multiplied(self._page))

    def _check(self, plane: Plane) -> None:
        page = self._page
        check_page(page, os.fstat(self._stream.fileno()).st_size, whole=False)
        check_colours(page)
        jpeg = page.photometric == tifffile.PHOTOMETRIC.YCBCR
        odd = page.photometric > tifffile.PHOTOMETRIC.RGB and not jpeg
        checks = [
            (by_pillow(page) and odd, f"colours as {getattr(page.photometric, 'name', '?')}"),
            (page.dtype == bool or page.bitspersample % 8 != 0, f"{page.bitspersample} bits"),
            (len(plane.pages) > 1, "a page for each channel"),
            (orientation(page) != 1, "an orientation that is not upright"),
        ]
        for found, what in checks:
            if found:
                raise UnreadableError(
                    f"it has {what}, which cannot be read in windows: save it as a tiled RGB TIFF"
                )

    def _measure(self, max_value: float | None) -> ValueRange:
        """What becomes 0 to 255, and `_alpha`.

        A page of more than 8 bits, or with transparency, is gone through once.
        """
        page, step = self._page, 1024
        low, high = np.inf, -np.inf
        opaque: list[float] = []
        short = page.dtype == np.uint8 and not page.extrasamples
        height, width = (step, step) if short else self.shape[:2]
        for y in range(0, min(height, self.shape[0]), step):
            for x in range(0, min(width, self.shape[1]), step):
                bottom, right = min(y + step, self.shape[0]), min(x + step, self.shape[1])
                raw = self._pixels.window(y, bottom, x, right)
                window = colours(raw)
                opaque += limits_of(alpha_of(raw, page)) or ()
                # numpy's own minimum, so that a value that is no number is not lost
                low, high = np.minimum(low, window.min()), np.maximum(high, window.max())
        self._alpha = (min(opaque), max(opaque)) if opaque else None
        return find_range(pixel_type(page), low, high, declared_bits(page), max_value)
