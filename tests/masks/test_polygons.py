"""Polygons to pixels: exact against known areas, pycocotools, and our own outlines."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask

from bccd_d2.export.outlines import rle_to_rings
from bccd_d2.masks.polygons import polygon_to_rle, ring_area
from bccd_d2.masks.rle import encode_crop, rle_areas, rle_to_mask, rle_to_polygons

SIZE = (40, 50)
SQUARE = np.array([[10, 5], [30, 5], [30, 25], [10, 25]])


def test_a_square_on_pixel_corners_is_its_pixels() -> None:
    mask = rle_to_mask(polygon_to_rle([SQUARE], SIZE))
    assert mask[5:25, 10:30].all() and mask.sum() == 400
    assert (rle_to_mask(polygon_to_rle([SQUARE[::-1]], SIZE)) == mask).all()


def test_a_ring_inside_is_a_hole() -> None:
    hole = np.array([[15, 10], [20, 10], [20, 15], [15, 15]])
    mask = rle_to_mask(polygon_to_rle([SQUARE, hole], SIZE))
    assert mask.sum() == 400 - 25 and not mask[10:15, 15:20].any()


@pytest.mark.parametrize("far", [60, 1e6, 1e15])
def test_what_lies_outside_is_cut_off(far: float) -> None:
    ring = np.array([[40, 30], [far, 30], [far, far], [40, far]])
    mask = rle_to_mask(polygon_to_rle([ring], SIZE))
    assert mask[30:, 40:].all() and mask.sum() == 100
    assert rle_areas([polygon_to_rle([SQUARE + 1000], SIZE)]) == [0]
    diamond = np.array([[-far, 20], [25, 20 - far], [far, 20], [25, 20 + far]])
    assert rle_areas([polygon_to_rle([diamond * 10], SIZE)]) == [2000]


def test_no_rings_and_no_extent_give_an_empty_mask() -> None:
    assert rle_areas([polygon_to_rle([], SIZE)]) == [0]
    assert rle_areas([polygon_to_rle([SQUARE[:2]], SIZE)]) == [0]
    assert ring_area(SQUARE) == 400 and ring_area(SQUARE[:2]) == 0


def test_pixel_centres_decide_on_random_outlines() -> None:
    rng = np.random.default_rng(3)
    different = []
    for _ in range(30):
        angles = np.sort(rng.uniform(0, 2 * np.pi, 12))
        radius = rng.uniform(8, 15, 12)
        ring = np.stack([25 + radius * np.cos(angles), 20 + radius * np.sin(angles)], axis=1)
        ours = rle_to_mask(polygon_to_rle([ring], SIZE))
        contour = ring.astype(np.float32)
        inside = [
            cv2.pointPolygonTest(contour, (x + 0.5, y + 0.5), True) for y, x in np.ndindex(SIZE)
        ]
        inside = np.reshape(inside, SIZE)
        clear = np.abs(inside) > 1e-3  # px from the outline
        assert (ours == (inside > 0))[clear].all()
        theirs = coco_mask.decode(coco_mask.frPyObjects([ring.ravel().tolist()], *SIZE))[..., 0]
        different.append((ours != theirs).sum() / theirs.sum())
    assert np.mean(different) < 0.02  # pycocotools rounds to a tenth of a pixel


def test_our_own_outlines_give_the_mask_back() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        mask = np.kron(rng.random((10, 10)) < 0.6, np.ones((4, 5), dtype=bool))
        rle = encode_crop(mask, 0, 0, SIZE)
        parts = [polygon_to_rle(rings, SIZE) for rings in rle_to_rings(rle)]
        assert (rle_to_mask(coco_mask.merge(parts)) == mask).all()
        filled = [polygon_to_rle([np.array(p)], SIZE) for p in rle_to_polygons(rle)]
        assert (rle_to_mask(coco_mask.merge(filled))[mask]).all()
