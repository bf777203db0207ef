"""How all plots of the pages look: colours that colour-blind readers can tell apart, SVG, no date.

Colours are those of Okabe and Ito (2008, "Color universal design").
"""

from __future__ import annotations

import io
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from bccd_d2.io.atomic import write_bytes_atomic
from bccd_d2.report.page import Figure, svg_figure

BLUE, ORANGE, GREEN, PINK = "#0072b2", "#d55e00", "#009e73", "#cc79a7"
YELLOW, SKY, GREY = "#e69f00", "#56b4e9", "#6b7280"
COLOURS = (BLUE, ORANGE, GREEN, PINK, YELLOW, SKY, GREY)
MARKERS = ("o", "s", "^", "D", "v", "P", "X")


def canvas(width: float = 6.4, height: float = 4.0) -> Canvas:
    """An empty figure, inches."""
    return Canvas(figsize=(width, height), layout="constrained")


def tidy(axes: Axes, x: str, y: str, *, unit_square: bool = False) -> Axes:
    """Name the axes, drop the frame's upper right, add a faint grid; answers the axes."""
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25, linewidth=0.7)
    axes.set_axisbelow(True)
    if unit_square:
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1.01)
    return axes


def embed(figure: Canvas, description: str, caption: str) -> Figure:
    """The drawing as a part of a page; the same bytes for the same drawing."""
    stream = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "bccd_d2", "svg.fonttype": "path"}):
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    return svg_figure(stream.getvalue(), tuple(figure.get_size_inches()), description, caption)


def save_png(figure: Canvas, path: str | Path) -> Path:
    """Write the drawing as PNG at 130 px an inch."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=130)
    return write_bytes_atomic(path, stream.getvalue())
