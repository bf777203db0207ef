"""Fields that should not be counted are told from good ones, on drawn smears."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from bccd_d2.slide.quality import copies, judge_fields, measure_field, thumbnail

REPO = Path(__file__).resolve().parents[2]
DIAMETER = 100.0
SCRIPT = REPO / "benchmarks" / "field_quality.py"
SPEC = importlib.util.spec_from_file_location("field_quality", SCRIPT)
BENCHMARK = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(BENCHMARK)
SAID = {
    "defocus": "out of focus",
    "dense": "too dense",
    "empty": "no cell was found",
    "text": "writing",
    "bar": "scale bar",
    "pen": "ink on the glass",
    "restain": "another stain than the other fields",
}


@pytest.fixture(scope="module")
def good(smears):
    return [measure_field(smear.image, DIAMETER) for smear in smears]


def test_good_fields_are_good(good, smears):
    cells = [int(smear.label_map.max()) for smear in smears]
    assert judge_fields(good, cells) == [[]] * len(good)


@pytest.mark.parametrize("fault", SAID)
def test_a_fault_is_found_and_named(fault, good, smears):
    image = BENCHMARK.FAULTS[fault](smears[0].image, np.random.default_rng(4), DIAMETER)
    bad = measure_field(image, DIAMETER)
    cells = [20] * (len(good) - 1) + [0 if fault == "empty" else 20]
    *others, judged = judge_fields([*good[1:], bad], cells)
    assert SAID[fault] in "; ".join(judged) and others == [[]] * len(others)


def test_another_stain_and_too_few_cells_need_others_to_compare_with(good):
    violet = replace(good[0], stain=(0.2, 0.9, 0.39))
    cells = [30, 30, 30, 30, 30, 2]
    judged = judge_fields([violet, *good[1:]], cells)
    assert "another stain than the other fields: its colour lies" in judged[0][0]
    assert judged[-1] == ["too few cells: 2, where the sample's fields have 30"]
    assert judge_fields([violet, good[1]], [30, 2]) == [[], []]


def test_a_pale_field_of_the_same_stain_is_good_and_another_light_is_not(smears, good):
    density = np.log(226 / (smears[0].image.astype(float) + 1)).clip(0)
    pale = 254 * np.exp(-density / 2)  # half the stain and more light
    one = measure_field(pale.clip(0, 255).astype(np.uint8), DIAMETER)
    assert judge_fields([*good, one], [30] * 7)[-1] == []
    yellow = replace(good[0], background=(88.0, 2.0, 25.0))
    judged = judge_fields([yellow, *good[1:]], [30] * 6)[0]
    assert len(judged) == 1 and "another light" in judged[0]


def test_a_bar_that_the_camera_stamps_on_all_fields_leaves_none_out(good):
    stamped = [replace(one, line=True) for one in good[:4]] + good[4:]
    assert judge_fields(stamped, [30] * 6) == [[]] * 6
    few = [replace(one, line=True) for one in good[:2]] + good[2:]
    assert [bool(why) for why in judge_fields(few, [30] * 6)] == [True] * 2 + [False] * 4


@pytest.mark.parametrize("others", [0, 3, 9])
def test_a_sharp_camera_is_judged_by_its_own_cells_whatever_the_other_fields_are(
    others, good, smears
):
    """As in a folder of two laboratories, most of whose fields are soft."""
    soft = cv2.GaussianBlur(smears[1].image, (0, 0), 1).astype(int)
    sharp = (soft - 64 * (smears[1].label_map > 0)[..., None]).clip(0, 255).astype(np.uint8)
    text = BENCHMARK.text(sharp, np.random.default_rng(6), DIAMETER)
    for image, written in ((sharp, False), (text, True)):
        fields = [*[good[0]] * others, measure_field(image, DIAMETER)]
        judged = judge_fields(fields, [30] * len(fields))[-1]
        assert ("a scale bar or writing in the image" in judged) is written


def test_writing_that_the_camera_stamps_on_all_fields_leaves_none_out(good):
    stamped = [replace(one, steps=1.5) for one in good[:4]] + good[4:]
    assert judge_fields(stamped, [30] * 6) == [[]] * 6
    assert "writing" in judge_fields([stamped[0], *good[1:]], [30] * 6)[0][0]


def test_mostly_clumps(good):
    clumped = replace(good[0], clumps=0.95)
    assert "mostly clumps: 95%" in judge_fields([clumped, *good[1:]], [30] * 6)[0][0]


def test_a_copy_is_told_from_another_field_whatever_its_format_or_focus(smears):
    first, second = (smear.image for smear in smears[:2])
    jpeg = cv2.imdecode(cv2.imencode(".jpg", first, [cv2.IMWRITE_JPEG_QUALITY, 40])[1], 1)
    half = cv2.resize(first, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    blurred = cv2.GaussianBlur(first, (0, 0), 0.04 * DIAMETER)
    pictures = [first, second, jpeg, half, blurred, first[: len(first) * 9 // 10], second]
    assert copies([thumbnail(one) for one in pictures]) == {2: 0, 3: 0, 4: 0, 6: 1}
    assert copies([]) == {} and copies([thumbnail(one.image) for one in smears]) == {}


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 1), (2, 2), (3, 400), (8, 8), (17, 5)])
@pytest.mark.parametrize("diameter", [0.5, 3.0, 50.0, 900.0])
def test_a_field_of_a_few_pixels_is_measured_too(size, diameter):
    for image in (np.zeros((*size, 3), np.uint8), np.full((*size, 3), 255, np.uint8),
                  np.random.default_rng(1).integers(0, 255, (*size, 3), np.uint8)):  # fmt: skip
        assert len(judge_fields([measure_field(image, diameter)], [0])[0])
        thumbnail(image)


def test_an_empty_image_and_a_diameter_of_nothing():
    plain = measure_field(np.full((100, 120, 3), 220, np.uint8), 40.0)
    assert plain.coverage == 0 and plain.blur == 0 and not plain.line
    assert judge_fields([plain], [0]) == [["no cell was found that counts"]]
    assert judge_fields([], []) == []
    with pytest.raises(ValueError, match="diameter must be above 0"):
        measure_field(np.zeros((9, 9, 3), np.uint8), 0)
