"""`bccd count`: from the fields of a sample to its numbers, with what was left out and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bccd_d2 import __version__
from bccd_d2.evaluation.cell_kinds import ALL_RED, INFECTED, are_typed, kind_of
from bccd_d2.evaluation.counting import LEVEL
from bccd_d2.evaluation.miscounts import Miscounts, read_miscounts
from bccd_d2.evaluation.morphology import RedCells, describe
from bccd_d2.evaluation.slide_counts import (
    PLATELET_FACTOR,
    Factors,
    Quantity,
    cells_more,
    count_slide,
)
from bccd_d2.io.atomic import write_json_atomic
from bccd_d2.io.tables import write_table
from bccd_d2.io.text import some
from bccd_d2.slide.fields import Field, Sample
from bccd_d2.slide.quality import FieldQuality, copies, judge_fields, measure_field, thumbnail

SHIPPED = Path(__file__).resolve().parents[1] / "models" / "pretrained"
FRAME = (
    "cells that touch the left or the top edge of an image are counted, those that touch the right "
    "or the bottom edge are not (Gundersen's unbiased frame)"
)
UNTYPED = (
    "the model says of a cell only that it is one: red cells, white cells, platelets and "
    "parasitaemia need a model that knows types of cells (bccd predict --weights TYPED)"
)
UNMEASURED = (
    "nobody measured how this model miscounts at this threshold, so intervals hold sampling alone: "
    "bccd tune counts measures it"
)
FEW_INFECTED = 100  # measured ones, below which a parasitaemia is not to be relied on
USE = "research use: not a medical device, no diagnosis rests on these numbers alone"


@dataclass(frozen=True)
class CountOptions:
    """What a person decides.

    Attributes:
        include: fields that count whatever the checks say; "all" for all.
        exclude: fields that do not.
        miscounts: file of `bccd tune counts`; "" = the one that ships with the model.
        pixel_size: micrometres; None = as the prediction knew it.
        platelet_factor: for one image; None = the usual one for an oil immersion field.

    Raises:
        ValueError: a number that is not above 0.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    miscounts: str = ""
    pixel_size: float | None = None
    platelet_factor: float | None = None

    def __post_init__(self) -> None:
        for name in ("pixel_size", "platelet_factor"):
            value = getattr(self, name)
            if value is not None and not (np.isfinite(value) and value > 0):
                raise ValueError(f"{name.replace('_', ' ')} must be above 0, got {value}")


@dataclass(frozen=True, eq=False)
class CountedField:
    """A field and whether it counts.

    Attributes:
        field: what was found in it.
        quality: None where the image could not be read.
        reasons: what speaks against it; [] for a good one.
        counts: it is counted.
        said: by whom, where a person overrode the checks.
    """

    field: Field
    quality: FieldQuality | None
    reasons: list[str]
    counts: bool
    said: str = ""


@dataclass(frozen=True, eq=False)
class CountedSample:
    """What a sample amounts to.

    Attributes:
        sample: as it was predicted.
        fields: all of them.
        types: K names.
        table: (F, K) cells in the counting frame of the fields that count.
        quantities: with intervals; [] where no field counts.
        reds: whole red cells of the fields that count, or whole cells where they have no types.
        measured_on: the images that the model's miscounts come from; "" = none.
        warnings: what to know before the numbers are used.
    """

    sample: Sample
    fields: list[CountedField]
    types: tuple[str, ...]
    table: np.ndarray
    quantities: list[Quantity]
    reds: list[RedCells] = field(default_factory=list)
    measured_on: str = ""
    warnings: list[str] = field(default_factory=list)

    @property
    def counted(self) -> list[CountedField]:
        """The fields that count."""
        return [one for one in self.fields if one.counts]


def count_sample(sample: Sample, options: CountOptions | None = None) -> CountedSample:
    """Choose the fields of a sample and count their cells.

    Raises:
        ValueError: a field is named that there is not.
        FileNotFoundError: the file of miscounts is not there.
    """
    options = options or CountOptions()
    _check_names(sample, options)
    fields = choose_fields(sample, options)
    kept = [one.field for one in fields if one.counts]
    types = sample.types
    table = np.array([_by_type(one, types) for one in kept], dtype=np.int64)
    table = table.reshape(len(kept), len(types))
    miscounts = miscounts_for(sample, options)
    quantities = count_slide(types, table, miscounts, _factors(kept, options)) if kept else []
    reds = [red_cells(one, options.pixel_size) for one in kept]
    quantities += describe(reds, are_typed(types))
    warnings = _warnings(sample, fields, miscounts) + cells_more(quantities)
    measured_on = miscounts.measured_on if miscounts else ""
    return CountedSample(sample, fields, types, table, quantities, reds, measured_on, warnings)


