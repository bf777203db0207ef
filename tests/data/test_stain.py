"""Stain normalisation: agreement with torchstain, known colours, spread, hopeless images."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from torchstain.numpy.normalizers import NumpyMacenkoNormalizer, NumpyReinhardNormalizer

from bccd_d2.data.stain import (
    StainStatistics,
    colour_spread,
    fit_reference,
    measure,
    normalise,
    pool,
    sample_pixels,
)

BLUE, PINK = np.array([0.75, 0.55, 0.37]), np.array([0.40, 0.85, 0.35])
METHODS = ("reinhard", "macenko")


def smear(strength=1.0, tint=(0, 0, 0), cells=20, white=(235, 236, 232), seed=0) -> np.ndarray:
    """(240, 320, 3) uint8: discs holding two stains in varying amounts on a light ground."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:240, :320]
    amounts = np.zeros((240, 320, 2))
    for _ in range(cells):
        y, x = rng.uniform(20, 220), rng.uniform(20, 300)
        inside = (rows - y) ** 2 + (columns - x) ** 2 <= 15**2
        amounts[inside] = rng.uniform(0.1, 1, 2)
    amounts *= 1 + 0.1 * rng.standard_normal(amounts.shape)
    density = strength * amounts @ np.stack([BLUE + tint, PINK + tint])
    noise = rng.normal(0, 1, (240, 320, 1))
    return np.clip(np.array(white) * np.exp(-density) + noise, 0, 255).round().astype(np.uint8)


def variety() -> list[np.ndarray]:
    """Images of one scene kind in many strengths, tints and lights."""
    rng = np.random.default_rng(1)
    return [
        smear(rng.uniform(0.6, 1.6), rng.uniform(-0.15, 0.15, 3), white=rng.uniform(190, 250, 3),
              seed=seed)
        for seed in range(8)
    ]  # fmt: skip


def test_reinhard_equals_torchstain_on_the_same_pixels():
    target, image = smear(1.4, (0.1, 0, -0.1), seed=3), smear(seed=4)
    pixels = [np.concatenate(sample_pixels(i))[None] for i in (target, image)]
    theirs = NumpyReinhardNormalizer()
    theirs.fit(pixels[0])
    expected = theirs.normalize(pixels[1]).astype(int)
    source, reference = measure(image, "reinhard"), measure(target, "reinhard")
    ours = normalise(pixels[1], source, reference).astype(int)
    gains = np.array(reference.values[3:]) / source.values[3:]
    assert (gains > 0.5).all() and (gains < 2).all()
    # torchstain cuts the fraction off, and OpenCV's Lab differs in the last digits.
    assert np.abs(ours - expected).max() <= 4 and np.abs(ours - expected).mean() < 1


def test_macenko_equals_torchstain_on_the_same_pixels():
    target, image = smear(1.4, white=(240,) * 3, seed=3), smear(white=(240,) * 3, seed=4)
    theirs = NumpyMacenkoNormalizer()
    cells = [sample_pixels(i)[0][None] for i in (target, image)]
    theirs.fit(cells[0])
    expected, _, _ = theirs.normalize(cells[1], stains=False)
    measured = [measure(i, "macenko") for i in (image, target)]
    # torchstain takes 240 for white; so does ours, once told.
    source, reference = (StainStatistics(m.method, (240.0,) * 3 + m.values[3:]) for m in measured)
    ours = normalise(cells[1], source, reference).astype(int)
    assert np.abs(ours - expected).mean() < 6


def test_macenko_finds_the_stains_that_were_painted():
    found = np.array(measure(smear(cells=40), "macenko").values)
    assert np.allclose(found[:3], (235, 236, 232), atol=2)
    for stain, true in zip(found[3:9].reshape(2, 3), (BLUE, PINK), strict=True):
        angle = np.degrees(np.arccos(stain @ true / np.linalg.norm(true)))
        assert angle < 10


@pytest.mark.parametrize("method", METHODS)
def test_an_image_at_the_reference_stays(method):
    image = smear()
    source = measure(image, method)
    change = np.abs(normalise(image, source, source).astype(int) - image)
    assert change.mean() < 2.5
    assert normalise(image, source, source, 0.0) is image


@pytest.mark.parametrize("method", METHODS)
def test_colours_move_together_but_do_not_become_one(method):
    images = variety()
    measured = [measure(image, method) for image in images]
    reference = pool(measured)
    spreads = [
        colour_spread(normalise(i, m, reference, s) for i, m in zip(images, measured, strict=True))
        for s in (0, 0.5, 1)
    ]
    assert spreads[0] > 5
    assert 0.3 * spreads[0] < spreads[1] < 0.85 * spreads[0]
    assert 0.02 * spreads[0] < spreads[2] < spreads[1]


