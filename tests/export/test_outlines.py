"""Rings from masks: exact, valid, the same area and the same pixels back."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage
from skimage.draw import polygon2mask

from bccd_d2.export.outlines import rle_to_rings
from bccd_d2.masks.rle import encode_crop

shapely = pytest.importorskip("shapely", reason="shapely comes with the extra [dev]")


def to_shape(polygons: list) -> shapely.MultiPolygon:
    return shapely.MultiPolygon([(rings[0], rings[1:]) for rings in polygons])


def outline(mask: np.ndarray) -> shapely.MultiPolygon:
    return to_shape(rle_to_rings(encode_crop(mask, 0, 0, mask.shape)))


def inside(shape: shapely.MultiPolygon, size: tuple[int, int]) -> np.ndarray:
    y, x = np.mgrid[: size[0], : size[1]] + 0.5
    return shapely.contains_xy(shape, x, y)


def test_a_square_is_four_corners_in_order():
    mask = np.zeros((5, 6), bool)
    mask[1:3, 2:5] = True
    polygons = rle_to_rings(encode_crop(mask, 0, 0, mask.shape))
    assert polygons == [[[[2, 1], [5, 1], [5, 3], [2, 3], [2, 1]]]]


def test_a_hole_runs_the_other_way():
    mask = np.ones((3, 3), bool)
    mask[1, 1] = False
    [[exterior, hole]] = rle_to_rings(encode_crop(mask, 0, 0, mask.shape))
    assert shapely.LinearRing(exterior).is_ccw
    assert not shapely.LinearRing(hole).is_ccw
    assert shapely.Polygon(hole).area == 1


def test_diagonal_pixels_are_parts_that_touch():
    shape = outline(np.eye(3, dtype=bool))
    assert shape.is_valid
    assert len(shape.geoms) == 3
    assert shape.area == 3


def test_a_hole_that_meets_the_outside_at_a_corner_stays_a_hole():
    mask = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 0]], bool)
    shape = outline(mask)
    assert shape.is_valid
    assert len(shape.geoms) == 1
    assert len(shape.geoms[0].interiors) == 1


def test_an_island_in_a_hole_is_a_part():
    mask = np.ones((5, 5), bool)
    mask[[1, 2, 2, 3], [2, 1, 3, 2]] = False
    shape = outline(mask)
    assert shape.is_valid
    assert sorted(part.area for part in shape.geoms) == [1, 20]


def test_an_empty_mask_has_no_polygon():
    assert rle_to_rings(encode_crop(np.zeros((0, 0), bool), 0, 0, (4, 5))) == []


@pytest.mark.parametrize("density", [0.2, 0.5, 0.7, 0.95])
@pytest.mark.parametrize("seed", range(8))
def test_noise_gives_valid_polygons_of_its_pixels(seed, density):
    mask = np.random.default_rng(seed).random((13, 17)) < density
    shape = outline(mask)
    assert shape.is_valid, shapely.is_valid_reason(shape)
    assert shape.area == mask.sum()
    assert len(shape.geoms) == ndimage.label(mask)[1]
    np.testing.assert_array_equal(inside(shape, mask.shape), mask)


def test_a_filled_outline_is_the_mask_for_another_rasteriser():
    y, x = np.mgrid[-12:13, -12:13]
    mask = np.hypot(y, x) <= 10
    [[exterior]] = rle_to_rings(encode_crop(mask, 0, 0, mask.shape))
    corners = np.array(exterior)[:, ::-1] - 0.5  # row, column, from pixel centres
    np.testing.assert_array_equal(polygon2mask(mask.shape, corners), mask)
