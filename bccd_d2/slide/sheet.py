"""The report of a sample as a PDF of one A4 page, for a file or a folder of paper.

Drawn with Pillow, as a picture at 200 dots an inch: no browser is needed. What does not fit stands
in report.html.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from bccd_d2.evaluation.slide_counts import Quantity
from bccd_d2.io.atomic import write_bytes_atomic
from bccd_d2.report.drawing import in_pillows_font
from bccd_d2.slide.count import FRAME, USE, CountedSample
from bccd_d2.slide.page import interval, number, size_chart, why

DPI = 200
SIZE, MARGIN = (1654, 2339), 100  # px, of A4
TITLE, TEXT, SMALL = 46, 26, 21  # px
INK, GREY, LINE = "#000000", "#555555", "#bbbbbb"
COLUMNS = (1000, 1290, SIZE[0] - MARGIN)  # right ends of estimate, interval, cells found
TYPES, SIDE = 5, 100  # rows of pictures, px of each
LISTED = 5  # fields and warnings that are named


def write_sheet(
    counted: CountedSample, cells: Mapping[str, Sequence[np.ndarray]], path: str | Path
) -> Path:
    """Write the page.

    Args:
        cells: of `page.some_cells`.
    """
    stream = io.BytesIO()
    draw_sheet(counted, cells).save(stream, "PDF", resolution=DPI, quality=88)
    return write_bytes_atomic(path, stream.getvalue())


def draw_sheet(counted: CountedSample, cells: Mapping[str, Sequence[np.ndarray]]) -> Image.Image:
    """The page as a picture."""
    sheet = _Sheet()
    models = " + ".join(name for name, _ in counted.sample.models)
    sheet.text(f"Sample {counted.sample.name}", TITLE)
    sheet.text(f"{len(counted.counted)} of {len(counted.fields)} fields counted, "
               f"{int(counted.table.sum())} cells; model {models}", TEXT, GREY)  # fmt: skip
    _numbers(sheet, counted.quantities)
    _sizes_and_fields(sheet, counted)
    for name, tiles in list(cells.items())[:TYPES]:
        if tiles and sheet.room(SIDE + 330):
            total = int(counted.table[:, counted.types.index(name)].sum())
            sheet.tiles(f"{name}, {total:,}", tiles)
    sheet.rule()
    measured = counted.measured_on or "not measured: intervals hold sampling alone"
    for said in (
        *_short([f"{text[:1].upper()}{text[1:]}." for text in counted.warnings], "warnings"),
        f"Border: {FRAME}. Intervals: 95%, of the spread between fields and of the model's errors, "
        f"measured on: {measured}.",
        f"{USE[:1].upper()}{USE[1:]}.",
    ):
        sheet.text(said, SMALL, GREY)
    return sheet.image


def _numbers(sheet: _Sheet, quantities: Sequence[Quantity]) -> None:
    sheet.row(["", "estimate", "95% interval", "cells found"], GREY)
    sheet.rule()
    for one in quantities:
        shown = [number(one.estimate.value), interval(one.estimate), f"{one.counted:,}"]
        sheet.row([f"{one.label}, {one.unit}", *shown])
        said = " ".join(filter(None, (one.remark, one.estimate.note)))
        if said:
            sheet.text(said, SMALL, GREY)
    if not quantities:
        sheet.text("No field counts, so there is no number.")


def _sizes_and_fields(sheet: _Sheet, counted: CountedSample) -> None:
    """The histogram, and beside it the fields that were left out."""
    sheet.rule()
    top, chart, middle = sheet.y, size_chart(counted), SIZE[0] // 2
    if chart is not None:
        picture = Image.open(io.BytesIO(chart.png())).convert("RGB")
        width = middle - MARGIN - 20
        picture = picture.resize((width, round(width * picture.height / picture.width)))
        sheet.image.paste(picture, (MARGIN, round(top)))
    below, left = top + (0 if chart is None else picture.height), middle if chart else MARGIN
    left_out = [one for one in counted.fields if not one.counts]
    sheet.text(f"Left out: {len(left_out)} of {len(counted.fields)} fields", TEXT, left=left)
    for said in _short([f"{one.field.name}: {why(one)}" for one in left_out], "fields"):
        sheet.text(said, SMALL, GREY, left)
    sheet.y = max(sheet.y, below) + 14


def _short(texts: Sequence[str], what: str) -> list[str]:
    """The first of them, and how many more there are."""
    more = len(texts) - LISTED
    return [*texts[:LISTED], *([f"{more} more {what}: see report.html"] if more > 0 else [])]


class _Sheet:
    """A page that is filled from above; ``y`` is where it is still empty."""

    def __init__(self) -> None:
        self.image = Image.new("RGB", SIZE, "white")
        self.pen = ImageDraw.Draw(self.image)
        self.y: float = MARGIN * 0.8

    def room(self, height: float) -> bool:
        """Whether so much is left."""
        return self.y + height < SIZE[1] - MARGIN

    def text(self, text: str, size: int = TEXT, colour: str = INK, left: int = MARGIN) -> None:
        """Lines of text, as wide as the page from ``left`` on; none below its end."""
        font, line = ImageFont.load_default(size), ""
        for word in [*in_pillows_font(text).split(), ""]:
            longer = f"{line} {word}".strip()
            if word and font.getlength(longer) <= SIZE[0] - MARGIN - left:
                line = longer
                continue
            if line and self.room(size):
                self.pen.text((left, self.y), line, colour, font)
                self.y += size * 1.35
            line = word

    def row(self, cells: Sequence[str], colour: str = INK) -> None:
        """A line of a table: the first flush left, the others flush right."""
        font = ImageFont.load_default(TEXT)
        if self.room(TEXT):
            name, *numbers = map(in_pillows_font, cells)
            self.pen.text((MARGIN, self.y), name, colour, font)
            for text, right in zip(numbers, COLUMNS, strict=True):
                self.pen.text((right, self.y), text, colour, font, anchor="ra")
            self.y += TEXT * 1.45

    def rule(self) -> None:
        """A thin line across."""
        self.pen.line((MARGIN, self.y + 4, SIZE[0] - MARGIN, self.y + 4), LINE, 2)
        self.y += 16

    def tiles(self, title: str, tiles: Sequence[np.ndarray]) -> None:
        """Small pictures in a row, their title before them."""
        begin, font = MARGIN + 200, ImageFont.load_default(SMALL)
        self.pen.text((MARGIN, self.y + SIDE / 2), in_pillows_font(title), INK, font, anchor="lm")
        for place, tile in enumerate(tiles[: (SIZE[0] - MARGIN - begin) // (SIDE + 4)]):
            picture = Image.fromarray(tile).resize((SIDE, SIDE))
            self.image.paste(picture, (begin + place * (SIDE + 4), round(self.y)))
        self.y += SIDE + 8
