"""Runs read from the counts string against pycocotools' own unpacking."""

from __future__ import annotations

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from bccd_d2.masks.rle import encode_crop, rle_runs, rle_to_json


def unpacked(rle: dict) -> np.ndarray:
    height, width = rle["size"]
    flat = np.zeros(height * width, np.uint8)
    for start, end in zip(*rle_runs(rle), strict=True):
        flat[start:end] = 1
    return flat.reshape(width, height).T


@pytest.mark.parametrize("seed", range(25))
def test_random_masks_of_all_densities(seed: int) -> None:
    rng = np.random.default_rng(seed)
    size = rng.integers(1, 90, 2)
    mask = (rng.random(size) < rng.random()).astype(np.uint8)
    mask[:, rng.random(size[1]) < 0.3] = seed % 2
    np.testing.assert_array_equal(unpacked(coco_mask.encode(np.asfortranarray(mask))), mask)


def test_long_and_short_runs_in_a_large_image() -> None:
    mask = np.zeros((1200, 1600), np.uint8)
    mask[3:1100, 700:900] = 1
    mask[500, 750::3] = 0
    mask[1199, 1599] = 1
    np.testing.assert_array_equal(unpacked(coco_mask.encode(np.asfortranarray(mask))), mask)


@pytest.mark.parametrize("value", [0, 1])
def test_empty_and_full_masks(value: int) -> None:
    mask = np.full((5, 7), value, np.uint8)
    starts, ends = rle_runs(coco_mask.encode(np.asfortranarray(mask)))
    assert (ends - starts).sum() == 35 * value
    nothing = encode_crop(np.zeros((0, 0), bool), 0, 0, (5, 7))
    assert rle_runs(nothing)[0].size == 0


def test_counts_that_are_no_bytes_or_do_not_fill_the_image_are_refused() -> None:
    rle = encode_crop(np.ones((3, 3), bool), 1, 1, (8, 9))
    with pytest.raises(ValueError, match=r"got str; call .*rle_from_json"):
        rle_runs(rle_to_json(rle))
    with pytest.raises(ValueError, match="broken counts: .* 9x9"):
        rle_runs({"size": [9, 9], "counts": rle["counts"]})
    with pytest.raises(ValueError, match="broken counts"):
        rle_runs({"size": [8, 9], "counts": b""})
