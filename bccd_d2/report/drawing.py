"""Lines, shapes, dots and words on white paper, as SVG for pages and as PNG for slides.

Lengths are CSS px, y goes down. The same drawing gives the same bytes.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from PIL import Image, ImageColor, ImageDraw, ImageFont

INK = "#1c1f23"
_DASHES = {"-": (), "--": (6.0, 4.0), "-.": (7.0, 3.0, 1.5, 3.0), ":": (1.5, 3.0)}
_SMOOTH = 3  # PNGs are drawn so many times larger, then shrunk
_PNG = 1.35  # px of a PNG for each CSS px
_TURN = np.arange(24) * np.pi / 12
_MARKERS = {  # outlines of diameter 2
    "o": np.stack([np.cos(_TURN), np.sin(_TURN)], 1),
    "s": np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * 0.9,
    "^": np.array([(0, -1.1), (1, 0.8), (-1, 0.8)]),
    "v": np.array([(0, 1.1), (1, -0.8), (-1, -0.8)]),
    "D": np.array([(0, -1.2), (1.2, 0), (0, 1.2), (-1.2, 0)]),
}
_PLUS = np.array([(-.4, -1.1), (.4, -1.1), (.4, -.4), (1.1, -.4), (1.1, .4), (.4, .4), (.4, 1.1),
                  (-.4, 1.1), (-.4, .4), (-1.1, .4), (-1.1, -.4), (-.4, -.4)])  # fmt: skip
_MARKERS |= {"P": _PLUS, "X": _PLUS @ np.array([(0.707, 0.707), (-0.707, 0.707)])}
MARKERS = tuple(_MARKERS)
_LACKING = str.maketrans({"µ": "u", "²": "2", "–": "-", "−": "-", "≥": ">=", "≤": "<="})


@dataclass(frozen=True)
class Style:
    """How something looks.

    ``colour`` fills shapes and dots and is that of lines, ``edge`` goes round what is filled;
    ``dash`` is "-", "--", "-." or ":"; ``marker`` is of `MARKERS`, ``size`` its diameter.
    """

    colour: str
    width: float = 1.7
    dash: str = "-"
    marker: str = ""
    size: float = 7
    alpha: float = 1.0
    edge: str = ""


@dataclass(frozen=True)
class Lines:
    """Points (N, 2) joined by straight lines."""

    points: np.ndarray
    style: Style


@dataclass(frozen=True)
class Shape:
    """A filled polygon (N, 2)."""

    points: np.ndarray
    style: Style


@dataclass(frozen=True)
class Dots:
    """Markers at points (N, 2), each in its own colour where ``colours`` has N."""

    points: np.ndarray
    style: Style
    colours: Sequence[str] = ()


@dataclass(frozen=True)
class Words:
    """A line of text whose middle height is at y; ``anchor`` start, middle or end is at x.

    ``angle`` turns it clockwise about that point, in degrees.
    """

    x: float
    y: float
    text: str
    size: float = 12.5
    anchor: str = "middle"
    angle: float = 0
    colour: str = INK


Item = Lines | Shape | Dots | Words


def text_width(text: str, size: float = 12.5) -> float:
    """Px that a text takes, about: readers' fonts differ."""
    return float(_font(size).getlength(text)) * 1.08


def in_pillows_font(text: str) -> str:
    """The text with what Pillow's own font has in place of signs that it lacks."""
    return text.translate(_LACKING)


def _font(size: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def to_svg(items: Sequence[Item], width: float, height: float) -> bytes:
    """The drawing as a whole SVG file."""
    inside = "\n".join(_svg(item) for item in items)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}" height="{height:g}" '
        f'viewBox="0 0 {width:g} {height:g}" font-family="system-ui, Segoe UI, Roboto, Arial, '
        f'sans-serif">\n<rect width="100%" height="100%" fill="#fff"/>\n{inside}\n</svg>\n'
    ).encode()


def _svg(item: Item) -> str:
    if isinstance(item, Words):
        about = f"{item.angle:g} {item.x:.1f} {item.y:.1f}"
        turn = f' transform="rotate({about})"' if item.angle else ""
        return (
            f'<text x="{item.x:.1f}" y="{item.y:.1f}" dy=".35em" font-size="{item.size:g}" '
            f'text-anchor="{item.anchor}" fill="{item.colour}"{turn}>{escape(item.text)}</text>'
        )
    style = item.style
    if isinstance(item, Lines):
        dashes = " ".join(f"{length:g}" for length in _DASHES[style.dash])
        return (
            f'<path d="{_path(item.points)}" fill="none" stroke="{style.colour}" '
            f'stroke-width="{style.width:g}" stroke-linejoin="round" opacity="{style.alpha:g}"'
            + (f' stroke-dasharray="{dashes}"/>' if dashes else "/>")
        )
    filled = f'fill="{style.colour}" fill-opacity="{style.alpha:g}"'
    if style.edge:
        filled += f' stroke="{style.edge}" stroke-width="{style.width:g}"'
    if isinstance(item, Shape):
        return f'<path d="{_path(item.points)}Z" {filled}/>'
    inside = []
    for number, (x, y) in enumerate(item.points):
        own = f' fill="{item.colours[number]}"' if item.colours else ""
        if style.marker in ("", "o"):
            inside.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{style.size / 2:g}"{own}/>')
        else:
            inside.append(f'<path d="{_path(_marker(style) + (x, y))}Z"{own}/>')
    return f"<g {filled}>{''.join(inside)}</g>"


