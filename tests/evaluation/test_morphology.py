"""Sizes and shapes of red cells, on areas whose answer is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bccd_d2.evaluation.morphology import RedCells, describe, grade, limits


def field(diameters, types="red", pixel_size: float | None = 0.1) -> RedCells:
    areas = np.pi / 4 * (np.asarray(diameters, dtype=float) / 0.1) ** 2
    return RedCells(areas, np.full(len(areas), types, dtype=object), pixel_size)


def test_sizes_in_micrometres_are_graded():
    one = field([7.0] * 70 + [5.0] * 15 + [9.5] * 15)
    found = {q.key: q for q in describe([one, one, one, one], True)}
    assert found["diameter_um"].estimate.value == pytest.approx(7.0)
    assert found["share_microcyte"].estimate.value == pytest.approx(15, abs=0.1)
    assert found["share_microcyte"].remark == found["share_macrocyte"].remark == "moderate (2+)"
    assert found["share_anisocytosis"].remark == "many (3+)"
    areas = np.array([49.0] * 70 + [25.0] * 15 + [90.25] * 15)
    assert found["area_cv"].estimate.value == pytest.approx(100 * areas.std() / areas.mean(), 1e-2)
    assert "surrogate of RDW" in found["area_cv"].remark


def test_without_a_pixel_size_there_are_no_micrometres_and_few_cells_are_not_described():
    found = [q.key for q in describe([field([7.0, 8.0] * 60, pixel_size=None)] * 3, False)]
    assert found == ["area_cv"]
    assert describe([field([7.0] * 20)], True) == []
    assert describe([], True) == []


def test_shapes_have_the_grades_of_their_type():
    mixed = field([7.0] * 100, pixel_size=None)
    mixed.types[:3], mixed.types[3:10] = "schistocyte", "target cell"
    found = {q.key: q for q in describe([mixed] * 3, True)}
    assert found["share_schistocyte"].remark == "many (3+)"
    assert found["share_target_cell"].remark == "moderate (2+)"
    assert found["share_target_cell"].estimate.value == pytest.approx(7, abs=0.1)
    assert grade("schistocyte", 0.5, limits()["grades"]) == "" == grade("dust", 50, {})


def test_fields_that_differ_widen_the_interval():
    same = {q.key: q.estimate for q in describe([field([6.9, 7.1] * 50)] * 5, True)}
    apart = [field(np.array([6.9, 7.1] * 50) + shift) for shift in (-1, -0.5, 0, 0.5, 1)]
    wide = {q.key: q.estimate for q in describe(apart, True)}
    assert same["diameter_um"].high - same["diameter_um"].low < 1e-9
    assert wide["diameter_um"].high - wide["diameter_um"].low > 0.5


def pale(area: float, contrast: float, cells: int) -> np.ndarray:
    return np.tile([area, contrast], (cells, 1))


def test_cells_whose_centre_lacks_much_are_hypochromic():
    pallor = np.concatenate([pale(0.1, 0.5, 84), pale(0.4, 0.8, 12), pale(np.nan, np.nan, 4)])
    one = replace(field([7.0] * 100, pixel_size=None), pallor=pallor)
    found = {q.key: q for q in describe([one] * 4, True)}
    assert found["central_pallor"].estimate.value == pytest.approx(10)
    assert found["central_pallor"].counted == 4 * 96
    share = found["share_hypochromia"]
    assert share.counted == 48 and share.remark == "moderate (2+)"
    assert share.estimate.value == pytest.approx(100 * 12 / 96, abs=0.1)


def test_a_model_that_tells_hypochromic_cells_is_believed_instead():
    one = replace(field([7.0] * 100, pixel_size=None), pallor=pale(0.4, 0.8, 100))
    one.types[:30] = "hypochromia"
    found = [q for q in describe([one] * 4, True) if q.key == "share_hypochromia"]
    assert len(found) == 1 and found[0].counted == 120


def test_results_without_pallor_say_nothing_of_it():
    keys = [q.key for q in describe([field([7.0] * 120)] * 3, True)]
    assert "central_pallor" not in keys and "share_hypochromia" not in keys
