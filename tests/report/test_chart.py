"""Plots: round ticks, marks where the numbers say, SVG and PNG alike, a legend out of the way."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

import cv2
import numpy as np
import pytest

from bccd_d2.report.chart import Chart, Plot, nice_ticks
from bccd_d2.report.drawing import MARKERS, Dots, Lines, Shape, Style, Words, to_png, to_svg
from bccd_d2.report.legend import AREA, inside

RED, BLUE = "#d00000", "#0000d0"


@pytest.mark.parametrize(
    ("low", "high", "most", "words"),
    [
        (0, 1, 5, ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
        (0.5, 1, 2, ["0.50", "0.75", "1.00"]),
        (0, 1500, 3, ["0", "500", "1,000", "1,500"]),
        (-9.6, 9.6, 4, ["-5", "0", "5"]),
        (0.88, 0.93, 5, ["0.88", "0.89", "0.90", "0.91", "0.92", "0.93"]),
    ],
)
def test_ticks_are_round_and_inside(low, high, most, words):
    ticks = nice_ticks(low, high, most)
    assert [text for _, text in ticks] == words
    assert all(float(text.replace(",", "")) == pytest.approx(place) for place, text in ticks)


def test_marks_stand_where_the_numbers_say():
    """The middle of a plot from 0 to 10 is 5; what lies beyond the range stays at its edge."""
    plot = Plot("x", "y", x_range=(0, 10), y_range=(0, 10))
    plot.dots([0, 5, 10, 99], [0, 5, 10, -9], Style(RED))
    plot.vertical(5, Style(BLUE, 1))
    items = Chart([plot], 400, 300).items()
    [dots] = [item for item in items if isinstance(item, Dots)]
    low, middle, high, beyond = dots.points
    assert middle == pytest.approx((low + high) / 2) and high[1] < low[1]
    assert beyond == pytest.approx((high[0], low[1]))
    [line] = [item for item in items if isinstance(item, Lines) and item.style.colour == BLUE]
    assert np.allclose(line.points, [(middle[0], low[1]), (middle[0], high[1])])


def test_what_goes_down_and_has_names():
    plot = Plot(x_range=(0, 1), y_names=("first", "second"), downward=True)
    plot.boxes(0, [0.5, 1], [-0.25, 0.75], [0.25, 1.25], Style(RED))
    items = Chart([plot], 400, 300).items()
    upper, lower = (item.points for item in items if isinstance(item, Shape))
    assert upper[:, 1].max() < lower[:, 1].min()
    words = {item.text: item for item in items if isinstance(item, Words)}
    assert words["first"].y == pytest.approx(upper[:, 1].mean())
    assert np.ptp(lower[:, 0]) == pytest.approx(2 * np.ptp(upper[:, 0]))


def test_svg_is_whole_and_escaped_and_png_shows_the_same():
    items = [
        Shape(np.array([(10, 10), (40, 10), (40, 40), (10, 40)]), Style(RED)),
        Shape(np.array([(50, 10), (80, 10), (80, 40), (50, 40)]), Style(RED, alpha=0.5)),
        Lines(np.array([(0, 60), (100, 60)]), Style(BLUE, 4, "--")),
        Dots(np.array([(20, 80), (60, 80)]), Style(RED, marker="s", size=12), [RED, BLUE]),
        Words(90, 90, "a < b & c", angle=-90),
    ]
    svg = to_svg(items, 100, 100)
    tree = ElementTree.fromstring(svg)
    assert "a < b & c" in [node.text for node in tree.iter()]
    assert to_svg(items, 100, 100) == svg
    picture = cv2.imdecode(np.frombuffer(to_png(items, 100, 100), np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape == (135, 135, 3)

    def at(x: float, y: float) -> tuple[int, ...]:
        return tuple(int(v) for v in picture[round(y * 1.35), round(x * 1.35)][::-1])

    assert at(25, 25) == (208, 0, 0) and at(90, 10) == (255, 255, 255)
    assert np.abs(np.subtract(at(65, 25), (231, 127, 127))).max() <= 2
    assert at(20, 80) == (208, 0, 0) and at(60, 80) == (0, 0, 208)
    along = picture[round(60 * 1.35), :, 2] < 100
    assert 0.4 < along.mean() < 0.8 and np.diff(along.astype(int)).any()


@pytest.mark.parametrize("marker", MARKERS)
def test_every_marker_is_drawn_round_its_point(marker):
    items = [Dots(np.array([(50.0, 50.0)]), Style(RED, marker=marker, size=40))]
    picture = cv2.imdecode(np.frombuffer(to_png(items, 100, 100), np.uint8), cv2.IMREAD_COLOR)
    ys, xs = np.nonzero(picture[..., 1] < 128)
    assert 400 < len(ys) < 3600
    assert abs(xs.mean() / 1.35 - 50) < 5 and abs(ys.mean() / 1.35 - 50) < 8
    assert b"<circle" in to_svg(items, 9, 9) or b"<path" in to_svg(items, 9, 9)


def test_a_legend_goes_where_nothing_is():
    frame = (0.0, 0.0, 400.0, 300.0)
    marks = [np.array([(0, 0), (400, 0)]), np.array([(0.0, 299.0), (150.0, 299.0)])]
    box = inside([("found", Style(RED), AREA)], frame, marks)[0]
    assert isinstance(box, Shape)
    for points in marks:
        ends = np.linspace(points[0], points[1], 99)
        low, high = box.points.min(axis=0), box.points.max(axis=0)
        assert not ((ends > low) & (ends < high)).all(axis=1).any()


def test_many_dots_on_each_other_are_drawn_once():
    plot = Plot()
    plot.dots(np.tile([1.0, 2.0, 3.0], 5000), np.tile([1.0, 5.0, 3.0], 5000), Style(RED))
    assert len(re.findall(b"<circle", Chart([plot], 300, 300).svg())) == 3


@pytest.mark.parametrize("stacked", [False, True])
def test_plots_share_the_room(stacked):
    plots = [Plot("x", "a long name", "title") for _ in range(2)]
    for plot in plots:
        plot.boxes([0, 1], [1, 2], 0, [1000, 3], Style(RED), "bars")
    chart = Chart(plots, 600, 400, (3, 1), stacked, legend="below")
    shapes = [item.points for item in chart.items() if isinstance(item, Shape)]
    every = np.concatenate(shapes)
    assert (every >= 0).all() and (every <= (600, 400)).all()
    assert [item.text for item in chart.items() if isinstance(item, Words)].count("bars") == 1


def test_nothing_to_draw_is_an_empty_plot():
    assert b"<svg" in Chart([Plot("x", "y")], 100, 100).svg()
    assert Chart([Plot("x", "y")], 100, 100).png().startswith(b"\x89PNG")
