"""Sizes, pale centres and shapes of a slide's red cells, graded as haematologists do.

Only whole cells count: those that do not touch the border. The width of the area distribution is a
surrogate of RDW, which analysers measure on volumes; the two are not the same number. A cell is
hypochromic whose centre lacks more of the rim's density than a limit (area times contrast of
`export.pallor`); a model that tells hypochromic cells itself is believed instead. Limits and grades
stand in ``morphology.yaml``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from bccd_d2.evaluation.counting import LEVEL, Estimate, share_of
from bccd_d2.evaluation.slide_counts import Quantity
from bccd_d2.io.records import read_yaml
from bccd_d2.masks.labels import disc_diameter

LIMITS = Path(__file__).with_name("morphology.yaml")
_SHAPE = {
    "diameter_um": [float, float],
    "hypochromic_from": float,
    "least_cells": int,
    "grades": {str: [float, float]},
}
SURROGATE = "a surrogate of RDW: of areas, not of volumes"
HYPOCHROMIA = "share_hypochromia"


@dataclass(frozen=True, eq=False)
class RedCells:
    """The whole red cells of one field.

    Attributes:
        areas: (N,) px.
        types: N names; all alike where nobody told them apart.
        pixel_size: micrometres; None = not known.
        pallor: (N, 2) area and contrast of their pale centres, in [0, 1], NaN where not measured;
            None for all of them.
    """

    areas: np.ndarray
    types: np.ndarray
    pixel_size: float | None = None
    pallor: np.ndarray | None = None

    @property
    def diameters(self) -> np.ndarray:
        """(N,) of the discs of their areas, in micrometres, or px where the size is not known."""
        return disc_diameter(self.areas) * (self.pixel_size or 1.0)

    @property
    def measured_pallor(self) -> np.ndarray:
        """(M, 2) of the M cells that have it measured."""
        given = np.zeros((0, 2)) if self.pallor is None else self.pallor
        return given[~np.isnan(given).any(axis=1)]


def limits(path: str | Path = LIMITS) -> dict[str, Any]:
    """The content of ``morphology.yaml``, or of another file of its kind.

    Raises:
        FileNotFoundError, ValueError: no such file, or a broken one.
    """
    found: dict[str, Any] = read_yaml(path, _SHAPE, "take evaluation/morphology.yaml as a model")
    return found


def grade(name: str, percent: float, grades: dict[str, list[float]]) -> str:
    """ "moderate (2+)", "many (3+)", or "" for less or for what is not graded."""
    if name not in grades:
        return ""
    moderate, many = grades[name]
    return "many (3+)" if percent > many else "moderate (2+)" if percent >= moderate else ""


def describe(fields: Sequence[RedCells], typed: bool) -> list[Quantity]:
    """The quantities of size and shape; none for fewer cells than can be graded.

    Args:
        fields: of the fields that count.
        typed: their types are those of red cells; else they are cells of any kind.
    """
    how, total = limits(), sum(len(one.areas) for one in fields)
    if total < how["least_cells"]:
        return []
    whose = "red cells" if typed else "cells of all kinds"
    width = _between([one.diameters for one in fields], _area_cv).times(100)
    unit = f"% of the mean, {whose}"
    found = [Quantity("area_cv", "width of the area distribution", unit, width, total, SURROGATE)]
    if all(one.pixel_size is not None for one in fields):
        found += _sizes(fields, how, whose, total)
    shapes = _shapes(fields, how) if typed else []
    told = any(q.key == HYPOCHROMIA for q in shapes)
    return found + _pallor(fields, how, whose, told) + shapes


def _sizes(
    fields: Sequence[RedCells], how: dict[str, Any], whose: str, total: int
) -> list[Quantity]:
    low, high = how["diameter_um"]
    median = _between([one.diameters for one in fields], lambda d: float(np.median(d)))
    found = [Quantity("diameter_um", "median diameter", f"µm, {whose}", median, total)]
    kinds = (
        ("microcyte", f"smaller than {low:g} µm", lambda d: d < low),
        ("macrocyte", f"larger than {high:g} µm", lambda d: d > high),
        ("anisocytosis", f"outside {low:g} to {high:g} µm", lambda d: (d < low) | (d > high)),
    )
    for name, label, is_it in kinds:
        inside = np.array([int(is_it(one.diameters).sum()) for one in fields])
        sizes = np.array([len(one.areas) for one in fields])
        found.append(_graded(name, f"{name}: {label}", (inside, sizes, whose), how))
    return found


def _pallor(
    fields: Sequence[RedCells], how: dict[str, Any], whose: str, told: bool
) -> list[Quantity]:
    """Pale centres; hypochromic cells unless the model told them."""
    every = [one.measured_pallor for one in fields]
    sizes, total = np.array([len(one) for one in every]), sum(map(len, every))
    if total < how["least_cells"]:
        return []
    kept = [one[:, 0] for one in every if len(one)]
    area = _between(kept, lambda share: float(np.median(share))).times(100)
    found = [Quantity("central_pallor", "pale centre, median", f"% of the area, {whose}", area,
                      total)]  # fmt: skip
    if not told:
        pale = np.array([int((one.prod(axis=1) > how["hypochromic_from"]).sum()) for one in every])
        label = f"hypochromia: the centre lacks more than {how['hypochromic_from']:.0%}"
        found.append(_graded("hypochromia", label, (pale, sizes, whose), how))
    return found


def _shapes(fields: Sequence[RedCells], how: dict[str, Any]) -> list[Quantity]:
    names = sorted({str(name) for one in fields for name in one.types} & set(how["grades"]))
    sizes = np.array([len(one.areas) for one in fields])
    counts = {n: np.array([int((one.types == n).sum()) for one in fields]) for n in names}
    rows = {name: (inside, sizes, "red cells") for name, inside in counts.items()}
    return [_graded(name, name, row, how) for name, row in rows.items()]


def _graded(
    name: str, label: str, counts: tuple[np.ndarray, np.ndarray, str], how: dict[str, Any]
) -> Quantity:
    """A share of cells with its grade; its interval is of fields, not of the model's errors."""
    inside, sizes, whose = counts
    share = replace(share_of(inside, sizes - inside).times(100), note="")
    said = grade(name, share.value or 0.0, how["grades"])
    key = "share_" + "_".join(name.split())
    return Quantity(key, label, f"% of {whose}", share, int(inside.sum()), said)


def _area_cv(diameters: np.ndarray) -> float:
    areas = diameters**2
    return float(areas.std(ddof=1) / areas.mean()) if len(areas) > 1 else float("nan")


def _between(every: Sequence[np.ndarray], statistic: Any) -> Estimate:
    """A statistic of the cells of all fields, its interval by leaving one field out at a time."""
    value, count = statistic(np.concatenate(every)), len(every)
    if count < 3:
        return Estimate(value, note="fewer than three fields have no interval here")
    left = [statistic(np.concatenate([*every[:n], *every[n + 1 :]])) for n in range(count)]
    error = float(np.sqrt((count - 1) / count * ((left - np.mean(left)) ** 2).sum()))
    reach = float(stats.t.ppf((1 + LEVEL) / 2, count - 1)) * error
    return Estimate(value, max(0.0, value - reach), value + reach)
