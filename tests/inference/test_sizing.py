"""The size of cells as people give it, and the scale that follows from it."""

from __future__ import annotations

import pytest

from bccd_d2.inference.diameter import DiameterEstimate
from bccd_d2.inference.predictor import PredictOptions
from bccd_d2.inference.sizing import parse_diameter, sized


def test_words_and_numbers_are_read():
    assert parse_diameter("auto") == "auto" and parse_diameter(None) is None
    assert parse_diameter("42") == parse_diameter(42) == 42.0


@pytest.mark.parametrize("wrong", ["big", "0", "-3", "nan", "inf", "5000", "2"])
def test_other_words_are_refused(wrong):
    with pytest.raises(ValueError, match="diameter must be 'auto' or px from 3 to 2000"):
        parse_diameter(wrong)


def test_cells_half_as_large_are_looked_at_twice_as_large():
    options = PredictOptions(score_threshold=0.4, scale=7.0)
    assert sized(options, 100.0, 50.0) == PredictOptions(score_threshold=0.4, scale=2.0)
    assert sized(options, 100.0, DiameterEstimate(200.0, 1.0, 9, "")).scale == 0.5
    assert sized(options, 100.0, DiameterEstimate(None, 0.0, 0, "")).scale == 1.0


def test_a_model_that_does_not_know_its_size_says_what_to_do():
    with pytest.raises(ValueError, match="give scale"):
        sized(PredictOptions(), None, 50.0)
