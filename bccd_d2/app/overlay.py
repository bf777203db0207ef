"""What the page shows of one image, as HTML: counts, the picture under SVG outlines, or a message.

Every candidate is a path of the SVG and a row of the ``data-cells`` attribute, so that ``page.js``
moves the threshold, counts anew and shows a cell's measurements without asking the server.
"""

from __future__ import annotations

import base64
import json
from html import escape

import cv2
import numpy as np

from bccd_d2.app.results import Counts, Findings
from bccd_d2.app.toolbar import toolbar_html
from bccd_d2.app.upload import Limits
from bccd_d2.export.table import Table
from bccd_d2.masks.classes import UNSURE, Classes
from bccd_d2.masks.rle import Rle, rle_to_polygons

LONGEST = 2000  # px of the picture in the page; the outlines stay exact
# What page.js needs of each cell, in its order: column of the table, digits.
COLUMNS = (
    ("score", None),
    ("touches_border", 0),
    ("area", 0),
    ("equivalent_diameter", 2),
    ("perimeter", 2),
    ("circularity", 3),
    ("eccentricity", 3),
    ("solidity", 3),
    ("mean_intensity", 1),
)
CARDS = (  # key, heading; page.js fills in the same
    ("cells", "Cells"),
    ("interior", "Interior cells"),
    ("density", "Density"),
    ("diameter", "Median diameter"),
)


def result_html(
    findings: Findings,
    image: np.ndarray | None,
    threshold: float,
    pixel_size: float | None = None,
) -> str:
    """The counts at a threshold above the image with its outlines.

    Args:
        image: (H, W, 3) uint8 RGB that the findings are of; None leaves it out, for a page that
            has it.
        pixel_size: micrometres that were typed; None = what the file says.
    """
    pixel_size, kept = pixel_size or findings.pixel_size, findings.corrections
    threshold = 0.0 if kept else threshold  # what a person left counts at any score
    frozen = f' data-frozen="yes" data-seen="{len(kept.trail)}"' if kept else ""
    picture = "" if image is None else picture_uri(image)
    height, width = findings.cells.image_size
    said = [f"{width} × {height} px", findings.notes, findings.size]
    facts = ", ".join(fact for fact in said if fact)
    cards = card_texts(findings.counts(threshold, pixel_size), pixel_size)
    boxes = "".join(_card(key, heading, cards) for key, heading in CARDS)
    types = _shown_types(findings)
    return f"""
<div class="bccd-result" data-width="{width}" data-height="{height}"{frozen}
     data-pixel="{findings.pixel_size or ''}" data-threshold="{threshold}"
     data-cells="{escape(_rows(findings.table, types))}"{_names(findings)}>
<p class="bccd-file"><strong>{escape(findings.name)}</strong> <span>{escape(facts)}</span></p>
{_check(findings.complaint)}
<div class="bccd-cards" role="status">{boxes}</div>
<p class="bccd-legend"><span class="bccd-key">interior</span>
<span class="bccd-key border">touches the border: its shape is cut</span>
<span class="bccd-hint">Point at a cell for its measurements, or use the arrow keys.</span></p>
{_type_boxes(findings, types, threshold)}
{toolbar_html(findings)}
<div class="bccd-figure">
<svg viewBox="0 0 {width} {height}" tabindex="0" role="group"
     aria-label="Outlined cells. Arrow keys go from cell to cell, Escape leaves.">
<image href="{picture}" width="{width}" height="{height}" preserveAspectRatio="none"/>
{"".join(_paths(findings, types, threshold))}
</svg>
<div class="bccd-tip" role="status" hidden=""></div>
</div>
</div>"""


def _paths(findings: Findings, types: np.ndarray | None, threshold: float) -> list[str]:
    """The SVG path of each candidate, in the colour of its type where there are types."""
    cells, borders = findings.cells, findings.table["touches_border"]
    colours = [""] * len(cells)
    if types is not None:
        colours = [f' style="--type:{_hex(cells.classes, int(k))}"' for k in types]
    rows = zip(cells.rles, cells.scores, borders, colours, strict=True)
    return [
        _path(number, rle, score >= np.float32(threshold), border, colour)
        for number, (rle, score, border, colour) in enumerate(rows, start=1)
    ]


def card_texts(counts: Counts, pixel_size: float | None = None) -> dict[str, tuple[str, str]]:
    """For each of `CARDS` its number and its unit, as page.js writes them too."""
    if counts.per_mm2 is None:
        density = (_short(counts.per_megapixel), "per megapixel")
    else:
        density = (_short(counts.per_mm2), "per mm²")
    diameter = ("–", "no whole cell")
    if counts.diameter is not None:
        diameter = (f"{counts.diameter:.0f}", "px")
        if pixel_size is not None:
            diameter = (f"{counts.diameter * pixel_size:.2f}", "µm")
    border = counts.cells - counts.interior
    return {
        "cells": (str(counts.cells), f"cover {100 * counts.coverage:.0f}% of the image"),
        "interior": (str(counts.interior), f"{border} more at the border"),
        "density": density,
        "diameter": diameter,
    }


