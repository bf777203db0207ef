"""The images of the page as one sample."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bccd_d2.app.corrections import correct
from bccd_d2.app.results import find_cells
from bccd_d2.app.sample import CORRECTED, count_images, sample_html
from bccd_d2.evaluation.counting import in_counting_frame
from bccd_d2.synth.smear import draw_smear

from .page_stand_in import DarkParts, TypedParts


@pytest.fixture
def images():
    smears = [draw_smear(seed=s, size=(300, 400), n_cells=8, style="grey") for s in range(5)]
    return {f"f{n}": find_cells(DarkParts(), s.image, f"f{n}") for n, s in enumerate(smears)}


def test_counts_are_those_above_the_threshold_in_the_frame(images):
    counted = count_images(images, 0.4, ("stand-in", ""))
    expected = {}
    for name, one in images.items():
        cells = one.above(0.4)[0]
        expected[name] = int(in_counting_frame(cells.boxes, cells.image_size).sum())
    kept = [one.field.name for one in counted.counted]
    assert counted.table.sum(axis=1).tolist() == [expected[name] for name in kept]
    html = sample_html(counted)
    assert f"{len(kept)} of 5 images counted" in html and "cells, a field" in html


def test_corrected_fields_count_as_corrected_and_are_not_corrected_again(images):
    first = correct(images["f0"], {"do": "delete", "cells": [1], "seen": 0}, 0.4)
    counted = count_images({**images, "f0": first}, 0.4, ("stand-in", ""))
    assert CORRECTED in counted.warnings
    assert not counted.sample.as_measured and counted.measured_on == ""
    field = next(one.field for one in counted.fields if one.field.name == "f0")
    assert len(field.areas) == len(images["f0"].above(0.4)[0]) - 1


def test_types_and_another_threshold_are_taken_along():
    image = draw_smear(seed=4, size=(300, 400), n_cells=10).image
    one = find_cells(TypedParts(), image, "a.png")
    counted = count_images({"a": one}, 0.3, ("typed", ""), 0.1, 0.4)
    assert set(counted.types) >= {"white", "platelet", "unsure"}
    assert not counted.sample.as_measured
    np.testing.assert_array_equal(counted.fields[0].field.image(), image)
    assert "<1>" not in sample_html(replace(counted, warnings=["<1>"]))