@pytest.mark.parametrize("method", METHODS)
def test_no_single_picture_decides(method):
    ordinary = [smear(seed=seed) for seed in range(6)]
    odd = smear(1.8, (-0.3, 0.3, 0), white=(120, 200, 120), seed=9)
    without = np.array(pool([measure(i, method) for i in ordinary]).values)
    with_odd = np.array(pool([measure(i, method) for i in [*ordinary, odd]]).values)
    alone = np.array(measure(odd, method).values)
    assert np.abs(with_odd - without).max() < 0.1 * np.abs(alone - without).max()


@pytest.mark.parametrize("method", METHODS)
def test_the_number_of_cells_is_no_colour(method):
    crowded = smear(cells=60)
    sparse = np.hstack([crowded, smear(cells=0, seed=1), smear(cells=0, seed=2)])
    few, many = (np.array(measure(image, method).values) for image in (sparse, crowded))
    assert np.abs(few - many).max() < 1.0
    # Statistics of all pixels, as Reinhard's are often taken, would be far off.
    plain = [cv2.cvtColor(i.astype(np.float32) / 255, cv2.COLOR_RGB2LAB) for i in (sparse, crowded)]
    assert abs(plain[0][..., 0].mean() - plain[1][..., 0].mean()) > 10


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "image",
    [
        np.full((60, 80, 3), 230, np.uint8),
        np.zeros((60, 80, 3), np.uint8),
        np.random.default_rng(0).normal(230, 2, (60, 80, 3)).clip(0, 255).astype(np.uint8),
        np.zeros((0, 80, 3), np.uint8),
    ],
    ids=["blank", "black", "noise", "no pixels"],
)
def test_an_image_without_stain_is_left_alone(method, image):
    source = measure(image, method)
    assert source is None
    assert normalise(image, source, measure(smear(), method)) is image


def test_one_stain_is_too_few_for_macenko():
    grey = cv2.cvtColor(cv2.cvtColor(smear(), cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    assert measure(grey, "macenko") is None
    assert measure(grey, "reinhard") is None  # no spread of colour to scale
    two = np.where(grey < 128, 60, 230).astype(np.uint8)
    assert measure(two, "macenko") is None


@pytest.mark.parametrize("method", METHODS)
def test_a_part_is_treated_like_the_whole(method):
    image = smear(1.3)
    source, reference = measure(image, method), measure(smear(seed=5), method)
    whole = normalise(image, source, reference, 0.5)
    part = normalise(np.ascontiguousarray(image[30:90, 100:180]), source, reference, 0.5)
    assert np.abs(whole[30:90, 100:180].astype(int) - part).max() <= 1


def test_bright_colours_are_clipped_not_wrapped():
    image = smear(0.7, white=(252, 253, 252))
    bright = measure(smear(0.5, white=(255, 255, 255)), "reinhard")
    up = StainStatistics("reinhard", (95.0, *bright.values[1:]))
    assert normalise(image, measure(image, "reinhard"), up)[:5, :5].min() > 200


def test_a_reference_is_fitted_from_files_and_bad_ones_are_refused(tmp_path, caplog):
    images = [*variety()[:3], np.full((60, 80, 3), 230, np.uint8)]
    files = [tmp_path / f"é {n}.png" for n in range(4)]
    for file, image in zip(files, images, strict=True):
        file.write_bytes(cv2.imencode(".png", image[..., ::-1])[1].tobytes())
    assert fit_reference(files, "macenko") == pool([measure(i, "macenko") for i in images])
    assert "1 of 4 images" in caplog.text and "é 3.png" in caplog.text
    with pytest.raises(ValueError, match="blank"):
        fit_reference(files[3:], "reinhard")
    with pytest.raises(FileNotFoundError):
        fit_reference([tmp_path / "none.png"], "reinhard")
    with pytest.raises(ValueError, match="'vahadane'"):
        measure(images[0], "vahadane")
    with pytest.raises(ValueError, match="finite"):
        StainStatistics("reinhard", (1.0, 2.0))
    with pytest.raises(ValueError, match="strength"):
        normalise(images[0], None, measure(images[0], "reinhard"), 1.5)
    assert colour_spread(images[3:]) == 0.0
