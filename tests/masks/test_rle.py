"""RLE, crops and polygons against pycocotools and against each other."""

from __future__ import annotations

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from bccd_d2.masks import rle as convert
from bccd_d2.masks.labels import relabel


def random_label_map(seed: int, size: tuple[int, int] = (37, 53), cells: int = 12) -> np.ndarray:
    """Discs that cut each other, some cut by the border, some in several parts."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[: size[0], : size[1]]
    label_map = np.zeros(size, np.int32)
    for k in range(1, cells + 1):
        y, x, r = rng.uniform(0, size[0]), rng.uniform(0, size[1]), rng.uniform(2, 9)
        label_map[(rows - y) ** 2 + (columns - x) ** 2 < r * r] = k
    return relabel(label_map)


@pytest.mark.parametrize("seed", range(5))
def test_label_map_to_rles_equals_pycocotools(seed: int) -> None:
    label_map = random_label_map(seed)
    rles = convert.label_map_to_rles(label_map)
    assert len(rles) == label_map.max()
    for k, rle in enumerate(rles, start=1):
        assert rle == coco_mask.encode(np.asfortranarray(label_map == k))


@pytest.mark.parametrize("seed", range(5))
def test_encode_crop_equals_pycocotools_and_decode_crop_inverts_it(seed: int) -> None:
    label_map = random_label_map(seed)
    for k in range(1, label_map.max() + 1):
        expected = coco_mask.encode(np.asfortranarray(label_map == k))
        crop, y0, x0 = convert.decode_crop(expected)
        assert convert.encode_crop(crop, y0, x0, label_map.shape) == expected


def test_runs_over_full_columns_are_joined() -> None:
    mask = np.zeros((5, 6), np.uint8)
    mask[:, 1:4] = 1
    rle = convert.encode_crop(np.ones((5, 3), bool), 0, 1, (5, 6))
    assert rle == coco_mask.encode(np.asfortranarray(mask))


def test_areas_of_more_cells_than_a_byte_counts() -> None:
    rles = [convert.encode_crop(np.ones((2, 3), bool), i, 0, (400, 9)) for i in range(300)]
    np.testing.assert_array_equal(convert.rle_areas(rles), np.full(300, 6))
    assert convert.rle_areas([]).shape == (0,)


def test_empty_masks() -> None:
    assert convert.label_map_to_rles(np.zeros((4, 5), np.int32)) == []
    rle = convert.encode_crop(np.zeros((2, 2), bool), 1, 1, (4, 5))
    assert coco_mask.area(rle) == 0
    assert convert.decode_crop(rle)[0].shape == (0, 0)
    assert convert.rle_to_polygons(rle) == []


def test_window_outside_the_image_is_refused() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        convert.encode_crop(np.ones((3, 3), bool), 3, 0, (5, 5))


def test_gaps_in_labels_are_refused() -> None:
    label_map = np.zeros((4, 4), np.int32)
    label_map[0, 0] = 2
    with pytest.raises(ValueError, match="without gaps"):
        convert.label_map_to_rles(label_map)


def test_polygon_of_a_rectangle_lies_on_pixel_corners() -> None:
    rle = convert.encode_crop(np.ones((2, 3), bool), 1, 4, (9, 9))
    (polygon,) = convert.rle_to_polygons(rle)
    corners = {tuple(p) for p in np.reshape(polygon, (-1, 2)).tolist()}
    assert corners == {(4, 1), (7, 1), (7, 3), (4, 3)}


@pytest.mark.parametrize("seed", range(5))
def test_polygons_filled_again_give_the_mask_back(seed: int) -> None:
    shapely = pytest.importorskip("shapely")
    label_map = random_label_map(seed)
    for k, rle in enumerate(convert.label_map_to_rles(label_map), start=1):
        parts = [shapely.Polygon(np.reshape(p, (-1, 2))) for p in convert.rle_to_polygons(rle)]
        rows, columns = np.nonzero(label_map == k)
        centres = shapely.points(columns + 0.5, rows + 0.5)
        covered = np.any([shapely.contains(part, centres) for part in parts], axis=0)
        assert covered.all()
        holes = sum(part.area for part in parts) - rows.size
        assert holes >= 0 and (holes == 0 or holes == int(holes))


def test_json_form_and_uncompressed_form_read_back() -> None:
    rle = convert.encode_crop(np.eye(3, dtype=bool), 0, 0, (4, 4))
    assert convert.rle_from_json(convert.rle_to_json(rle)) == rle
    runs = {"size": [4, 4], "counts": [0, 1, 4, 1, 4, 1, 5]}
    assert convert.rle_from_json(runs) == rle
    with pytest.raises(ValueError, match="RLE"):
        convert.rle_from_json([[0.0, 0.0, 1.0, 1.0]])


def test_a_mask_that_is_decoded_again_is_the_same_and_cannot_be_written_to():
    """Several files ask for each cell's mask: it is remembered, so nobody may change it."""
    rle = convert.encode_crop(np.ones((4, 13), bool), 5, 7, (40, 30))
    crop, y0, x0 = convert.decode_crop(rle)
    assert (y0, x0, crop.shape, crop.all()) == (5, 7, (4, 13), True)
    assert convert.decode_crop(dict(rle))[0] is crop
    with pytest.raises(ValueError, match="read-only"):
        crop[0, 0] = False
