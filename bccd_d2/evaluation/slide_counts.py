"""What a laboratory reports of a slide, from the cells found in its fields.

Red cells with a parasite count as red cells, and once, however many parasites they hold: a cell is
one outline. Gametocytes are counted apart, as they say nothing of the dose of a treatment.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from bccd_d2.evaluation.cell_kinds import (
    ALL_RED,
    CELL,
    GAMETOCYTE,
    INFECTED,
    NORMOBLAST,
    OTHER,
    PLATELET,
    UNSURE,
    WHITE,
    are_typed,
    kind_of,
)
from bccd_d2.evaluation.counting import (
    Estimate,
    mean_per_field,
    odds_of,
    product,
    share_of,
)
from bccd_d2.evaluation.miscounts import Miscounts

LEAST_RED = 500  # red cells for a parasitaemia, as laboratories count
LEAST_WHITE = 100  # white cells for a differential
PLATELET_FACTOR = 15_000  # platelets a microlitre for each in an oil immersion field
OIL_FIELD_MM2 = 0.038  # such a field: an eyepiece of field number 22 behind a 100x objective


@dataclass(frozen=True)
class Quantity:
    """A line of the report.

    Attributes:
        key: its name in sample.json.
        label, unit: for people.
        estimate: with its 95% interval.
        counted: cells found that it rests on.
        remark: what to know, "" for nothing.
    """

    key: str
    label: str
    unit: str
    estimate: Estimate
    counted: int
    remark: str = ""


@dataclass(frozen=True)
class Factors:
    """What turns counts into concentrations.

    Attributes:
        field_mm2: area of a field; None where the pixel size is not known.
        platelets: a microlitre for each platelet in an oil immersion field of `OIL_FIELD_MM2`, or
            with ``per_image`` in an image.
        per_image: a person said the factor for these images.
    """

    field_mm2: float | None = None
    platelets: float = PLATELET_FACTOR
    per_image: bool = False


def count_slide(
    types: Sequence[str],
    counts: np.ndarray,
    miscounts: Miscounts | None = None,
    factors: Factors | None = None,
) -> list[Quantity]:
    """The quantities of a slide; those that need types only where cells have some.

    Args:
        types: K names.
        counts: (F, K) cells of each type found in the counting frame of each field.
        miscounts: what the model makes of cells, of types by the same names; a model that was
            measured without types corrects the number of cells alone.
        factors: see `Factors`.
    """
    return _Slide(tuple(types), counts, miscounts, factors or Factors()).quantities()


class _Slide:
    """The counts of one slide, seen as groups of types."""

    def __init__(
        self, types: tuple[str, ...], counts: np.ndarray, measured: Miscounts | None, how: Factors
    ) -> None:
        self._how = how
        # Types that only the measurement or only the slide has count 0 on the other side.
        names = list(types)
        if measured is not None and are_typed(measured.types):
            names += [name for name in measured.types if name not in names]
        self._types, self._kinds = names, np.array([kind_of(name) for name in names])
        self._counts = np.zeros((len(counts), len(names)), dtype=np.int64)
        self._counts[:, : len(types)] = counts
        self._measured = measured
        self._by_type: Miscounts | None = None
        if measured is not None and are_typed(measured.types):
            self._by_type = _in_order(measured, names)

    def quantities(self) -> list[Quantity]:
        """See `count_slide`."""
        cells = np.ones(len(self._types), dtype=bool)
        if not are_typed(self._types):
            return [*self._per_area(self._mean("cells", "cells", cells, self._measured))]
        red = np.isin(self._kinds, ALL_RED)
        found = [*self._per_area(self._mean("red_cells", "red cells", red, self._by_type))]
        found += self._parasites(red)
        white = self._kinds == WHITE
        found.append(self._per_100(white, red, "white_cells_per_100_red_cells", "white cells"))
        found += self._differential(white)
        platelets = self._kinds == PLATELET
        found.append(self._per_100(platelets, red, "platelets_per_100_red_cells", "platelets"))
        if platelets.any():
            found.append(self._platelets(platelets, red, found[0].estimate))
        for kind, key in ((UNSURE, "unsure"), (NORMOBLAST, "nucleated_red_cells"),
                          (CELL, "untyped"), (OTHER, "other")):  # fmt: skip
            count = int(self._counts[:, self._kinds == kind].sum())
            if count:
                names = ", ".join(np.array(self._types)[self._kinds == kind])
                found.append(Quantity(key, "cells left aside", "cells", Estimate(count), count,
                                      f"{names}: in none of the numbers above"))  # fmt: skip
        return found

    def _mean(
        self, key: str, label: str, of: np.ndarray, measured: Miscounts | None
    ) -> Quantity:
        counts = self._counts[:, of].sum(axis=1)
        found, true = None, None
        if measured is not None:
            same = of if len(measured.types) == len(of) else np.ones(len(measured.types), bool)
            found, true = measured.found(same), measured.true(same)
        estimate = mean_per_field(counts, found, true)
        return Quantity(key, label, "a field", estimate, int(counts.sum()))

    def _per_area(self, mean: Quantity) -> list[Quantity]:
        """The mean, and where the size of pixels is known the density."""
        area = self._how.field_mm2
        if area is None:
            return [mean]
        density = mean.estimate.times(1 / area)
        return [mean, Quantity(f"{mean.key}_per_mm2", mean.label, "a mm²", density, mean.counted)]

    def _share(self, one: np.ndarray, other: np.ndarray) -> Estimate:
        channel = None
        if self._by_type is not None:
            channel = self._by_type.channel(one, other, self._counts.sum(axis=0))
        sums = (self._counts[:, one].sum(axis=1), self._counts[:, other].sum(axis=1))
        return share_of(*sums, channel)

    def _parasites(self, red: np.ndarray) -> list[Quantity]:
        total, found = int(self._counts[:, red].sum()), []
        short = max(0, LEAST_RED - total)
        remark = f"count {short} more red cells: {LEAST_RED} is the least" if short else ""
        for kind, key, label in (
            (INFECTED, "parasitaemia", "parasitaemia, gametocytes apart"),
            (GAMETOCYTE, "gametocytes", "red cells with a gametocyte"),
        ):
            of = self._kinds == kind
            if of.any():
                share = self._share(of, red & ~of).times(100)
                found.append(Quantity(key, label, "% of red cells", share,
                                      int(self._counts[:, of].sum()), remark))  # fmt: skip
        return found

    def _differential(self, white: np.ndarray) -> list[Quantity]:
        total = int(self._counts[:, white].sum())
        short = max(0, LEAST_WHITE - total)
        remark = f"count {short} more white cells: {LEAST_WHITE} is the least" if short else ""
        found: list[Quantity] = []
        if white.sum() < 2:
            return found
        for index in np.flatnonzero(white):
            one = np.arange(len(self._types)) == index
            share = self._share(one, white & ~one).times(100)
            key = "white_" + "_".join(self._types[index].lower().split())
            found.append(Quantity(key, self._types[index], "% of white cells", share,
                                  int(self._counts[:, index].sum()), remark))  # fmt: skip
        return found

    def _per_100(self, of: np.ndarray, red: np.ndarray, key: str, label: str) -> Quantity:
        counted = int(self._counts[:, of].sum())
        if not of.any():
            estimate = Estimate(None, note="the model knows no such type")
        else:
            estimate = odds_of(self._share(of, red)).times(100)
        return Quantity(key, label, "for 100 red cells", estimate, counted)

    def _platelets(self, of: np.ndarray, red: np.ndarray, reds: Estimate) -> Quantity:
        """Per microlitre: platelets a field, by way of the red cells, times the factor."""
        counted, how = int(self._counts[:, of].sum()), self._how
        a_field = product(odds_of(self._share(of, red)), reds)
        if how.per_image:
            estimate = a_field.times(how.platelets)
            remark = f"platelets an image x {how.platelets:g}, the factor that was given"
        elif how.field_mm2 is None:
            note = "give the pixel size, or the factor for one image (--platelet-factor)"
            estimate, remark = Estimate(None, note=note), ""
        else:
            estimate = a_field.times(how.platelets * OIL_FIELD_MM2 / how.field_mm2)
            remark = (
                f"platelets in {OIL_FIELD_MM2} mm², an oil immersion field, x {how.platelets:g}; "
                "some laboratories use 14,000 or 20,000"
            )
        unit = "a µl, estimated"
        return Quantity("platelets_per_ul", "platelets", unit, estimate, counted, remark)


def _in_order(measured: Miscounts, names: Sequence[str]) -> Miscounts:
    """The same measurement with its types in another order, and among more of them."""
    places = [list(names).index(name) for name in measured.types]
    images, count = len(measured.truth), len(names)
    truth, invented = np.zeros((2, images, count), dtype=np.int64)
    found_as = np.zeros((images, count, count), dtype=np.int64)
    truth[:, places], invented[:, places] = measured.truth, measured.invented
    found_as[np.ix_(range(images), places, places)] = measured.found_as
    told = np.ones((images, count), dtype=bool)
    if measured.told is not None:
        told[:, places] = measured.told
    return replace(
        measured, types=tuple(names), truth=truth, found_as=found_as, invented=invented, told=told
    )


def cells_more(quantities: Sequence[Quantity]) -> list[str]:
    """What a person should still count, each sentence once."""
    return list(dict.fromkeys(q.remark for q in quantities if q.remark.startswith("count ")))
