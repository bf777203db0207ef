"""The baseline without learning, on discs whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from bccd_d2.masks.otsu import (
    OtsuOptions,
    foreground,
    foreground_logit,
    segment,
    split_touching,
    typicality,
)

from .discs import disc

OPTIONS = OtsuOptions(blur=0.0, seed_distance=8, seed_blur=1.0, min_area=50, cell_diameter=40)


def smear(mask):
    image = np.full((*mask.shape, 3), (240, 230, 235), dtype=np.uint8)
    image[mask] = (190, 110, 120)
    return image


def test_two_overlapping_discs_are_cut_in_the_middle():
    left, right = disc((90, 120), 45, 40, 20), disc((90, 120), 45, 74, 20)
    found = segment(smear(left | right), OPTIONS)
    assert found.dtype == np.int32 and found.max() == 2
    assert np.array_equal(found > 0, left | right)
    assert found[45, 30] != found[45, 84]
    # The cut is the line of equal distance, x = 57.
    assert (found[:, :56][left[:, :56]] == found[45, 40]).all()
    assert (found[:, 59:][right[:, 59:]] == found[45, 74]).all()


def test_a_hole_is_filled_and_a_speck_dropped():
    ring = disc((80, 80), 40, 40, 20) & ~disc((80, 80), 40, 40, 8)
    speck = disc((80, 80), 5, 5, 3)
    assert np.array_equal(
        foreground(smear(ring | speck), OPTIONS)[40], disc((80, 80), 40, 40, 20)[40]
    )
    found = segment(smear(ring | speck), OPTIONS)
    assert found.max() == 1 and found[40, 40] == 1 and found[5, 5] == 0


def test_a_cell_cut_by_the_edge_is_kept():
    found = segment(smear(disc((80, 80), 40, 0, 20)), OPTIONS)
    assert found.max() == 1 and found[40, 0] == 1


def test_the_channel_decides():
    mask = disc((80, 80), 40, 40, 20)
    image = np.full((80, 80, 3), 200, dtype=np.uint8)
    image[mask, 2] = 60
    assert segment(image, OtsuOptions(channel="blue", blur=0)).max() == 1
    assert segment(image, OtsuOptions(channel="green", blur=0)).max() == 0


@pytest.mark.parametrize("value", [0, 130, 255])
def test_a_blank_image_has_no_cells(value):
    blank = np.full((40, 50, 3), value, dtype=np.uint8)
    assert segment(blank).shape == (40, 50) and segment(blank).max() == 0
    assert split_touching(np.zeros((40, 50), bool)).max() == 0


def test_typicality_by_hand():
    label_map = np.zeros((100, 200), np.int32)
    label_map[10:20, 10:20] = 1  # typical: 100 px
    label_map[40:60, 10:20] = 2  # twice
    label_map[70:75, 10:20] = 3  # half
    label_map[0:5, 50:60] = 4  # half, at the edge
    label_map[0:40, 100:110] = 5  # four times, at the edge
    diameter = 2 * np.sqrt(100 / np.pi)
    assert typicality(label_map, diameter) == pytest.approx([1, 0.5, 0.5, 0.9, 0.25], abs=1e-5)
    assert typicality(np.zeros((5, 5), np.int32), diameter).shape == (0,)


@pytest.mark.parametrize(
    ("wrong", "match"),
    [({"channel": "cyan"}, "channel"), ({"blur": -1}, "blur"), ({"seed_distance": 0}, "seed_dist")],
)
def test_options_out_of_range_are_refused(wrong, match):
    with pytest.raises(ValueError, match=match):
        OtsuOptions(**wrong)
    with pytest.raises(ValueError, match="uint8 RGB"):
        segment(np.zeros((5, 5)))


def test_the_logit_crosses_zero_where_the_foreground_ends() -> None:
    image = np.full((40, 50, 3), 220, np.uint8)
    image[10:30, 10:40] = 100
    options = OtsuOptions(blur=0)
    logit = foreground_logit(image, options, sharpness=4.0)
    assert logit.dtype == np.float32 and ((logit >= 0) == foreground(image, options)).all()
    # Otsu's threshold is the dark level itself here, so the cell is 0 and the rest -2 x 4.
    assert logit.max() - logit.min() == pytest.approx(8.0)
    flat = np.full((5, 5, 3), 7, np.uint8)
    assert (foreground_logit(flat) == -4).all()
    with pytest.raises(ValueError, match="uint8"):
        foreground_logit(image[..., 0])