def empty_html(limits: Limits) -> str:
    """What stands in the place of a result before there is one."""
    return f"""
<div class="bccd-empty">
<h2>No image yet</h2>
<p>Drop an image of a stained blood smear on the field beside, or try the drawn example.</p>
<p class="bccd-quiet">PNG, JPEG, BMP or TIFF, 8 or 16 bits, colour or grey; up to
{limits.upload_mb:g} MB and {limits.megapixels:g} megapixels. Of a TIFF with several pages the first
is used.</p>
</div>"""


def error_html(message: str) -> str:
    """A message in the place of a result."""
    text = message[:1].upper() + message[1:] + ("" if message.endswith(".") else ".")
    return f"""
<div class="bccd-error" role="alert">
<h2>That did not work</h2>
<p>{escape(text)}</p>
</div>"""


def _check(complaint: str) -> str:
    """The notice of an image that is not to be trusted; a screen reader says it at once."""
    if not complaint:
        return ""
    return (
        f'<p class="bccd-check" role="alert"><strong>Check this image:</strong> '
        f"{escape(complaint)}.</p>"
    )


def _card(key: str, heading: str, texts: dict[str, tuple[str, str]]) -> str:
    number, unit = texts[key]
    return (
        f'<div class="bccd-card" data-card="{key}"><span class="head">{heading}</span>'
        f'<span class="number">{number}</span><span class="unit">{unit}</span></div>'
    )


def _short(number: float) -> str:
    return f"{number:.1f}" if number < 100 else f"{number:.0f}"


def _shown_types(findings: Findings) -> np.ndarray | None:
    """(N,) class ids, -1 for unsure; None where there are no types."""
    cells = findings.cells
    if not cells.classes.typed:
        return None
    return cells.classes.shown(cells.class_ids, cells.class_confidence)


def _hex(classes: Classes, class_id: int) -> str:
    return "#{:02x}{:02x}{:02x}".format(*classes.colour(class_id))


def _names(findings: Findings) -> str:
    """The names of the types for page.js; "" where there are none."""
    classes = findings.cells.classes
    if not classes.typed:
        return ""
    return f' data-types="{escape(json.dumps(classes.names))}"'


def _type_boxes(findings: Findings, types: np.ndarray | None, threshold: float) -> str:
    """The legend of types, each with the number of its cells and a box that hides them."""
    if types is None:
        return ""
    classes = findings.cells.classes
    counted = types[findings.cells.scores >= np.float32(threshold)]
    boxes = [
        f'<label class="bccd-type" style="--type:{_hex(classes, k)}">'
        f'<input type="checkbox" checked="" data-type="{k}"/><span>{escape(name)}</span> '
        f"<b>{int((counted == k).sum())}</b></label>"
        for k, name in zip((*range(len(classes)), -1), (*classes.names, UNSURE), strict=True)
        if (types == k).any() or k >= 0
    ]
    return (
        '<p class="bccd-types" role="group" aria-label="Types that are shown">'
        + "".join(boxes)
        + '<span class="bccd-hint">Untick a type to leave it out of picture and counts; files hold '
        "all.</span></p>"
    )


def _path(number: int, rle: Rle, shown: bool, border: bool, style: str) -> str:
    outline = "".join(
        "M" + " ".join(f"{value:g}" for value in polygon) + "Z"
        for polygon in rle_to_polygons(rle, tolerance=0.75)
    )
    kinds = "bccd-cell" + " border" * bool(border) + " off" * (not shown)
    return f'<path class="{kinds}"{style} data-cell="{number}" d="{outline}"/>'


def _rows(table: Table, types: np.ndarray | None) -> str:
    """One list a cell as JSON; what is not defined is null. Types come last: id, probability."""
    columns = []
    for name, digits in COLUMNS:
        values = [float(value) for value in table[name]]
        columns.append([_number(value, digits) for value in values])
    if types is not None:
        columns.append(types.tolist())
        columns.append([_number(float(value), 2) for value in table["type_probability"]])
    return json.dumps(list(zip(*columns, strict=True)), separators=(",", ":"))


def _number(value: float, digits: int | None) -> float | int | None:
    if not np.isfinite(value):
        return None
    return value if digits is None else round(value, digits or None)


def picture_uri(image: np.ndarray, longest: int = LONGEST) -> str:
    """An image, (H, W, 3) uint8 RGB, as a JPEG in a data URI, at most ``longest`` px long."""
    factor = longest / max(image.shape[:2])
    if factor < 1:
        size = [max(1, round(side * factor)) for side in image.shape[1::-1]]
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    done, jpeg = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])
    if not done:
        raise ValueError(f"OpenCV could not encode a picture of {image.shape}")
    return "data:image/jpeg;base64," + base64.b64encode(jpeg.tobytes()).decode("ascii")
