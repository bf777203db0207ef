"""Plots: axes with lines, dots, bars and areas in data coordinates, side by side on one chart.

Small on purpose: what reports show, in SVG and PNG, without a plotting library.

Example:
    plot = Plot("iteration", "loss", y_range=(0, None))
    plot.line([0, 10], [3, 1], Style(BLUE), "training")
    svg = Chart([plot], 640, 400).svg()
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from bccd_d2.report.drawing import (
    INK,
    Dots,
    Item,
    Lines,
    Shape,
    Style,
    Words,
    text_width,
    to_png,
    to_svg,
)
from bccd_d2.report.legend import AREA, DOT, LINE, Label, inside, outside

Range = tuple[float | None, float | None]
Values = Sequence[float] | np.ndarray
_FONT, _SMALL, _LINE, _PAD = 12.5, 11.5, 18.0, 8.0
_GRID, _FRAME = Style("#e3e5e8", 1), Style("#7d848c", 1)
_MOST_DOTS = 4000  # of more, those that lie on one px are drawn once


@dataclass(frozen=True)
class _Mark:
    make: Callable[[np.ndarray, Style], Item]
    points: np.ndarray  # (N, 2) data; infinite = to the end of the axis
    style: Style


@dataclass
class Plot:
    """Axes: what they say, their ranges (None = from the data) and what is drawn in them.

    ``x_names`` and ``y_names`` name the places 0, 1, 2, ...; with ``equal`` both axes have one
    scale; ``tilt`` turns the names under the axis; ``grid`` draws faint lines at the ticks;
    ``downward`` puts place 0 at the top.
    """

    x: str = ""
    y: str = ""
    title: str = ""
    x_range: Range = (None, None)
    y_range: Range = (None, None)
    x_names: Sequence[str] = ()
    y_names: Sequence[str] = ()
    equal: bool = False
    downward: bool = False
    grid: bool = True
    tilt: bool = False
    marks: list[_Mark] = field(default_factory=list)
    texts: list[tuple[float, float, str, str]] = field(default_factory=list)
    labels: list[Label] = field(default_factory=list)

    def line(self, x: Values, y: Values, style: Style, label: str = "") -> None:
        """Join points; with a marker each is marked too."""
        points = _pairs(x, y)
        self.marks.append(_Mark(Lines, points, style))
        if style.marker:
            self.marks.append(_Mark(Dots, points, style))
        self._name(label, style, LINE)

    def dots(
        self, x: Values, y: Values, style: Style, label: str = "", colours: Sequence[str] = ()
    ) -> None:
        """Mark points, each in its own colour where ``colours`` are given."""
        points = _pairs(x, y)
        if len(points) > _MOST_DOTS and not colours:
            spread = np.maximum(np.ptp(points, axis=0), 1e-9) / 400
            points = points[np.unique(np.round(points / spread), axis=0, return_index=True)[1]]
        style = style if style.marker else Style(**{**vars(style), "marker": "o"})
        if len(points):
            self.marks.append(_Mark(lambda at, look: Dots(at, look, colours), points, style))
        self._name(label, style, DOT)

    def boxes(
        self,
        x0: Values | float,
        x1: Values | float,
        y0: Values | float,
        y1: Values | float,
        style: Style,
        label: str = "",
    ) -> None:
        """Fill rectangles; infinite sides reach to the end of the axis."""
        sides = np.broadcast_arrays(
            *(np.atleast_1d(np.asarray(s, float)) for s in (x0, x1, y0, y1))
        )
        for left, right, low, high in zip(*sides, strict=True):
            corners = np.array([(left, low), (right, low), (right, high), (left, high)])
            self.marks.append(_Mark(Shape, corners, style))
        self._name(label, style, AREA)

    def area(self, x: Values, low: Values, high: Values, style: Style, label: str = "") -> None:
        """Fill between two lines."""
        points = np.concatenate([_pairs(x, low), _pairs(x, high)[::-1]])
        self.marks.append(_Mark(Shape, points, style))
        self._name(label, style, AREA)

    def vertical(self, x: float, style: Style, label: str = "") -> None:
        """A line from the bottom to the top."""
        self.line([x, x], [-np.inf, np.inf], style, label)

    def horizontal(self, y: float, style: Style, label: str = "") -> None:
        """A line from side to side."""
        self.line([-np.inf, np.inf], [y, y], style, label)

    def write(self, x: float, y: float, text: str, colour: str = INK) -> None:
        """A text whose middle is at a point."""
        self.texts.append((x, y, text, colour))

    def _name(self, label: str, style: Style, kind: str) -> None:
        if label:
            self.labels.append((label, style, kind))

    def limits(self, axis: int) -> tuple[float, float]:
        """Both ends of an axis, 0 for x and 1 for y: as set, else 5% beyond the data."""
        values = np.concatenate([np.zeros(0), *(mark.points[:, axis] for mark in self.marks)])
        names = (self.x_names, self.y_names)[axis]
        if names:
            values = np.array([-0.5, len(names) - 0.5])
        values = values[np.isfinite(values)]
        least, most = (values.min(), values.max()) if values.size else (0.0, 1.0)
        margin = 0.0 if names else 0.05 * (most - least) or 0.5
        low, high = (self.x_range, self.y_range)[axis]
        low = float(least - margin) if low is None else low
        high = float(most + margin) if high is None else high
        return (low, high) if high > low else (low, low + 1)

    def ticks(self, axis: int, room: float) -> list[tuple[float, str]]:
        """Places and their words; ``room`` px of the axis decide how many."""
        names = (self.x_names, self.y_names)[axis]
        if names:
            return list(enumerate(names))
        return nice_ticks(*self.limits(axis), max(2, int(room / (70 if axis == 0 else 45))))


def nice_ticks(low: float, high: float, most: int) -> list[tuple[float, str]]:
    """At most ``most`` + 1 round numbers in [low, high], steps of 1, 2, 2.5 or 5; with words."""
    rough = (high - low) / most
    power = 10.0 ** np.floor(np.log10(rough))
    step = next(one * power for one in (1, 2, 2.5, 5, 10) if one * power >= rough * 0.999)
    first = np.ceil(low / step - 1e-9)
    places = [float(k * step) for k in np.arange(first, np.floor(high / step + 1e-9) + 1)]
    digits = max(0, int(-np.floor(np.log10(step) + 1e-9)) + (round(step / power, 1) == 2.5))
    return [(place, f"{place + 0.0:,.{digits}f}") for place in places]


def _pairs(x: Values, y: Values) -> np.ndarray:
    return np.stack([np.asarray(x, np.float64), np.asarray(y, np.float64)], 1)


@dataclass
class Chart:
    """Plots beside each other, or with ``stacked`` above each other; sizes in px.

    ``shares`` are the widths (or heights) of the plots among each other; ``legend`` is "inside"
    each plot, or one for all "right" or "below", under ``legend_title``.
    """

    plots: Sequence[Plot]
    width: float
    height: float
    shares: Sequence[float] = ()
    stacked: bool = False
    legend: str = "inside"
    legend_title: str = ""

    def svg(self) -> bytes:
        """A whole SVG file, the same bytes for the same chart."""
        return to_svg(self.items(), self.width, self.height)

    def png(self) -> bytes:
        """The same as a PNG file."""
        return to_png(self.items(), self.width, self.height)

    def items(self) -> list[Item]:
        """Everything that is drawn."""
        labels = [label for plot in self.plots for label in plot.labels]
        unique = list({label[0]: label for label in labels}.values())
        right = below = 0.0
        found: list[Item] = []
        if self.legend != "inside" and unique:
            size = (self.width, self.height)
            found, right, below = outside(unique, self.legend, self.legend_title, size)
        places = self._places(self.width - right, self.height - below)
        frames = [_frame(plot, place) for plot, place in zip(self.plots, places, strict=True)]
        if self.stacked:  # one left side for all
            left = max(frame[0] for frame in frames)
            frames = [(left, *frame[1:]) for frame in frames]
        for plot, frame in zip(self.plots, frames, strict=True):
            found += _draw(plot, frame)
            if self.legend == "inside" and plot.labels:
                marks = [_to_px(plot, frame, mark.points) for mark in plot.marks]
                found += inside(plot.labels, frame, marks)
        return found

    def _places(self, width: float, height: float) -> list[tuple[float, float, float, float]]:
        shares = np.array(self.shares or [1.0] * len(self.plots), dtype=float)
        edges = [0.0, *np.cumsum(shares / shares.sum())]
        pairs = list(zip(edges[:-1], edges[1:], strict=True))
        if self.stacked:
            return [(0, a * height, width, b * height) for a, b in pairs]
        return [(a * width, 0, b * width, height) for a, b in pairs]


Frame = tuple[float, float, float, float]


def _frame(plot: Plot, place: Frame) -> Frame:
    """Where the data lie, left, top, right, bottom: the place less what is written round it."""
    left, top, right, bottom = place
    words = [text for _, text in plot.ticks(1, bottom - top - 60)]
    left += _PAD + max((text_width(w, _SMALL) for w in words), default=0) + 6
    left += _LINE if plot.y else 0
    top += _PAD + (_LINE + 4 if plot.title else 0)
    right -= 2 * _PAD
    bottom -= _PAD + _LINE + (_LINE if plot.x else 0)
    if plot.tilt:
        bottom -= 0.5 * max((text_width(name, _SMALL) for name in plot.x_names), default=0)
    if plot.equal:
        side = min(right - left, bottom - top)
        left = left + (right - left - side) / 2
        right, top = left + side, bottom - side
    return left, top, right, bottom


def _to_px(plot: Plot, frame: Frame, points: np.ndarray) -> np.ndarray:
    """Data (N, 2) as px, kept inside the frame."""
    left, top, right, bottom = frame
    (x0, x1), (y0, y1) = plot.limits(0), plot.limits(1)
    at = np.clip((points - (x0, y0)) / (x1 - x0, y1 - y0), 0, 1)
    down = at[:, 1] if plot.downward else 1 - at[:, 1]
    return np.stack([left + at[:, 0] * (right - left), top + down * (bottom - top)], 1)


def _draw(plot: Plot, frame: Frame) -> list[Item]:
    left, top, right, bottom = frame
    items: list[Item] = []
    for axis, room in ((0, right - left), (1, bottom - top)):
        places = plot.ticks(axis, room)
        ends = plot.limits(axis)
        points = np.array([(p, ends[0]) if axis == 0 else (ends[0], p) for p, _ in places])
        at = _to_px(plot, frame, points.reshape(-1, 2).astype(float))
        if axis == 1 or not plot.x_names:
            items += _grid_lines(plot, frame, at, axis)
        for (x, y), (_, text) in zip(at, places, strict=True):
            if axis == 1:
                items.append(Words(left - 6, y, text, _SMALL, "end"))
            elif plot.tilt:
                items.append(Words(x + 4, bottom + 10, text, _SMALL, "end", -30))
            else:
                items.append(Words(x, bottom + 12, text, _SMALL))
    items += [mark.make(_to_px(plot, frame, mark.points), mark.style) for mark in plot.marks]
    for x, y, text, colour in plot.texts:
        [(px, py)] = _to_px(plot, frame, np.array([(x, y)], float))
        items.append(Words(px, py, text, 12, colour=colour))
    if plot.grid:
        items.append(Lines(np.array([(left, top), (left, bottom), (right, bottom)]), _FRAME))
    return items + _titles(plot, frame)


def _grid_lines(plot: Plot, frame: Frame, at: np.ndarray, axis: int) -> list[Item]:
    left, top, right, bottom = frame
    if not plot.grid or (axis == 1 and plot.y_names):
        return []
    if axis == 0:
        return [Lines(np.array([(x, top), (x, bottom)]), _GRID) for x, _ in at]
    return [Lines(np.array([(left, y), (right, y)]), _GRID) for _, y in at]


def _titles(plot: Plot, frame: Frame) -> list[Item]:
    left, top, right, bottom = frame
    items: list[Item] = []
    middle = (left + right) / 2
    if plot.title:
        items.append(Words(middle, top - 14, plot.title, 14))
    if plot.x:
        under = bottom + 12 + _LINE
        if plot.tilt:
            under += 0.5 * max((text_width(name, _SMALL) for name in plot.x_names), default=0)
        items.append(Words(middle, under, plot.x, _FONT))
    if plot.y:
        words = [text_width(text, _SMALL) for _, text in plot.ticks(1, bottom - top)]
        x = left - 6 - max(words, default=0) - 0.6 * _LINE
        items.append(Words(x, (top + bottom) / 2, plot.y, _FONT, angle=-90))
    return items
