"""Which value becomes white, and what is said where images differ."""

from __future__ import annotations

import numpy as np
import pytest

from bccd_d2.io.value_range import (
    ValueRange,
    find_range,
    measure_range,
    mixed_ranges,
    summarise_ranges,
)


@pytest.mark.parametrize(
    ("dtype", "high", "options", "top", "source"),
    [
        ("uint8", 9, {}, 255, "type"),
        ("bool", 1, {}, 255, "type"),
        ("uint8", 9, {"given": 99}, 255, "type"),
        ("uint16", 255, {}, 255, "largest value"),
        ("uint16", 256, {}, 1023, "largest value"),
        ("uint16", 4095, {}, 4095, "largest value"),
        ("uint16", 900, {"declared_bits": 12}, 4095, "declared"),
        ("uint16", 5000, {"declared_bits": 12}, 16383, "largest value"),
        ("uint16", 900, {"given": 2000}, 2000, "given"),
        ("int16", 32767, {}, 32767, "largest value"),
        ("uint32", 65535, {}, 65535, "largest value"),
        ("float32", 0.5, {}, 1, "largest value"),
        ("float32", 16, {}, 255, "largest value"),
        ("float64", 60000, {"given": 65535}, 65535, "given"),
    ],
)
def test_what_becomes_white(dtype, high, options, top, source):
    assert find_range(np.dtype(dtype), 0, high, **options) == ValueRange(dtype, top, source)


@pytest.mark.parametrize("high", [1.001, 15.9])
def test_floats_between_two_scales_are_refused(high):
    with pytest.raises(ValueError, match=f"0 to {high:g}.*--max-value"):
        find_range(np.dtype("float32"), 0, high)


def test_a_remedy_that_is_named_works():
    pixels = np.array([0, 3000.0], np.float32)
    with pytest.raises(ValueError, match="--max-value 4095"):
        measure_range(pixels)
    assert find_range(pixels.dtype, 0, 3000, given=4095).top == 4095


def test_ranges_that_differ_within_a_type_are_said():
    ranges = [ValueRange("uint16", top).as_json() for top in (4095, 4095, 1023)]
    counted = summarise_ranges([*ranges, ValueRange().as_json()])
    assert counted == {"uint16 0 to 4095": 2, "uint16 0 to 1023": 1, "uint8 0 to 255": 1}
    assert "2 of uint16 0 to 4095, 1 of uint16 0 to 1023" in mixed_ranges(counted)
    assert mixed_ranges(summarise_ranges([ranges[0], ValueRange().as_json()])) == ""
