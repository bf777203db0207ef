"""Augmentations: known answers, bounds, determinism."""

from __future__ import annotations

import time

import cv2
import numpy as np
import pytest

from bccd_d2.data.augment.photometric import (
    LUMA,
    PhotometricOptions,
    add_noise,
    blur,
    colour_matrix,
    jitter_colour,
    photometric,
    turn_and_flip,
)


def picture(size=(64, 80), seed=0) -> np.ndarray:
    """A smooth random colour picture that stays clear of 0 and 255."""
    noise = np.random.default_rng(seed).uniform(80, 170, size=(8, 10, 3)).astype(np.float32)
    return cv2.resize(noise, size[::-1], interpolation=cv2.INTER_CUBIC).round().astype(np.uint8)


def test_neutral_matrix_is_identity():
    assert np.allclose(colour_matrix(1, 1, 1, 0, 123), np.eye(3, 4), atol=1e-6)


def test_matrix_by_hand():
    rgb = np.array([200.0, 100.0, 50.0, 1.0])
    grey = rgb[:3] @ LUMA
    assert np.allclose(colour_matrix(1.2, 1, 1, 0, 0) @ rgb, 1.2 * rgb[:3], atol=1e-3)
    assert np.allclose(colour_matrix(1, 0.5, 1, 0, 90) @ rgb, 45 + rgb[:3] / 2, atol=1e-3)
    assert np.allclose(colour_matrix(1, 1, 0, 0, 0) @ rgb, grey, atol=1e-3)
    # A third of a turn moves red to green, green to blue, blue to red; grey never moves.
    assert np.allclose(colour_matrix(1, 1, 1, 1 / 3, 0) @ rgb, [50, 200, 100], atol=1e-3)
    assert np.allclose(colour_matrix(1, 1, 1, 0.17, 0)[:, :3] @ np.full(3, 77), 77, atol=1e-3)


def test_bounds_are_kept():
    image = picture()
    options = PhotometricOptions(0.1, 0, 0, 0, 0, 0, 0, 0)
    for seed in range(20):
        gain = jitter_colour(image, np.random.default_rng(seed), options).mean() / image.mean()
        assert 0.895 < gain < 1.105
    small_hue = PhotometricOptions(0, 0, 0, 0.02, 0, 0, 0, 0)
    hues = cv2.cvtColor(picture(), cv2.COLOR_RGB2HSV)[..., 0].astype(float)
    for seed in range(20):
        changed = jitter_colour(image, np.random.default_rng(seed), small_hue)
        moved = cv2.cvtColor(changed, cv2.COLOR_RGB2HSV)[..., 0] - hues
        turn = np.abs((moved + 90) % 180 - 90)  # OpenCV: 180 steps a turn
        assert np.median(turn) <= 0.02 * 180 + 1.5


def test_off_changes_nothing_and_input_is_kept():
    image = picture()
    before = image.copy()
    assert np.array_equal(photometric(image, np.random.default_rng(0), PhotometricOptions.off()),
                          image)  # fmt: skip
    strong = PhotometricOptions(0.5, 0.5, 0.5, 0.1, 1, 3, 1, 30)
    changed = photometric(image, np.random.default_rng(0), strong)
    assert changed.shape == image.shape and changed.dtype == np.uint8
    assert not np.array_equal(changed, image)
    assert np.array_equal(image, before)
    nothing = np.zeros((0, 5, 3), dtype=np.uint8)
    assert photometric(nothing, np.random.default_rng(0), strong).shape == (0, 5, 3)


def test_same_seed_same_pixels():
    image, options = picture(), PhotometricOptions(blur_probability=0.5, noise_probability=0.5)
    streams = [np.random.default_rng(7) for _ in range(2)]
    runs = [[photometric(image, rng, options) for _ in range(6)] for rng in streams]
    assert all(np.array_equal(a, b) for a, b in zip(*runs, strict=True))
    assert not all(np.array_equal(runs[0][0], other) for other in runs[0][1:])


def test_blur_and_noise_do_what_they_say():
    rng = np.random.default_rng(0)
    sharp = rng.integers(0, 256, size=(64, 64, 3), dtype=np.uint8)
    soft = blur(sharp, rng, PhotometricOptions(blur_probability=1, blur_sigma=3))
    assert soft.std() < 0.9 * sharp.std()
    flat = np.full((200, 200, 3), 128, dtype=np.uint8)
    stds = []
    for _ in range(30):
        noisy = add_noise(flat, rng, PhotometricOptions(noise_probability=1, noise_std=6))
        assert np.ptp(noisy, axis=2).max() == 0
        assert abs(noisy.mean() - 128) < 0.3
        stds.append(noisy.std())
    assert max(stds) < 6.3 and 1.5 < np.mean(stds) < 4.5
    never = PhotometricOptions(blur_probability=0, noise_probability=0)
    assert all(np.array_equal(f(sharp, rng, never), sharp) for f in (blur, add_noise))


def test_noise_is_clipped_not_wrapped():
    white = np.full((50, 50, 3), 254, dtype=np.uint8)
    rng = np.random.default_rng(0)
    noisy = add_noise(white, rng, PhotometricOptions(noise_probability=1, noise_std=60))
    assert noisy.min() > 20


def test_the_eight_symmetries():
    array = np.arange(6).reshape(2, 3)
    assert turn_and_flip(array, 1, False).tolist() == [[2, 5], [1, 4], [0, 3]]
    assert turn_and_flip(array, 0, True).tolist() == [[2, 1, 0], [5, 4, 3]]
    results = {turn_and_flip(array, k, m).tobytes() + bytes([k % 2])
               for k in range(4) for m in (False, True)}  # fmt: skip
    assert len(results) == 8
    assert np.array_equal(turn_and_flip(array, 5, False), turn_and_flip(array, 1, False))
    image = np.random.default_rng(0).integers(0, 255, (4, 6, 3))
    turned = turn_and_flip(image, 1, True)
    assert turned.shape == (6, 4, 3) and turned.flags.c_contiguous
    assert np.array_equal(turn_and_flip(turned, 1, True), image)


@pytest.mark.parametrize(
    "values", [{"hue": 0.6}, {"brightness": -0.1}, {"blur_probability": 1.5}, {"noise_std": -1}]
)
def test_impossible_strengths_are_refused(values):
    with pytest.raises(ValueError, match=next(iter(values))):
        PhotometricOptions(**values)


def test_fast_enough_for_training():
    image = picture((320, 320))
    options = PhotometricOptions(blur_probability=1, noise_probability=1)
    rng = np.random.default_rng(0)
    times = []
    for _ in range(20):
        start = time.perf_counter()
        photometric(image, rng, options)
        times.append(time.perf_counter() - start)
    # 3 ms with blur and noise always on; ten times that only fails on a real regression.
    assert min(times) < 0.03
