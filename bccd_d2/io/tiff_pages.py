"""Which pages of a TIFF are images, which belong together, and where in a stack they lie.

Thumbnails, labels of slides and smaller copies (pyramids) are no images. OME, ImageJ and tifffile
say in a page's description what the axes of a file are; nothing else is guessed: what remains
ambiguous is refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import tifffile

from bccd_d2.io.files import UnreadableError
from bccd_d2.io.tiff_header import page_of

_EXTRA = re.compile(r"\s*(label|macro|thumbnail|overview|probability)", re.IGNORECASE)
_UNNAMED = re.compile(r"(ch(annel)?|c)?[\s_:#-]*[\d:]*$", re.IGNORECASE)
_COLOURS = {"r": 0, "red": 0, "g": 1, "green": 1, "b": 2, "blue": 2}
_ORDERS = {"XYCZT", "XYCTZ", "XYZCT", "XYZTC", "XYTCZ", "XYTZC"}
_LONGEST = 4096  # characters of an element, which no real one comes near
AS_RGB = "save it as RGB, one image a page"


@dataclass(frozen=True)
class Plane:
    """One image of a file.

    Attributes:
        pages: the number of its page, from 0, or three of them: red, green and blue.
        z, t: its place in a stack, from 0; None where the file does not say that it is one.
    """

    pages: tuple[int, ...] = (0,)
    z: int | None = None
    t: int | None = None

    @property
    def page(self) -> int:
        """The number of its first page, from 0."""
        return self.pages[0]

    def as_geojson(self) -> dict[str, int] | None:
        """QuPath's plane of a geometry; None where it lies in no stack."""
        if self.z is None and self.t is None:
            return None
        return {"c": -1, "z": self.z or 0, "t": self.t or 0}


