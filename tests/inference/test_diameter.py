"""The size of cells from a stand-in for a model that finds drawn discs of about its own size."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from bccd_d2.inference.diameter import (
    DiameterEstimate,
    DiameterOptions,
    busiest_windows,
    common_diameter,
    estimate_diameter,
    vote,
)
from bccd_d2.masks.cells import Cells


class Discs:
    """Outlines dark discs of .4 to 2.2 times 100 px at zoom 1, sees texture else."""

    looks_at_whole = False

    def __call__(self, images, *, zoom, whole=None):
        return [self._cells(image, 100 / zoom) for image in images]

    def _cells(self, image: np.ndarray, size: float) -> Cells:
        dark = (image[..., 0] < 128).astype(np.uint8)
        count, pieces, stats, _ = cv2.connectedComponentsWithStats(dark)
        diameters = 2 * np.sqrt(stats[1:, cv2.CC_STAT_AREA] / np.pi)
        seen = (diameters > 0.4 * size) & (diameters < 2.2 * size)
        lookup = np.concatenate(([0], np.cumsum(seen) * seen)).astype(np.int32)
        return Cells.from_label_map(lookup[pieces], np.full(int(seen.sum()), 0.95))


def smear(diameter: float, count: int = 30, size: int = 640, seed: int = 0) -> np.ndarray:
    """(size, size, 3) uint8 light image with dark discs that do not touch."""
    rng, image = np.random.default_rng(seed), np.full((size, size, 3), 220, np.uint8)
    placed: list[tuple[int, int]] = []
    for _ in range(4000):
        x, y = rng.integers(int(diameter * 0.6), size - int(diameter * 0.6), 2)
        if all(np.hypot(x - u, y - v) > 1.2 * diameter for u, v in placed):
            placed.append((x, y))
            cv2.circle(image, (int(x), int(y)), round(diameter / 2), (60, 60, 60), -1)
        if len(placed) == count:
            break
    return image


@pytest.mark.parametrize("diameter", [15, 24, 40, 75, 100, 160, 250])
def test_discs_of_any_size_are_measured_within_a_tenth(diameter):
    estimate = estimate_diameter(Discs(), smear(diameter), 100.0)
    assert estimate.px == pytest.approx(diameter, rel=0.1)
    assert estimate.agreement > 0.8 and estimate.cells >= 1


def test_one_cell_is_enough_and_none_is_said():
    assert estimate_diameter(Discs(), smear(90, count=1), 100.0).px == pytest.approx(90, rel=0.1)
    nothing = estimate_diameter(Discs(), np.full((300, 300, 3), 220, np.uint8), 100.0)
    assert nothing == DiameterEstimate(None, 0.0, 0, "no cell was found at any size")


def test_a_model_trained_at_another_size_gives_the_same_answer():
    class Half(Discs):
        def _cells(self, image, size):
            return super()._cells(image, size / 2)

    assert estimate_diameter(Half(), smear(75), 50.0).px == pytest.approx(75, rel=0.1)


def test_one_large_white_cell_does_not_outvote_a_few_red_ones():
    image = np.full((360, 360, 3), 220, np.uint8)
    cv2.circle(image, (180, 180), 70, (60, 60, 60), -1)
    for x, y in ((45, 45), (310, 45), (45, 310)):
        cv2.circle(image, (x, y), 30, (60, 60, 60), -1)
    assert estimate_diameter(Discs(), image, 100.0).px == pytest.approx(60, rel=0.1)


def test_a_few_specks_do_not_stand_for_cells_that_fit_badly():
    """Where nothing convinces, what fits badly is asked too: cells in heaps, out of focus."""

    class Doubtful(Discs):
        def _cells(self, image, size):
            cells = super()._cells(image, size)
            return replace(cells, scores=np.where(cells.areas < 400, 0.65, 0.5))

    image = smear(100, count=12)
    for x in (15, 40, 65):
        cv2.circle(image, (x, 12), 7, (60, 60, 60), -1)
    assert estimate_diameter(Doubtful(), image, 100.0).px == pytest.approx(100, rel=0.1)


def test_outlines_of_noise_are_no_evidence():
    """Three cells, all cut by the edge, and a background in which one look sees small cells."""

    class Imaginative(Discs):
        def _cells(self, image, size):
            return super()._cells(np.where(image < 219, 60, 220).astype(np.uint8), size)

    image = np.full((640, 480, 3), 220, np.uint8)
    for x, y in np.random.default_rng(0).integers(30, 420, (60, 2)):
        cv2.circle(image, (int(x), int(y) + 200), 8, (217, 217, 217), -1)
    for x in (40, 200, 360):
        cv2.circle(image, (x, 10), 50, (60, 60, 60), -1)
    assert estimate_diameter(Imaginative(), image, 100.0).px is None
    cv2.circle(image, (340, 340), 38, (190, 190, 200), -1)
    assert estimate_diameter(Imaginative(), image, 100.0).px == pytest.approx(76, rel=0.1)


def test_the_densest_size_wins_over_heavier_strays():
    sizes = np.array([50, 52, 49, 51, 200.0])
    estimate = vote(sizes, np.array([1, 1, 1, 1, 2.0]))
    assert estimate.px == pytest.approx(50.5, abs=0.6)
    assert estimate.agreement == pytest.approx(4 / 6) and estimate.cells == 4


def test_outlines_of_all_sizes_give_no_size():
    sizes = np.geomspace(10, 400, 12)
    estimate = vote(sizes, np.ones(12))
    assert estimate.px is None and "outlines of all sizes" in estimate.how


def test_a_folder_has_the_median_of_the_images_that_show_it():
    known = [DiameterEstimate(px, 0.9, 10, "") for px in (40, 42, 90)]
    common = common_diameter([*known, DiameterEstimate(None, 0.0, 0, "")])
    assert common.px == 42 and common.agreement == pytest.approx(2 / 3) and common.cells == 30
    assert "3 of 4 images" in common.how
    assert common_diameter([DiameterEstimate(None, 0.0, 0, "")]).px is None
    with pytest.raises(ValueError, match="at least one"):
        common_diameter([])


def test_windows_lie_where_the_detail_is_and_apart():
    image = np.full((400, 600, 3), 200, np.uint8)
    image[10:60:4, 500:560] = 0
    image[300:340:4, 20:60] = 0
    (y0, x0), (y1, x1) = busiest_windows(image, 100, 2)
    assert y0 <= 60 and x0 >= 400 and y1 >= 200 and x1 <= 60
    assert busiest_windows(image, 700, 2) == [(0, 0)]
    assert all(y + 100 <= 400 and x + 100 <= 600 for y, x in busiest_windows(image, 100, 9))


@pytest.mark.parametrize("wrong", [{"looks": ()}, {"looks": (0.0,)}, {"side": 1}, {"windows": 0}])
def test_options_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match="must be"):
        DiameterOptions(**wrong)


def test_a_model_without_a_size_is_refused():
    with pytest.raises(ValueError, match="model_diameter must be above 0 px, got 0"):
        estimate_diameter(Discs(), smear(40), 0)
