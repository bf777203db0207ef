"""What differs between microscopes: strength 0 changes nothing, others do what their name says."""

from __future__ import annotations

import numpy as np
import pytest

from bccd_d2.data.augment.defocus import defocus, disc_kernel
from bccd_d2.data.augment.grain import grain
from bccd_d2.data.augment.illumination import gain_field, uneven_light
from bccd_d2.data.augment.jpeg import recompress
from bccd_d2.data.augment.microscope import MicroscopeOptions, microscope
from bccd_d2.data.augment.resample import resample
from bccd_d2.data.augment.tint import tint, tint_table

AUGMENTATIONS = (uneven_light, tint, defocus, grain, resample, recompress)


def checkerboard(size: int = 64, square: int = 4) -> np.ndarray:
    rows = np.arange(size) // square
    board = ((rows[:, None] + rows) % 2 * 120 + 60).astype(np.uint8)
    return np.repeat(board[..., None], 3, axis=2)


@pytest.mark.parametrize("augmentation", AUGMENTATIONS)
def test_zero_neither_changes_nor_draws(augmentation):
    image, rng = checkerboard(), np.random.default_rng(3)
    assert augmentation(image, rng, 0.0) is image
    assert rng.uniform() == np.random.default_rng(3).uniform()


@pytest.mark.parametrize("augmentation", AUGMENTATIONS)
def test_shape_type_and_the_input_are_kept(augmentation):
    image = checkerboard()[:50]
    before = image.copy()
    for seed in range(8):
        answer = augmentation(image, np.random.default_rng(seed), 0.9)
        assert answer.shape == image.shape and answer.dtype == np.uint8
    assert np.array_equal(image, before)
    empty = np.zeros((0, 5, 3), np.uint8)
    assert augmentation(empty, np.random.default_rng(0), 0.9).shape == (0, 5, 3)


def test_light_is_smooth_bounded_and_uneven():
    for seed in range(20):
        field = gain_field((40, 60), np.random.default_rng(seed), 0.3)
        assert np.abs(field - 1).max() <= 0.3 + 1e-5
        assert np.abs(np.diff(field, axis=0)).max() < 0.05
    flat = np.full((40, 60, 3), 100, np.uint8)
    lit = uneven_light(flat, np.random.default_rng(1), 0.5)
    assert lit.std() > 1 and np.array_equal(lit[..., 0], lit[..., 2])


def test_tint_moves_the_channels_apart_but_keeps_the_order_of_greys():
    table = tint_table(np.random.default_rng(4), 0.4).astype(int)
    assert table.shape == (256, 3) and (np.diff(table, axis=0) >= 0).all()
    grey = np.full((8, 8, 3), 128, np.uint8)
    assert np.ptp(tint(grey, np.random.default_rng(4), 0.4)[0, 0].astype(int)) > 5


def test_tint_never_blows_a_bright_background_out():
    white = np.full((16, 16, 3), 240, np.uint8)
    assert all(tint(white, np.random.default_rng(s), 0.5).max() <= 250 for s in range(40))


def test_a_disc_spreads_a_point_evenly():
    kernel = disc_kernel(2.0)
    assert kernel.sum() == pytest.approx(1) and kernel.shape == (5, 5)
    assert kernel[2, 2] == pytest.approx(kernel[2, 1])  # flat, which a Gaussian is not


@pytest.mark.parametrize("augmentation", [defocus, resample])
def test_blur_and_lost_resolution_lower_the_contrast_of_fine_detail(augmentation):
    image = checkerboard(square=2)
    assert augmentation(image, np.random.default_rng(0), 1.0).std() < 0.8 * image.std()


def test_grain_differs_between_channels_and_leaves_black_alone():
    image = np.full((64, 64, 3), 200, np.uint8)
    image[:32] = 0
    noisy = [grain(image, np.random.default_rng(seed), 20.0) for seed in range(10)]
    changed = [x for x in noisy if not np.array_equal(x, image)]
    assert 2 <= len(changed) <= 8
    assert all((x[:32] == 0).all() and np.any(x[32:, :, 0] != x[32:, :, 1]) for x in changed)


def test_all_off_by_default_and_repeatable():
    image = checkerboard()
    assert microscope(image, np.random.default_rng(0), MicroscopeOptions()) is image
    strong = MicroscopeOptions(0.3, 0.3, 0.5, 10, 0.5, 0.5)
    first, again = (microscope(image, np.random.default_rng(5), strong) for _ in range(2))
    assert np.array_equal(first, again) and not np.array_equal(first, image)


def test_a_strength_out_of_range_is_refused():
    with pytest.raises(ValueError, match=r"jpeg must lie in \[0, 1\], got 2"):
        MicroscopeOptions(jpeg=2)
