"""The images of the page's list as one sample: the numbers of `bccd count` and its report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from html import escape

import numpy as np

from bccd_d2.app.results import Findings
from bccd_d2.evaluation.cell_kinds import CELL
from bccd_d2.io.tables import PALLOR
from bccd_d2.slide.count import CountedSample, CountOptions, count_sample
from bccd_d2.slide.fields import Field, Sample
from bccd_d2.slide.page import interval, number

CORRECTED = (
    "a person corrected some of the fields, so the model's errors were not taken off: intervals "
    "hold sampling alone"
)


@dataclass(frozen=True, eq=False)
class HeldField(Field):
    """A field whose image is in memory."""

    held: Findings | None = field(default=None)

    def image(self) -> np.ndarray:
        """The image, (H, W, 3) uint8 RGB."""
        if self.held is None:
            return super().image()
        return self.held.image()


def count_images(
    images: Mapping[str, Findings],
    threshold: float,
    model: tuple[str, str],
    pixel_size: float | None = None,
    usual_threshold: float | None = None,
) -> CountedSample:
    """Count the images as the fields of one sample.

    Args:
        images: by name.
        threshold: of the cells' scores, where nobody corrected them.
        model: its name and SHA-256.
        pixel_size: micrometres, for all; None = as their files say.
        usual_threshold: the model's own, at which its errors were measured; None = ``threshold``.
    """
    fields: list[Field] = [_field(name, one, threshold) for name, one in images.items()]
    touched = any(one.corrections is not None and one.corrections.past for one in images.values())
    usual = usual_threshold is None or bool(np.isclose(threshold, usual_threshold))
    complaints = {name: one.complaint for name, one in images.items() if one.complaint}
    classes = next((one.cells.classes for one in images.values() if one.cells.classes.typed), None)
    names = classes.names if classes else ()
    sample = Sample("of the page", fields, [model], complaints, names, usual and not touched)
    counted = count_sample(sample, CountOptions(pixel_size=pixel_size))
    if touched:
        return replace(counted, warnings=[*counted.warnings, CORRECTED])
    return counted


def _field(name: str, one: Findings, threshold: float) -> HeldField:
    cells, table = one.above(threshold)
    types = table["type"].tolist() if "type" in table else [CELL] * len(cells)
    return HeldField(
        name=name,
        image_size=cells.image_size,
        boxes=cells.boxes.astype(np.int64),
        areas=cells.areas,
        types=tuple(types),
        pixel_size=one.pixel_size,
        pallor=np.stack([table[name] for name in PALLOR], axis=1),
        held=one,
    )


def sample_html(counted: CountedSample) -> str:
    """The numbers in short, the fields left out, and what to know."""
    rows = "".join(
        f"<tr><th>{escape(q.label)}, {escape(q.unit)}</th><td>{number(q.estimate.value)}</td>"
        f"<td>{interval(q.estimate)}</td></tr>"
        for q in counted.quantities
    )
    left = "".join(
        f"<li>{escape(one.field.name)}: {escape('; '.join(one.reasons) or one.said)}</li>"
        for one in counted.fields
        if not one.counts
    )
    known = "".join(f"<li>{escape(text)}</li>" for text in counted.warnings)
    return (
        f'<div class="bccd-sample"><p><strong>{len(counted.counted)} of {len(counted.fields)} '
        "images counted as one sample</strong>; the report is among your downloads.</p>"
        f"<table><tr><th></th><th>estimate</th><th>95% interval</th></tr>{rows}</table>"
        + (f"<p>Left out:</p><ul>{left}</ul>" if left else "")
        + (f"<ul>{known}</ul>" if known else "")
        + "</div>"
    )
