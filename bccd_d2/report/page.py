"""One page out of sections of text, tables and pictures, as self-contained HTML and as Markdown.

The HTML refers to nothing outside itself: styles are in it, pictures and plots are data URIs.
Jinja2 and ``page.html`` beside this file make it; nothing here knows what a page is about. All
plots look alike: `chart`, in the colours of Okabe and Ito (2008, "Color universal design"), which
colour-blind readers can tell apart.

Example:
    section = Section("scores", "Scores", [Text("All in [0, 1].")])
    write_page(Page("A run", "on 20 images", [section]), "out", "report")
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import cv2
import jinja2
import numpy as np

from bccd_d2 import __version__
from bccd_d2.io.atomic import write_bytes_atomic, write_text_atomic
from bccd_d2.io.text import markdown_text
from bccd_d2.report.chart import Chart

MAX_BYTES = 8_000_000
BLUE, ORANGE, GREEN, PINK = "#0072b2", "#d55e00", "#009e73", "#cc79a7"
YELLOW, SKY, GREY = "#e69f00", "#56b4e9", "#6b7280"
COLOURS = (BLUE, ORANGE, GREEN, PINK, YELLOW, SKY, GREY)


@dataclass(frozen=True)
class Text:
    """A paragraph; ``role`` "note" is small print, "absent" says what is not there."""

    text: str
    role: str = ""
    kind: ClassVar[str] = "text"


@dataclass(frozen=True)
class Heading:
    """A heading inside a section."""

    text: str
    kind: ClassVar[str] = "heading"


@dataclass(frozen=True)
class Fact:
    """A number to be seen first: what it is, its value, what to know about it."""

    label: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class Facts:
    """Several `Fact` in a row."""

    facts: Sequence[Fact]
    kind: ClassVar[str] = "facts"


@dataclass(frozen=True)
class Key:
    """What colours mean: RGB by name."""

    colours: dict[str, tuple[int, int, int]]
    kind: ClassVar[str] = "key"


@dataclass(frozen=True)
class Table:
    """Rows of text, the first column naming the row.

    ``numbers`` are the columns set flush right, ``notes`` what each row means, in small print.
    """

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    numbers: Sequence[int] = ()
    notes: Sequence[str] = ()
    kind: ClassVar[str] = "table"


@dataclass(frozen=True)
class Figure:
    """A picture as a data URI, what is on it for those who cannot see it, how to read it.

    ``width`` and ``height`` are CSS px, so that the page does not jump while it loads.
    """

    source: str
    description: str
    caption: str
    width: int
    height: int
    kind: ClassVar[str] = "figure"


@dataclass(frozen=True)
class Grid:
    """Figures side by side: ``layout`` "plots", "crops", or "image", three of one image."""

    layout: str
    figures: Sequence[Figure]
    kind: ClassVar[str] = "grid"


@dataclass(frozen=True)
class Listing:
    """Preformatted text that is folded away, and left out in print and Markdown."""

    title: str
    text: str
    kind: ClassVar[str] = "listing"


Block = Text | Heading | Facts | Key | Table | Figure | Grid | Listing


@dataclass
class Section:
    """A titled part of a page; ``name`` is its anchor."""

    name: str
    title: str
    blocks: list[Block] = field(default_factory=list)


@dataclass(frozen=True)
class Page:
    """A title, a line under it, and sections."""

    title: str
    subtitle: str
    sections: Sequence[Section]


def jpeg_figure(
    image: np.ndarray, description: str, caption: str = "", *, width: int, quality: int = 80
) -> Figure:
    """A photograph as JPEG, shrunk to ``width`` px where it is wider.

    Args:
        image: (H, W, 3) uint8 RGB.
        quality: 0 to 100.
    """
    height, wide = image.shape[:2]
    if wide > width:
        size = (width, max(1, round(height * width / wide)))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    pixels = np.ascontiguousarray(image[..., ::-1])
    _, buffer = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])
    source = _data_uri("image/jpeg", buffer.tobytes())
    return Figure(source, description, caption, image.shape[1], image.shape[0])


def embed(chart: Chart, description: str, caption: str) -> Figure:
    """The chart as a part of a page; the same bytes for the same chart."""
    source = _data_uri("image/svg+xml", chart.svg())
    return Figure(source, description, caption, round(chart.width), round(chart.height))


def save_png(chart: Chart, path: str | Path) -> Path:
    """Write the chart as PNG."""
    return write_bytes_atomic(path, chart.png())


def _data_uri(media_type: str, data: bytes) -> str:
    return f"data:{media_type};base64,{base64.b64encode(data).decode('ascii')}"


def render_html(page: Page) -> str:
    """The page as one HTML document that loads nothing."""
    folder = Path(__file__).resolve().parent
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder), autoescape=True, undefined=jinja2.StrictUndefined
    )
    return environment.get_template("page.html").render(page=page, version=__version__) + "\n"


def render_markdown(page: Page, html_name: str = "report.html") -> str:
    """The page's text and tables as Markdown; of pictures only their captions."""
    parts = [f"# {markdown_text(page.title)}", markdown_text(page.subtitle)]
    for section in page.sections:
        parts += [f"## {section.title}", *(_markdown(block) for block in section.blocks)]
    parts.append(f"Pictures: {html_name}.")
    return "\n\n".join(part for part in parts if part) + "\n"


def _markdown(block: Block) -> str:
    if isinstance(block, Text):
        return markdown_text(block.text)
    if isinstance(block, Heading):
        return f"### {markdown_text(block.text)}"
    if isinstance(block, Facts):
        return "\n".join(
            f"- {markdown_text(fact.label)}: **{markdown_text(fact.value)}**"
            + (f" ({markdown_text(fact.note)})" if fact.note else "")
            for fact in block.facts
        )
    if isinstance(block, Table):
        return _markdown_table(block)
    if isinstance(block, Figure) and block.caption:
        return f"*Figure: {markdown_text(block.caption)}*"
    if isinstance(block, Grid) and block.layout != "crops":
        return "\n\n".join(_markdown(figure) for figure in block.figures)
    return ""


def _markdown_table(table: Table) -> str:
    rows = [list(row) for row in table.rows]
    head = list(table.head) or [""] * len(rows[0] if rows else [])
    if table.notes:
        head.append("what it is")
        rows = [[*row, note] for row, note in zip(rows, table.notes, strict=True)]
    rule = ["---:" if i in table.numbers else "---" for i in range(len(head))]
    head = [markdown_text(text) for text in head]
    lines = [[markdown_text(text).replace("\n", " ") for text in row] for row in rows]
    table_lines = ["| " + " | ".join(cells) + " |" for cells in (head, rule, *lines)]
    return "\n".join([f"{markdown_text(table.caption)}\n", *table_lines])


def write_page(page: Page, folder: str | Path, name: str) -> list[Path]:
    """Write ``name``.html and ``name``.md; their paths.

    Raises:
        ValueError: the HTML would be larger than `MAX_BYTES`, 8 MB.
    """
    html = render_html(page)
    if len(html) > MAX_BYTES:
        raise ValueError(f"the page would have {len(html):,} bytes, at most {MAX_BYTES:,}")
    folder = Path(folder)
    return [
        write_text_atomic(folder / f"{name}.html", html),
        write_text_atomic(folder / f"{name}.md", render_markdown(page, f"{name}.html")),
    ]
