"""Central pallor of drawn discs, whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from bccd_d2.export.pallor import background_green, central_pallor
from bccd_d2.export.table import measure
from bccd_d2.masks.cells import Cells

LIGHT = 220
YS, XS = np.mgrid[-50:51, -50:51]
AWAY = np.hypot(YS, XS)
DISC = AWAY <= 40


def drawn(inner: float, lack: float, density: float = 0.6) -> np.ndarray:
    """A disc of radius 40 whose centre, of radius ``inner``, lacks a share of its density."""
    amount = np.where(DISC, density, 0.0) * np.where(inner > AWAY, 1 - lack, 1.0)
    return np.repeat((LIGHT * np.exp(-amount)).round().astype(np.uint8)[..., None], 3, axis=2)


@pytest.mark.parametrize(("inner", "lack"), [(14, 0.5), (20, 0.8), (28, 1.0)])
def test_a_pale_centre_has_the_size_and_contrast_that_was_drawn(inner, lack):
    area, contrast = central_pallor(drawn(inner, lack), DISC, LIGHT)
    assert contrast == pytest.approx(lack, abs=0.04)
    assert area == pytest.approx((inner / 40) ** 2, abs=0.07)  # shells are a tenth of the radius


def test_a_cell_of_one_density_and_a_dark_centre_have_none():
    assert central_pallor(drawn(0, 0), DISC, LIGHT)[0] == 0
    area, contrast = central_pallor(drawn(15, -0.5), DISC, LIGHT)
    assert area == 0 and contrast == pytest.approx(0, abs=1e-9)


def test_more_light_or_a_thicker_stain_change_nothing():
    usual = central_pallor(drawn(20, 0.6), DISC, LIGHT)
    darker = (drawn(20, 0.6) * 0.7).astype(np.uint8)
    assert central_pallor(darker, DISC, 0.7 * LIGHT) == pytest.approx(usual, abs=0.03)
    assert central_pallor(drawn(20, 0.6, 1.2), DISC, LIGHT) == pytest.approx(usual, abs=0.03)


def test_what_cannot_be_measured_is_not():
    tiny = AWAY <= 3
    assert np.isnan(central_pallor(drawn(20, 0.6), tiny, LIGHT)).all()
    assert np.isnan(central_pallor(drawn(20, 0.6), np.zeros_like(DISC), LIGHT)).all()
    assert np.isnan(central_pallor(np.full((101, 101, 3), 230, np.uint8), DISC, LIGHT)).all()


def test_the_background_is_what_is_light_whatever_the_cells():
    image = np.full((200, 300, 3), 40, np.uint8)
    image[:, :90] = (250, 180, 240)
    assert background_green(image) == 180
    assert background_green(np.full((3, 3, 3), 77, np.uint8)) == 77


def test_the_table_has_it_beside_the_colours():
    table = measure(Cells.from_label_map(DISC.astype(np.int32)), drawn(20, 0.8))
    assert table["pallor_contrast"][0] == pytest.approx(0.8, abs=0.05)
    assert table["pallor_area"][0] == pytest.approx(0.25, abs=0.05)
    assert "pallor_area" not in measure(Cells.from_label_map(DISC.astype(np.int32)))
