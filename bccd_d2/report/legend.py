"""What the colours of a chart stand for: inside a plot where least is in the way, or beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from bccd_d2.report.drawing import Dots, Item, Lines, Shape, Style, Words, text_width

LINE, DOT, AREA = "line", "dot", "area"
Label = tuple[str, Style, str]  # a text, its look, which of these it is
_SIZE, _ROW, _KEY, _PAD = 12.0, 18.0, 30.0, 8.0
_PAPER = Style("#ffffff", alpha=0.8)


def inside(
    labels: Sequence[Label], frame: tuple[float, float, float, float], marks: Sequence[np.ndarray]
) -> list[Item]:
    """A legend in that corner or middle of a side that the fewest marks lie in."""
    left, top, right, bottom = frame
    wide = _KEY + max(text_width(text, _SIZE) for text, _, _ in labels) + _PAD
    high = _ROW * len(labels) + _PAD
    every = np.concatenate([np.zeros((0, 2)), *(_dense(points) for points in marks)])
    xs = (right - wide - 4, left + 6, (left + right - wide) / 2)
    ys = (top + 4, bottom - high - 4, (top + bottom - high) / 2)

    def covered(corner: tuple[float, float]) -> int:
        low, most = np.array(corner), np.array(corner) + (wide, high)
        return int(((every > low) & (every < most)).all(axis=1).sum())

    x, y = min(((x, y) for y in ys for x in xs), key=covered)
    corners = np.array([(x, y), (x + wide, y), (x + wide, y + high), (x, y + high)])
    items: list[Item] = [Shape(corners, _PAPER)]
    for number, label in enumerate(labels):
        items += _entry(label, x + 4, y + _PAD / 2 + (number + 0.5) * _ROW)
    return items


def _dense(points: np.ndarray) -> np.ndarray:
    """Points, and more of them on the lines between few."""
    if len(points) < 2 or len(points) > 400:
        return points
    at = np.linspace(0, len(points) - 1, 40 * (len(points) - 1) + 1)
    return np.stack([np.interp(at, np.arange(len(points)), side) for side in points.T], 1)


def outside(
    labels: Sequence[Label], where: str, title: str, size: tuple[float, float]
) -> tuple[list[Item], float, float]:
    """A legend for all plots of a chart, "right" of or "below" them.

    Returns:
        what is drawn, and the px that it takes to the right and below of the chart's ``size``.
    """
    widths = [_KEY + text_width(text, _SIZE) + 2 * _PAD for text, _, _ in labels]
    items: list[Item] = []
    if where == "right":
        wide = max(*widths, text_width(title, _SIZE))
        x = size[0] - wide
        y = (size[1] - _ROW * (len(labels) + bool(title))) / 2
        if title:
            items.append(Words(x, y, title, _SIZE, "start"))
            y += _ROW
        for number, label in enumerate(labels):
            items += _entry(label, x, y + number * _ROW)
        return items, wide, 0.0
    columns = max(1, min(len(labels), int((size[0] - 2 * _PAD) / max(widths))))
    rows = -(-len(labels) // columns)
    high = rows * _ROW + _PAD
    first = (size[0] - columns * max(widths)) / 2
    for number, label in enumerate(labels):
        row, column = divmod(number, columns)
        y = size[1] - high + (row + 0.5) * _ROW
        items += _entry(label, first + column * max(widths), y)
    return items, 0.0, high


def _entry(label: Label, x: float, y: float) -> list[Item]:
    text, style, kind = label
    items: list[Item] = []
    if kind == AREA:
        corners = np.array([(x, y - 5), (x + 22, y - 5), (x + 22, y + 5), (x, y + 5)])
        items.append(Shape(corners, style))
    if kind == LINE:
        items.append(Lines(np.array([(x, y), (x + 22, y)]), style))
    if style.marker:
        seen = replace(style, size=max(style.size, 7), alpha=1.0)
        items.append(Dots(np.array([(x + 11, y)]), seen))
    return [*items, Words(x + _KEY - 2, y, text, _SIZE, "start")]
