"""Checks without truth, on drawn smears whose right answer is known."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from bccd_d2.inference.diameter import DiameterEstimate
from bccd_d2.inference.trust import CHECKS, Trust, assess, measure
from bccd_d2.masks.cells import Cells
from bccd_d2.masks.stain import stain_map

PLACES = [(y, x) for y in range(40, 300, 64) for x in range(40, 300, 64)]
SURE = DiameterEstimate(40.0, 1.0, 25, "")


def smear(places=PLACES, blur: float = 0.0) -> np.ndarray:
    image = np.full((320, 320, 3), (225, 215, 220), np.uint8)
    for y, x in places:
        cv2.circle(image, (x, y), 20, (150, 90, 110), -1)
    return cv2.GaussianBlur(image, (0, 0), blur) if blur else image


def outlines(places=PLACES, score: float = 0.95, radius: int = 20, shift: int = 0) -> Cells:
    labels = np.zeros((320, 320), np.int32)
    for index, (y, x) in enumerate(places, start=1):
        cv2.circle(labels, (x + shift, y), radius, index, -1)
    return Cells.from_label_map(labels, np.full(len(places), score))


def measured(image=None, cells=None, diameter=40.0, estimate=SURE) -> dict[str, float]:
    image = smear() if image is None else image
    cells = outlines() if cells is None else cells
    return measure(stain_map(image), cells, 0.5, diameter, estimate)


def test_a_perfect_answer_is_trusted_without_a_word():
    trust = assess(smear(), outlines(), 0.5, 40.0, SURE)
    assert trust.score > 0.8 and trust.reasons == () and not trust.needs_a_look()
    assert tuple(trust.measures) == CHECKS
    assert all(0 <= value <= 1 for value in trust.measures.values())


def test_no_outline_on_a_stained_image_is_not():
    trust = assess(smear(), Cells.empty((320, 320)), 0.5, 40.0, DiameterEstimate(None, 0, 0, ""))
    assert trust.needs_a_look() and trust.reasons[0] == "no cell was found"
    assert trust.measures["unexplained"] == 1 and trust.measures["unsized"] == 1


def test_half_of_the_cells_missed_is_half_of_the_stain_unexplained():
    half = outlines(PLACES[: len(PLACES) // 2])
    assert measured(cells=half)["unexplained"] == pytest.approx(0.52, abs=0.03)
    assert measured()["unexplained"] < 0.02


def test_outlines_beside_the_cells_hold_no_stain():
    beside = outlines([(y, x) for y, x in PLACES if x < 280], shift=32)
    assert measured(cells=beside)["unstained"] == 1
    assert measured()["unstained"] == 0


def test_cells_of_another_size_than_assumed():
    assert measured(diameter=120)["size"] == pytest.approx(1, abs=0.05)
    assert measured()["size"] < 0.05


def test_candidates_below_the_threshold_are_faint():
    both = outlines()
    both.scores[: len(PLACES) // 2] = 0.3
    assert measured(cells=both)["faint"] == pytest.approx(12 / 25, abs=0.02)


def test_soft_edges_are_blur():
    sharp, soft = measured()["blur"], measured(smear(blur=5.0))["blur"]
    assert soft > 2 * sharp


def test_a_size_given_by_a_person_is_believed():
    assert measured(estimate=None)["unsized"] == 0
    assert measured(estimate=DiameterEstimate(40.0, 0.6, 5, ""))["unsized"] == pytest.approx(0.4)


def test_an_empty_field_has_no_stain():
    stain = stain_map(np.full((100, 200, 3), 220, np.uint8), 0.5)
    assert not stain.stained.any() and stain.contrast == 0 and stain.image.shape == (50, 100, 3)
    assert stain.field.all() and stain.share == 0


def test_a_dark_image_is_never_trusted():
    """Fluorescence or dark field: cells are lighter than what is round them."""
    dark = cv2.convertScaleAbs(255 - smear(), alpha=0.6)
    said = assess(dark, outlines(), 0.5, 40.0, SURE)
    assert said.score <= 0.1 and said.complaint.startswith("the image is dark")


def test_types_of_an_image_without_colour_are_not_trusted():
    grey, cells = np.repeat(smear()[..., :1], 3, axis=2), outlines()
    typed = replace(cells, class_probabilities=np.full((len(cells), 2), 0.5))
    assert assess(grey, cells, 0.5, 40.0, SURE).complaint == ""
    assert assess(smear(), typed, 0.5, 40.0, SURE).complaint == ""
    assert "no colour, by which" in assess(grey, typed, 0.5, 40.0, SURE).complaint


def test_cells_that_the_light_burns_out_are_said():
    burnt = cv2.convertScaleAbs(cv2.addWeighted(smear(), 0.2, smear(), 0.0, 225.0))
    said = assess(burnt, outlines(), 0.5, 40.0, SURE)
    assert said.score <= 0.1 and "the light burns the cells out" in said.complaint
    white = cv2.convertScaleAbs(smear(), alpha=1.2)
    assert white.max() == 255 and assess(white, outlines(), 0.5, 40.0, SURE).complaint == ""


def test_red_and_blue_exchanged_are_said_where_types_are_told():
    image = smear()
    for y, x in PLACES[:3]:
        cv2.circle(image, (x, y), 18, (60, 40, 150), -1)
    typed = replace(outlines(), class_probabilities=np.full((len(PLACES), 2), 0.5))
    swapped = np.ascontiguousarray(image[..., ::-1])
    assert "in another order than RGB" in assess(swapped, typed, 0.5, 40.0, SURE).complaint
    assert assess(image, typed, 0.5, 40.0, SURE).complaint == ""
    assert assess(swapped, outlines(), 0.5, 40.0, SURE).complaint == ""


def test_a_diameter_of_nothing_is_refused():
    with pytest.raises(ValueError, match="diameter must be above 0 px"):
        assess(smear(), outlines(), 0.5, 0.0)


def test_the_threshold_for_a_look_is_the_callers():
    assert Trust(0.6, (), {}).needs_a_look(0.7) and not Trust(0.6, (), {}).needs_a_look()


def test_an_eyepieces_black_surround_and_light_from_one_side_are_no_reason_for_doubt():
    image, cells = smear(), outlines()
    height, width = image.shape[:2]
    light = (image * np.linspace(0.55, 1, width)[None, :, None]).astype(np.uint8)
    framed = cv2.copyMakeBorder(image, *[40] * 4, cv2.BORDER_CONSTANT, value=(5, 5, 5))
    moved = np.pad(cells.to_label_map(), 40)
    in_frame = Cells.from_label_map(moved, cells.scores)
    for shown, answer in ((light, cells), (framed, in_frame)):
        trust = assess(shown, answer, 0.5, 40.0, SURE)
        assert not trust.needs_a_look() and trust.reasons == ()