def choose_fields(sample: Sample, options: CountOptions) -> list[CountedField]:
    """Measure every field and decide which of them count."""
    sizes = [f.diameter for f in sample.fields if f.diameter is not None]
    usual = float(np.median(sizes)) if sizes else 50.0
    measured = [_measure(one, one.diameter or usual) for one in sample.fields]
    good = [index for index, (quality, *_) in enumerate(measured) if quality is not None]
    cells = [int(sample.fields[index].counted.sum()) for index in good]
    reasons: dict[int, list[str]] = dict(
        zip(good, judge_fields([q for q, *_ in measured if q is not None], cells), strict=True)
    )
    fine = [n for n in good if not reasons[n] and sample.fields[n].name not in options.exclude]
    for again, first in copies([measured[index][2] for index in fine]).items():
        reasons[fine[again]].append(f"the same picture as {sample.fields[fine[first]].name}")
    chosen = []
    for index, one in enumerate(sample.fields):
        quality, problem, _ = measured[index]
        why = reasons.get(index, [])
        if one.name in options.exclude:
            counts, said = False, "left out by a person"
        elif why and (one.name in options.include or "all" in options.include):
            counts, said = True, "counted by a person's decision"
        else:
            counts, said = not why, problem
        chosen.append(CountedField(one, quality, why, counts, said))
    return chosen


def _measure(one: Field, diameter: float) -> tuple[FieldQuality | None, str, np.ndarray]:
    try:
        image = one.image()
        return measure_field(image, diameter), "", thumbnail(image)
    except (OSError, ValueError) as error:
        return None, f"its quality was not checked: {error}", np.empty(0)


def miscounts_for(
    sample: Sample, options: CountOptions, folder: Path = SHIPPED
) -> Miscounts | None:
    """What is known of the model's errors; None where nothing was measured for it.

    Args:
        folder: where measurements of shipped models lie, as ``NAME.counts.json``.

    Raises:
        FileNotFoundError, ValueError: the file that was given is missing or broken.
    """
    if options.miscounts:
        return read_miscounts(options.miscounts)
    if not sample.as_measured or len(sample.models) != 1:
        return None
    for path in sorted(folder.glob("*.counts.json")):
        found = read_miscounts(path)
        if sample.models[0][1] in found.models:
            return found
    return None


def red_cells(one: Field, pixel_size: float | None) -> RedCells:
    """The whole red cells of a field; all its whole cells where none has a type."""
    (height, width), boxes = one.image_size, one.boxes
    whole = (boxes[:, :2] > 0).all(axis=1) & (boxes[:, 2] < width) & (boxes[:, 3] < height)
    types = np.array(one.types, dtype=object)
    if are_typed(one.types):
        whole &= np.array([kind_of(name) in ALL_RED for name in one.types], dtype=bool)
    pallor = None if one.pallor is None else one.pallor[whole]
    return RedCells(one.areas[whole], types[whole], pixel_size or one.pixel_size, pallor)


def _by_type(one: Field, types: Sequence[str]) -> list[int]:
    found = Counter(np.array(one.types, dtype=object)[one.counted].tolist())
    return [found[name] for name in types]


def _factors(kept: Sequence[Field], options: CountOptions) -> Factors:
    sizes = [options.pixel_size or one.pixel_size for one in kept]
    area = None
    if all(size is not None for size in sizes):
        areas = [np.prod(one.image_size) * (size / 1000) ** 2
                 for one, size in zip(kept, sizes, strict=True) if size is not None]  # fmt: skip
        area = float(np.mean(areas))
    factor = options.platelet_factor
    return Factors(area, factor or PLATELET_FACTOR, per_image=factor is not None)


def _check_names(sample: Sample, options: CountOptions) -> None:
    known = {one.name for one in sample.fields}
    wrong = [n for n in (*options.include, *options.exclude) if n not in known and n != "all"]
    if wrong:
        raise ValueError(f"{sample.name} has no field {wrong[0]!r}; fields.csv lists their names, "
                         f"such as {sample.fields[0].name}")  # fmt: skip