def _path(points: np.ndarray) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)


def _marker(style: Style) -> np.ndarray:
    return _MARKERS[style.marker or "o"] * (style.size / 2)


def to_png(items: Sequence[Item], width: float, height: float) -> bytes:
    """The same drawing as a PNG file, 1.35 px for each px."""
    scale = _PNG * _SMOOTH
    size = (round(width * scale), round(height * scale))
    picture = Image.new("RGB", size, "white")
    for item in items:
        if not isinstance(item, Words) and not len(item.points):
            continue
        if isinstance(item, Words):
            _write(picture, item, scale)
        elif item.style.alpha < 1:
            layer = Image.new("L", size)
            _paint(ImageDraw.Draw(layer), item, scale, 255, 255)
            mask = layer.point(lambda value, a=item.style.alpha: round(value * a))
            over = picture
            if isinstance(item, Dots) and item.colours:
                over = picture.copy()
                _paint(ImageDraw.Draw(over), item, scale)
            picture.paste(over if over is not picture else item.style.colour, (0, 0), mask)
            if item.style.edge and not isinstance(item, Lines):
                _paint(ImageDraw.Draw(picture), item, scale, None)
        else:
            _paint(ImageDraw.Draw(picture), item, scale)
    small = picture.resize((round(width * _PNG), round(height * _PNG)), Image.Resampling.BOX)
    stream = io.BytesIO()
    small.save(stream, "PNG")
    return stream.getvalue()


def _paint(
    pen: ImageDraw.ImageDraw, item: Lines | Shape | Dots, scale: float,
    fill: int | str | None = "own", edge: int | str = "own",
) -> None:  # fmt: skip
    """Draw one item; ``fill`` and ``edge`` stand for its own colours where they are given."""
    style = item.style
    width = max(1, round(style.width * scale))
    if isinstance(item, Lines):
        ink = style.colour if fill in ("own", None) else fill
        for part in _dashed(item.points * scale, [scale * one for one in _DASHES[style.dash]]):
            pen.line([tuple(point) for point in part], fill=ink, width=width, joint="curve")
        return
    if isinstance(item, Shape):
        outlines = [item.points]
    else:
        outlines = [_marker(style) + point for point in item.points]
    for number, outline in enumerate(outlines):
        own = item.colours[number] if isinstance(item, Dots) and item.colours else style.colour
        points = [tuple(point) for point in outline * scale]
        inside = own if fill == "own" else fill
        if inside is not None:
            pen.polygon(points, fill=inside)
        if style.edge:
            ink = style.edge if edge == "own" else edge
            pen.line([*points, points[0]], fill=ink, width=width, joint="curve")


def _dashed(points: np.ndarray, dash: Sequence[float]) -> list[np.ndarray]:
    """The drawn pieces of a line through (N, 2) points; the whole where there is no dash."""
    if not dash or len(points) < 2:
        return [points]
    along = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(points, axis=0).T))])
    starts = np.arange(0, along[-1], sum(dash))
    pieces, offset = [], 0.0
    for drawn, gap in zip(dash[::2], dash[1::2], strict=True):
        for start in starts + offset:
            stop = min(start + drawn, along[-1])
            between = along[(along > start) & (along < stop)]
            at = np.concatenate([[start], between, [stop]])
            if start < stop:
                pieces.append(np.stack([np.interp(at, along, side) for side in points.T], 1))
        offset += drawn + gap
    return pieces


def _write(picture: Image.Image, item: Words, scale: float) -> None:
    font, text = _font(item.size * scale), in_pillows_font(item.text)
    anchor = {"start": "lm", "middle": "mm", "end": "rm"}[item.anchor]
    if not item.angle:
        place = (item.x * scale, item.y * scale)
        ImageDraw.Draw(picture).text(place, text, item.colour, font, anchor=anchor)
        return
    side = 2 * round(font.getlength(text) + item.size * scale) + 2
    layer = Image.new("L", (side, side))
    ImageDraw.Draw(layer).text((side / 2, side / 2), text, 255, font, anchor=anchor)
    corner = (round(item.x * scale - side / 2), round(item.y * scale - side / 2))
    turned = layer.rotate(-item.angle, Image.Resampling.BICUBIC)
    picture.paste(ImageColor.getrgb(item.colour), corner, turned)
