"""How large an image's pixels are, as its TIFF file says: OME, ImageJ, Aperio, or resolution tags.

What a program writes when it knows nothing (72 dots an inch, 1 pixel a centimetre) is no answer.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from html import unescape
from pathlib import Path

import tifffile

from bccd_d2.io.files import is_tiff, opened
from bccd_d2.io.tiff_header import open_tiff, page_of
from bccd_d2.io.tiff_pages import description, ome_pixels

LARGEST = 10.0  # micrometres; no cell can be seen with larger pixels: dots of a screen or printer
SMALLEST = 0.001
_SQUARE = 0.02  # by which width and height of a pixel may differ
_UNITS = {  # of OME and ImageJ, in micrometres; in lower case, with either Greek letter as u
    "um": 1.0, "micron": 1.0, "microns": 1.0, "micrometer": 1.0, "micrometre": 1.0,
    "nm": 1e-3, "mm": 1e3, "cm": 1e4, "m": 1e6, "inch": 25_400.0, "in": 25_400.0,
}  # fmt: skip
_TAG_UNITS = {2: 25_400.0, 3: 1e4}  # of ResolutionUnit: inch, centimetre


@dataclass(frozen=True)
class PixelSize:
    """The size of an image's pixels.

    Attributes:
        micrometres: of a side; None where ``source`` says why the file's answer cannot be used.
        source: who says so, for people.
    """

    micrometres: float | None
    source: str


def read_pixel_size(path: str | Path, page: int = 0) -> PixelSize | None:
    """What a file says of the size of its pixels; None where it says nothing.

    Args:
        page: whose resolution tags are looked at, from 0.

    Raises:
        FileNotFoundError, UnreadableError: see `tiff_header.open_tiff`.
    """
    with opened(Path(path), "image") as stream:
        if not is_tiff(stream):
            return None
        with open_tiff(stream) as tif:
            text = description(page_of(tif, 0))
            found = _ome(text) or _aperio(text)
            if found:
                return found
            tags = page_of(tif, page)
            return _imagej(text, tags) if text.startswith("ImageJ=") else _tags(tags)


def _ome(text: str) -> PixelSize | None:
    pixels = ome_pixels(text)
    sides = []
    for axis in "XY":
        size = _number(pixels[0].get(f"PhysicalSize{axis}", "")) if pixels else None
        unit = _unit(pixels[0].get(f"PhysicalSize{axis}Unit", "um")) if pixels else None
        sides.append(size * unit if size and unit else None)
    return _square(sides[0], sides[1], "OME metadata")


def _aperio(text: str) -> PixelSize | None:
    found = re.search(r"\|\s*MPP\s*=\s*([\d.]{1,20})", text) if text[:6] == "Aperio" else None
    size = _number(found.group(1)) if found else None
    return _square(size, size, "Aperio's MPP")


def _imagej(text: str, page: tifffile.TiffPage) -> PixelSize | None:
    found = re.search(r"^unit=(.{1,40})$", text, re.MULTILINE)
    unit = _unit(found.group(1)) if found else None
    return _by_tags(page, unit, "ImageJ's scale")


def _tags(page: tifffile.TiffPage) -> PixelSize | None:
    unit = page.tags.get("ResolutionUnit")
    said = int(unit.value) if unit is not None and isinstance(unit.value, int) else 2
    return _by_tags(page, _TAG_UNITS.get(said), "resolution tags")


def _by_tags(page: tifffile.TiffPage, unit: float | None, source: str) -> PixelSize | None:
    """From the tags of pixels a unit, which is so many micrometres."""
    if unit is None:
        return None
    sides = []
    for axis in "XY":
        tag = page.tags.get(f"{axis}Resolution")
        a_unit = _ratio(tag.value) if tag is not None else None
        sides.append(unit / a_unit if a_unit else None)
    if any(side is None or side > LARGEST for side in sides):
        return None
    return _square(sides[0], sides[1], source)


def _square(width: float | None, height: float | None, source: str) -> PixelSize | None:
    if width is None:
        return None
    if height is not None and abs(width / height - 1) > _SQUARE:
        text = f"{source}: pixels of {width:.4g} x {height:.4g} um, which are no squares"
        return PixelSize(None, text)
    if not SMALLEST <= width:
        return PixelSize(None, f"{source}: {width:.3g} um, which no microscope resolves")
    return PixelSize(float(f"{width:.6g}"), source)


def _number(text: str) -> float | None:
    """A number above 0; None for anything else."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and value > 0 else None


def _ratio(value: object) -> float | None:
    """A TIFF's fraction, as (numerator, denominator)."""
    if isinstance(value, tuple) and len(value) == 2 and value[1]:
        return _number(str(value[0] / value[1]))
    return None


def _unit(text: str) -> float | None:
    """Micrometres of a unit by name; None for pixels and what is unknown."""
    plain = unescape(text).strip().lower().replace("\\u00b5", "u")
    return _UNITS.get(plain.replace("\u00b5", "u").replace("\u03bc", "u"))