def _warnings(
    sample: Sample, fields: Sequence[CountedField], miscounts: Miscounts | None
) -> list[str]:
    kept, said = [one for one in fields if one.counts], []
    if not kept:
        said.append("no field counts: --include NAME counts one all the same")
    elif len(kept) < 5:
        said.append(f"only {len(kept)} of {len(fields)} fields count: intervals are wide, and "
                    "from fewer than 5 not to be relied on")  # fmt: skip
    if not are_typed(sample.types):
        said.append(UNTYPED)
    if miscounts is None:
        said.append(UNMEASURED)
    elif are_typed(sample.types) and not are_typed(miscounts.types):
        said.append("the model was measured without types, so shares are not corrected: bccd "
                    "tune counts measures it with types")  # fmt: skip
    else:
        infected = np.array([kind_of(name) == INFECTED for name in miscounts.types], dtype=bool)
        shown = int(miscounts.true(infected).sum())
        if 0 < shown < FEW_INFECTED:
            said.append(f"the model was measured on {shown} infected cells alone: its parasitaemia "
                        "may be off by more than the interval says")  # fmt: skip
    if len({one.field.image_size for one in kept}) > 1:
        said.append("the fields differ in size: 'a field' is their mean")
    unchecked = [one.field.name for one in fields if one.quality is None]
    if unchecked:
        said.append(f"the quality of {len(unchecked)} fields was not checked, as their images "
                    "cannot be read: fields.csv says why")  # fmt: skip
    written = sum(one.quality is not None and one.quality.written for one in kept)
    if written:
        said.append(f"{written} of the fields that count carry a scale bar or writing: "
                    "cells under it may be missed")  # fmt: skip
    if sample.failed:
        said.append(f"not counted, for bccd predict failed on them: {some(sample.failed)}")
    doubts = [one.field.name for one in kept if one.field.name in sample.complaints]
    if doubts:
        said.append(f"bccd predict doubts its outlines in {some(doubts)}")
    return said


def write_sample(counted: CountedSample, out: str | Path) -> list[Path]:
    """Write sample.json and fields.csv; their paths.

    Raises:
        OSError: a file cannot be written.
    """
    out = Path(out)
    return [
        write_json_atomic(out / "sample.json", as_json(counted), indent=1),
        write_table(out / "fields.csv", [_row(one, counted) for one in counted.fields]),
    ]


def as_json(counted: CountedSample) -> dict[str, Any]:
    """What sample.json holds."""
    left_out = [
        {"field": one.field.name, "reasons": one.reasons or [one.said]}
        for one in counted.fields if not one.counts
    ]  # fmt: skip
    return {
        "sample": counted.sample.name,
        "version": __version__,
        "models": [{"name": name, "sha256": sha} for name, sha in counted.sample.models],
        "fields": {"counted": len(counted.counted), "left_out": left_out},
        "cells": dict(zip(counted.types, counted.table.sum(axis=0).tolist(), strict=True)),
        "quantities": {q.key: _quantity(q) for q in counted.quantities},
        "interval_level": LEVEL,
        "counting_frame": FRAME,
        "miscounts_measured_on": counted.measured_on,
        "warnings": counted.warnings,
        "use": USE,
    }


def _quantity(one: Quantity) -> dict[str, Any]:
    said = asdict(one.estimate) | {"label": one.label, "unit": one.unit, "counted": one.counted}
    return said | {"remark": one.remark}


def _row(one: CountedField, counted: CountedSample) -> dict[str, Any]:
    quality = asdict(one.quality) if one.quality else {}
    frame = one.field.counted
    by_type = dict(zip(counted.types, _by_type(one.field, counted.types), strict=True))
    return {
        "field": one.field.name,
        "counts": one.counts,
        "reasons": "; ".join(one.reasons),
        "said": one.said,
        "cells": len(frame),
        "cells_in_frame": int(frame.sum()),
        **(by_type if are_typed(counted.types) else {}),
        **{name: round(quality[name], 3) for name in ("blur", "coverage", "clumps") if quality},
        "check": counted.sample.complaints.get(one.field.name, ""),
    }


def summary_row(counted: CountedSample) -> dict[str, Any]:
    """One line for the table of many samples: each quantity with its interval."""
    row: dict[str, Any] = {
        "sample": counted.sample.name,
        "fields": len(counted.counted),
        "fields_left_out": len(counted.fields) - len(counted.counted),
        "cells": int(counted.table.sum()),
    }
    for one in counted.quantities:
        name = "cells_per_field" if one.key == "cells" else one.key
        for end, bound in (("", "value"), ("_low", "low"), ("_high", "high")):
            value = getattr(one.estimate, bound)
            row[name + end] = None if value is None else f"{value:.6g}"
    return row
