"""Labelling against hand-drawn masks and an independent labelling; clumps of discs."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from bccd_d2.masks.clumps import solidities, split_clumps, suspect_clumps
from bccd_d2.masks.components import label_cells


def discs(size: tuple[int, int], *circles: tuple[float, float, float]) -> np.ndarray:
    """(H, W) bool union of discs given as row, column, radius."""
    rows, columns = np.ogrid[: size[0], : size[1]]
    mask = np.zeros(size, dtype=bool)
    for row, column, radius in circles:
        mask |= (rows - row) ** 2 + (columns - column) ** 2 <= radius**2
    return mask


def ring(size: int, outer: float, inner: float) -> np.ndarray:
    """A disc with a round hole in the middle of a square image."""
    middle = size / 2
    return discs((size, size), (middle, middle, outer)) & ~discs(
        (size, size), (middle, middle, inner)
    )


@pytest.mark.parametrize("connectivity", [4, 8])
def test_equals_scipy_on_random_masks(connectivity: int) -> None:
    mask = ndimage.gaussian_filter(np.random.default_rng(1).random((120, 170)), 1.5) > 0.5
    structure = np.ones((3, 3)) if connectivity == 8 else None
    expected, count = ndimage.label(mask, structure)
    areas = np.bincount(expected.ravel())[1:]
    labelled = label_cells(mask, connectivity=connectivity, min_area=16)
    assert labelled.label_map.max() == (areas >= 16).sum() < count
    assert labelled.specks == (areas < 16).sum()
    assert labelled.speck_pixels == areas[areas < 16].sum()
    kept = np.isin(expected, np.flatnonzero(areas >= 16) + 1)
    np.testing.assert_array_equal(labelled.label_map > 0, kept)
    pairs = np.unique(np.stack([expected[kept], labelled.label_map[kept]]), axis=1)
    assert pairs.shape[1] == labelled.label_map.max()


def test_diagonal_neighbours_join_with_8_and_not_with_4() -> None:
    mask = np.zeros((40, 40), dtype=bool)
    mask[5:15, 5:15] = mask[15:25, 15:25] = True
    assert label_cells(mask).label_map.max() == 1
    assert label_cells(mask, connectivity=4).label_map.max() == 2


def test_cut_of_one_pixel_separates() -> None:
    mask = np.ones((30, 41), dtype=bool)
    mask[:, 20] = False
    assert label_cells(mask).label_map.max() == 2


@pytest.mark.parametrize(("pixels", "cells"), [(15, 0), (16, 1)])
def test_min_area_16_means_more_than_15_pixels(pixels: int, cells: int) -> None:
    mask = np.zeros((9, 30), dtype=bool)
    mask[4, 2 : 2 + pixels] = True
    labelled = label_cells(mask)
    assert labelled.label_map.max() == cells
    assert labelled.specks == 1 - cells


def test_mask_without_foreground_has_no_cells() -> None:
    labelled = label_cells(np.zeros((20, 30), dtype=bool), fill_holes=True, split_clumps=True)
    assert labelled.label_map.shape == (20, 30)
    assert labelled.label_map.max() == 0
    assert labelled.rules == []


def test_full_mask_is_one_cell() -> None:
    assert (label_cells(np.ones((20, 30), dtype=bool)).label_map == 1).all()


def test_holes_are_counted_and_filled_on_request() -> None:
    mask = ring(80, 30, 10)
    plain, filled = label_cells(mask), label_cells(mask, fill_holes=True)
    assert plain.holes == filled.holes == 1
    assert plain.hole_pixels == filled.hole_pixels == discs((80, 80), (40, 40, 10)).sum()
    np.testing.assert_array_equal(plain.label_map > 0, mask)
    np.testing.assert_array_equal(filled.label_map > 0, discs((80, 80), (40, 40, 30)))


def test_filling_keeps_a_cell_that_lies_in_a_hole() -> None:
    mask = ring(120, 50, 30) | discs((120, 120), (60, 60, 12))
    filled = label_cells(mask, fill_holes=True)
    assert filled.label_map.max() == 2
    assert filled.label_map[60, 60] != filled.label_map[60, 60 - 25] == filled.label_map[60, 20]


def test_gap_at_the_image_edge_is_no_hole() -> None:
    mask = ring(80, 30, 10)[:40]
    assert label_cells(mask).holes == 0


def test_diagonal_line_encloses_under_8_connectivity() -> None:
    rows, columns = np.mgrid[:41, :41]
    diamond = np.abs(rows - 20) + np.abs(columns - 20) == 15
    assert label_cells(diamond).holes == 1
    assert label_cells(diamond, connectivity=4, min_area=1).holes == 0


def test_hole_of_a_speck_is_not_counted() -> None:
    mask = np.zeros((20, 20), dtype=bool)
    mask[5:8, 5:8] = True
    mask[6, 6] = False
    assert label_cells(mask).holes == 0


@pytest.mark.parametrize(
    ("mask", "options", "message"),
    [
        (np.zeros((4, 4), np.uint8), {}, "mask must be"),
        (np.zeros((4, 4, 3), bool), {}, "mask must be"),
        (np.zeros((4, 4), bool), {"connectivity": 6}, "connectivity must be 4 or 8"),
        (np.zeros((4, 4), bool), {"min_area": 0}, "min_area must be at least 1"),
    ],
)
def test_refuses(mask: np.ndarray, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        label_cells(mask, **options)


def test_solidity_of_known_shapes() -> None:
    label_map = np.zeros((60, 120), dtype=np.int32)
    label_map[5:25, 5:45] = 1  # rectangle: convex
    label_map[30:50, 5:25] = 2  # an L of three squares of 10: 300 of a hull of 350
    label_map[30:40, 15:25] = 0
    label_map[discs((60, 120), (30, 80, 20))] = 4  # 3 is absent
    values = solidities(label_map)
    assert values[0] == 1.0
    assert values[1] == pytest.approx(300 / 350)
    assert values[2] == 0.0
    assert values[3] > 0.95


def test_suspects_are_dented_and_large_or_huge() -> None:
    areas = np.array([100, 100, 100, 100, 150, 250])
    solid = np.array([0.95, 0.95, 0.95, 0.8, 0.8, 0.97])
    assert suspect_clumps(areas, solid).tolist() == [False, False, False, False, True, True]
    assert suspect_clumps(np.zeros(0), np.zeros(0)).shape == (0,)


SINGLES = [(60, 60, 40), (60, 180, 42), (60, 300, 38), (190, 60, 41)]


def test_two_and_three_merged_discs_are_cut_at_their_necks() -> None:
    pair = [(190, 180, 40), (190, 248, 40)]
    row = [(320, 60, 38), (320, 124, 38), (320, 188, 38)]
    mask = discs((400, 400), *SINGLES, *pair, *row)
    assert label_cells(mask).label_map.max() == len(SINGLES) + 2
    labelled = label_cells(mask, split_clumps=True)
    assert labelled.label_map.max() == len(SINGLES) + 5
    assert sorted(labelled.rules) == ["component"] * 4 + ["split"] * 5
    centres = [labelled.label_map[row, column] for row, column, _ in SINGLES + pair + row]
    for centre, is_split in zip(centres, [False] * 4 + [True] * 5, strict=True):
        assert labelled.is_split[centre - 1] == is_split
    assert len(set(centres)) == 9
    np.testing.assert_array_equal(labelled.label_map > 0, mask)
    edge = labelled.label_map[190, 180:249]
    assert abs(int(np.argmax(edge != edge[0])) - 34) <= 2


def test_ordinary_and_odd_single_cells_stay_whole() -> None:
    large = discs((500, 500), *SINGLES, (350, 120, 75))
    rows, columns = np.ogrid[:500, :500]
    large |= ((rows - 350) / 28) ** 2 + ((columns - 380) / 70) ** 2 <= 1  # elongated
    large |= discs((500, 500), (200, 380, 60)) & ~discs((500, 500), (200, 420, 45))  # crescent
    plain, split = label_cells(large), label_cells(large, split_clumps=True)
    np.testing.assert_array_equal(plain.label_map, split.label_map)
    assert not split.is_split.any()


def test_holes_do_not_lead_to_cuts() -> None:
    mask = discs((400, 400), *SINGLES) | np.pad(ring(200, 80, 30), ((200, 0), (200, 0)))
    assert not label_cells(mask, split_clumps=True).is_split.any()


def test_split_of_no_cells() -> None:
    label_map, is_split = split_clumps(np.zeros((10, 10), dtype=np.int32))
    assert label_map.max() == 0
    assert is_split.shape == (0,)