@dataclass(frozen=True)
class Planes:
    """The images of a file, and why its other pages are none, by number."""

    images: list[Plane] = field(default_factory=lambda: [Plane()])
    left_out: dict[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Axes:
    """Lengths of a stack's axes by letter, the fastest first, and the channels' names."""

    lengths: dict[str, int]
    names: tuple[str, ...] = ()


def find_planes(tif: tifffile.TiffFile) -> Planes:
    """The images of an open TIFF.

    Raises:
        UnreadableError: its stack is ambiguous, or not what its description says.
    """
    left_out = _no_images(tif)
    numbers = [number for number in range(len(tif.pages)) if number not in left_out]
    if not numbers:
        raise UnreadableError("it has thumbnails only, no image: export it anew")
    first = page_of(tif, numbers[0])
    grey = all(_channels(page_of(tif, number)) == 1 for number in numbers)
    axes = _ome(tif) or _imagej(first) or _shaped(first)
    if axes is None:
        if grey and len(numbers) == 3 and len({tif.pages[n].shape for n in numbers}) == 1:
            raise UnreadableError(
                "its three grey pages may be red, green and blue of one image, or three images, "
                f"and it does not say which: {AS_RGB}, or three files"
            )
        return Planes([Plane((number,)) for number in numbers], left_out)
    return Planes(_stack(axes, numbers, grey), left_out)


def _channels(page: tifffile.TiffPage) -> int:
    return int(page.samplesperpixel) - len(page.extrasamples or ())


# -- pages that are no images -------------------------------------------------------------------


def _no_images(tif: tifffile.TiffFile) -> dict[int, str]:
    pages = [page_of(tif, number) for number in range(len(tif.pages))]
    if tif.is_svs or tif.is_ndpi:
        return dict.fromkeys(range(1, len(pages)), "a thumbnail or smaller copy of the slide")
    found = {}
    for number, page in enumerate(pages):
        if len(pages) > 1 and (page.is_reduced or page.is_mask):
            found[number] = "marked as a smaller copy" if page.is_reduced else "a transparency mask"
        elif len(pages) > 1 and _EXTRA.match(description(page)):
            found[number] = "a label or thumbnail of the slide"
    larger: dict[tuple[int, int], tifffile.TiffPage] = {}  # one of each size
    for number, page in enumerate(pages):
        if number in found or not page.is_tiled:
            continue
        if any(_is_level(other, page) for other in larger.values()):
            found[number] = "a smaller copy of an earlier page"
        else:
            larger.setdefault((page.imagewidth, page.imagelength), page)
    return found


def _is_level(larger: tifffile.TiffPage, page: tifffile.TiffPage) -> bool:
    """Whether a tiled page is a pyramid's smaller level of another."""
    if not (larger.is_tiled and page.is_tiled) or larger.dtype != page.dtype:
        return False
    small = min(page.imagewidth, page.imagelength)
    if small < 1 or larger.samplesperpixel != page.samplesperpixel:
        return False
    x, y = larger.imagewidth / page.imagewidth, larger.imagelength / page.imagelength
    return min(x, y) >= 1.9 and abs(x / y - 1) <= 2 / small


def description(page: tifffile.TiffPage) -> str:
    """A page's ImageDescription; "" without one."""
    text = page.description
    return text if isinstance(text, str) else ""


# -- what the descriptions say ------------------------------------------------------------------


def _ome(tif: tifffile.TiffFile) -> _Axes | None:
    text = description(page_of(tif, 0))
    pixels = ome_pixels(text)
    if not pixels:
        return None
    if len(pixels) > 1:
        pixels = pixels[:1] if len(tif.pages) == 1 else pixels
    if len(pixels) > 1:
        raise UnreadableError(
            f"its OME metadata describe {len(pixels)} images in one file: save each as a file"
        )
    said = pixels[0]
    order = said.get("DimensionOrder", "XYCZT")
    named = elements(text, "Channel")
    lengths = {axis: _number(said.get(f"Size{axis}", "1")) for axis in "CZT"}
    if order not in _ORDERS or min(lengths.values()) < 1:
        raise UnreadableError("its OME metadata are damaged: save it anew")
    samples = [_number(channel.get("SamplesPerPixel", "1")) for channel in named]
    if any(number > 1 for number in samples):  # colours within a page
        lengths["C"] = len(samples)
    elif _channels(page_of(tif, 0)) == lengths["C"]:
        lengths["C"] = 1
    names = tuple(channel.get("Name", "") for channel in named)
    return _Axes({axis: lengths[axis] for axis in order[2:]}, names)


def ome_pixels(text: str) -> list[dict[str, str]]:
    """The attributes of the Pixels of OME metadata; none where a description is something else."""
    is_ome = "<OME" in text[:4096] or ":OME" in text[:4096]
    return elements(text, "Pixels") if is_ome else []


def elements(text: str, name: str) -> list[dict[str, str]]:
    """The attributes of an XML text's elements of a name; in time that grows with its length."""
    found = re.findall(rf"<(?:\w{{1,40}}:)?{name}\b([^<>]{{0,{_LONGEST}}})>", text)
    return [dict(re.findall(r'\b(\w{1,40})="([^"]*)"', attributes)) for attributes in found]


def _imagej(page: tifffile.TiffPage) -> _Axes | None:
    text = description(page)
    if not text.startswith("ImageJ="):
        return None
    said = dict(re.findall(r"^(\w+)=(.*)$", text, re.MULTILINE))
    lengths = {
        axis: _number(said.get(name, "1"))
        for axis, name in (("C", "channels"), ("Z", "slices"), ("T", "frames"))
    }
    images = _number(said.get("images", "1"))
    if lengths["C"] * lengths["Z"] * lengths["T"] != images:
        return None if images > 1 else _Axes({"C": 1})
    if _channels(page) > 1:  # a colour image's channels lie within its page
        lengths["C"] = 1
    return _Axes(lengths)


def _shaped(page: tifffile.TiffPage) -> _Axes | None:
    """The axes that tifffile writes, where they were named."""
    try:
        said = json.loads(description(page))
        axes, shape = str(said["axes"]), [int(length) for length in said["shape"]]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    stack = [(axis, length) for axis, length in zip(axes, shape) if axis not in "YXS"]  # noqa: B905
    if len(axes) != len(shape) or any(axis not in "CZT" for axis, _ in stack):
        return None
    return _Axes(dict(reversed(stack)))


def _number(text: str) -> int:
    return int(text) if re.fullmatch(r"\s*\d{1,9}\s*", text) else 0


def _stack(axes: _Axes, numbers: Sequence[int], grey: bool) -> list[Plane]:
    """The planes of a stack whose pages come in the order of its axes."""
    lengths = {axis: length for axis, length in axes.lengths.items() if length != 1}
    total = 1
    for length in lengths.values():
        total *= length
    if total != len(numbers):
        raise UnreadableError(
            f"its description says {total} pages of a stack, and it holds {len(numbers)}: the rest "
            f"may lie in other files; {AS_RGB}"
        )
    channels = lengths.get("C", 1)
    order = _colours(axes.names, channels) if channels > 1 else (0,)
    if channels > 1 and not grey:
        raise UnreadableError(f"it has {channels} channels of several colours each: {AS_RGB}")
    strides, step = {}, 1
    for axis, length in lengths.items():
        strides[axis] = step
        step *= length
    return [
        Plane(
            tuple(
                numbers[c * strides.get("C", 0) + z * strides.get("Z", 0) + t * strides.get("T", 0)]
                for c in order
            ),
            z if "Z" in lengths else None,
            t if "T" in lengths else None,
        )
        for t in range(lengths.get("T", 1))
        for z in range(lengths.get("Z", 1))
    ]


def _colours(names: Sequence[str], channels: int) -> tuple[int, ...]:
    """Which channel is red, which green, which blue."""
    if channels != 3:
        raise UnreadableError(f"it has {channels} channels, neither grey nor RGB: {AS_RGB}")
    found = [_COLOURS.get(name.strip().lower()) for name in names]
    if sorted(number for number in found if number is not None) == [0, 1, 2]:
        return tuple(found.index(colour) for colour in range(3))
    if any(not _UNNAMED.match(name.strip()) for name in names):
        raise UnreadableError(
            f"its channels {', '.join(names)} are not red, green and blue: {AS_RGB}"
        )
    return (0, 1, 2)
