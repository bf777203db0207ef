"""Stain stands out from a background that need not be even, within what shows the slide."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from bccd_d2.masks.stain import from_background, stain_map

SIDE = 300
BARE, RED, NUCLEUS = (225, 220, 222), (190, 130, 140), (70, 40, 120)
MIDDLES = [(x, y) for x in range(30, SIDE, 60) for y in range(30, SIDE, 60)]


def smear(radius: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """An image of red cells, one of them with a nucleus, and where the cells are."""
    image, cells = np.full((SIDE, SIDE, 3), BARE, np.uint8), np.zeros((SIDE, SIDE), np.uint8)
    for middle in MIDDLES:
        cv2.circle(image, middle, radius, RED, -1)
        cv2.circle(cells, middle, radius, 1, -1)
    cv2.circle(image, MIDDLES[12], 16, NUCLEUS, -1)
    return image, cells > 0


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    return (one & other).sum() / (one | other).sum()


def in_a_vignette(image: np.ndarray) -> np.ndarray:
    y, x = np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j]
    return (image * (1 - 0.3 * (x * x + y * y))[..., None]).astype(np.uint8)


def lit_from_one_side(image: np.ndarray) -> np.ndarray:
    return (image * np.linspace(0.5, 1, SIDE)[None, :, None]).astype(np.uint8)


@pytest.mark.parametrize("light", [np.array, in_a_vignette, lit_from_one_side])
def test_red_cells_are_stained_beside_a_nucleus_however_the_field_is_lit(light):
    image, cells = smear()
    seen = stain_map(light(image))
    assert overlap(seen.stained, cells) > 0.9 and seen.field.all()
    assert seen.share == pytest.approx(cells.mean(), abs=0.03)


def test_cells_that_fill_most_of_the_field_are_not_its_background():
    image, cells = smear(radius=29)
    assert cells.mean() > 0.7 and overlap(stain_map(image).stained, cells) > 0.9


def test_the_black_round_an_eyepieces_field_holds_no_stain():
    image, cells = smear()
    circle = cv2.circle(np.zeros((SIDE, SIDE), np.uint8), (150, 150), 140, 1, -1) > 0
    seen = stain_map(np.where(circle[..., None], image, 8).astype(np.uint8))
    assert overlap(seen.field, circle) > 0.9
    assert overlap(seen.stained, cells & seen.field) > 0.85


def test_paper_round_the_panels_of_a_figure_is_no_field():
    image, cells = smear()
    page, truth = np.full((800, 800, 3), 255, np.uint8), np.zeros((800, 800), bool)
    for y, x in ((50, 50), (50, 450), (450, 50), (450, 450)):
        page[y : y + SIDE, x : x + SIDE] = lit_from_one_side(image)
        truth[y : y + SIDE, x : x + SIDE] = cells
    seen = stain_map(page)
    assert seen.field.mean() == pytest.approx(4 * (SIDE / 800) ** 2, abs=0.05)
    assert overlap(seen.stained, truth) > 0.85


def test_cells_in_dark_field_are_no_field_of_view():
    image, _ = smear()
    assert stain_map(255 - image).field.all()


def test_an_image_of_one_colour_has_no_stain():
    for level in (0, 128, 255):
        even = np.full((40, 60, 3), level, np.uint8)
        seen = stain_map(even)
        assert not seen.stained.any() and seen.contrast == 0 and seen.share == 0
        assert from_background(even).max() < 12
