"""Tiles fill the image; cells cut into tiles and stitched are the cells of the whole."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from bccd_d2.inference.stitch import stitch
from bccd_d2.inference.tiling import plan_tiles
from bccd_d2.masks.cells import Cells

SIZE = (500, 640)


def label_map_of_discs(seed: int, count: int = 400) -> np.ndarray:
    """Discs of 4 to 12 px that do not overlap, many on the seams and on the border."""
    rng = np.random.default_rng(seed)
    label_map = np.zeros(SIZE, np.int32)
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    number = 0
    for _ in range(count):
        y, x, radius = rng.uniform(0, SIZE[0]), rng.uniform(0, SIZE[1]), rng.uniform(4, 12)
        disc = (rows - y) ** 2 + (columns - x) ** 2 < radius**2
        if not label_map[disc].any():
            number += 1
            label_map[disc] = number
    return label_map


def answers(label_map, tiles, wobble=0, seed=0):
    """What a perfect model says of each window; ``wobble`` shifts each window's answer."""
    rng = np.random.default_rng(seed)
    for tile in tiles:
        window = tile.cut(label_map)
        if wobble:
            window = ndimage.shift(window, rng.integers(-wobble, wobble + 1, 2), order=0)
        yield tile, Cells.from_label_map(window)


def as_set(cells: Cells) -> set:
    return {rle["counts"] for rle in cells.rles}


@pytest.mark.parametrize("size", [(1, 1), (128, 129), (500, 640), (97, 1000), (255, 257)])
@pytest.mark.parametrize("overlap", [0, 31, 64])
def test_cores_fill_the_image_once_and_lie_in_their_windows(size, overlap):
    covered = np.zeros(size, int)
    for tile in plan_tiles(size, 128, overlap):
        x0, y0, x1, y1 = tile.core
        covered[y0:y1, x0:x1] += 1
        left, top, right, bottom = tile.window
        assert right - left == min(128, size[1]) and bottom - top == min(128, size[0])
        for inner, outer, end in ((x0, left, 0), (y0, top, 0)):
            assert outer == end or inner - outer >= overlap // 2
        for inner, outer, end in ((x1, right, size[1]), (y1, bottom, size[0])):
            assert outer == end or outer - inner >= overlap // 2
    assert (covered == 1).all()


def test_bad_tiles_are_refused():
    with pytest.raises(ValueError, match="overlap must be"):
        plan_tiles((100, 100), 64, 33)
    with pytest.raises(ValueError, match="image_size"):
        plan_tiles((0, 100))


@pytest.mark.parametrize("seed", range(4))
def test_stitched_equals_whole(seed):
    label_map = label_map_of_discs(seed)
    tiles = plan_tiles(SIZE, 160, 48)
    stitched = stitch(answers(label_map, tiles), SIZE)
    assert len(tiles) > 12
    assert len(stitched) == label_map.max()
    assert as_set(stitched) == as_set(Cells.from_label_map(label_map))


def test_a_cell_that_tiles_draw_differently_is_one_cell():
    label_map = np.zeros(SIZE, np.int32)
    centres = [(y, x) for y in range(20, 490, 31) for x in range(20, 630, 31)]
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    for number, (y, x) in enumerate(centres, start=1):
        label_map[(rows - y) ** 2 + (columns - x) ** 2 < 100] = number
    tiles = plan_tiles(SIZE, 200, 64)
    for seed in range(3):
        stitched = stitch(answers(label_map, tiles, wobble=1, seed=seed), SIZE)
        middles = (stitched.boxes[:, :2] + stitched.boxes[:, 2:]) / 2
        gaps = np.abs(np.array(centres)[:, None, ::-1] + 0.5 - middles[None]).max(axis=2)
        assert ((gaps < 4).sum(axis=1) == 1).all()
        assert len(stitched) == len(centres)


def test_a_part_inside_another_tiles_cell_goes():
    first, second = plan_tiles((64, 96), 64, 32)
    whole, half = np.zeros((64, 64), np.int32), np.zeros((64, 64), np.int32)
    whole[20:40, 36:56] = 1
    half[20:40, 10:20] = 1
    parts = [(first, Cells.from_label_map(whole, [0.4])), (second, Cells.from_label_map(half))]
    kept = stitch(parts, (64, 96), margin=8)
    assert len(kept) == 1
    assert kept.boxes.tolist() in ([[36, 20, 56, 40]], [[42, 20, 52, 40]])


def test_no_cells_and_no_tiles_give_no_cells():
    tiles = plan_tiles(SIZE, 160, 48)
    assert len(stitch(answers(np.zeros(SIZE, np.int32), tiles), SIZE)) == 0
    assert stitch([], SIZE).image_size == SIZE


def test_cells_larger_than_the_overlap_are_told(caplog):
    label_map = np.zeros((100, 300), np.int32)
    label_map[20:80, 20:280] = 1
    with caplog.at_level(logging.WARNING):
        stitch(answers(label_map, plan_tiles((100, 300), 100, 20)), (100, 300))
    assert "cut off by their tile" in caplog.text


def test_cells_of_another_window_are_refused():
    [tile] = plan_tiles((50, 60))
    with pytest.raises(ValueError, match="do not fit the window"):
        stitch([(tile, Cells.empty((60, 50)))], (50, 60))


def test_class_probabilities_are_those_of_the_copy_that_stays():
    """Two tiles see one disc at a seam; it is asked which type, and by which tile."""
    label_map = np.zeros((64, 96), np.int32)
    label_map[20:40, 40:60] = 1
    tiles = plan_tiles(label_map.shape, 64, 32)
    parts, told = [], []
    for number, tile in enumerate(tiles):
        cells = Cells.from_label_map(tile.cut(label_map))
        told.append([1.0, 0.0] if number == 0 else [0.25, 0.75])
        cells = replace(cells, detected_boxes=cells.boxes + 1)
        parts.append((tile, cells.with_classes(np.array([told[-1]] * len(cells)).reshape(-1, 2))))
    found = stitch(parts, label_map.shape)
    assert len(found) == 1 and len(tiles) == 2
    owner = next(n for n, t in enumerate(tiles) if t.core[0] <= 50 < t.core[2])
    assert found.class_probabilities.tolist() == [told[owner]]
    assert found.class_ids.tolist() == [int(owner > 0)]
    np.testing.assert_array_equal(found.scored_boxes, found.boxes + 1)
