"""Pieces, specks and holes on small label maps."""

from __future__ import annotations

import numpy as np

from bccd_d2.masks.clean import clean_labels, fill_cell_holes, largest_pieces


def test_the_largest_piece_is_kept():
    label_map = np.zeros((10, 12), dtype=np.int32)
    label_map[1:4, 1:4] = 5
    label_map[4, 4] = 5  # joined by a corner
    label_map[7:9, 1:3] = 5
    label_map[1:3, 8:10] = 2
    kept = largest_pieces(label_map)
    assert (kept == 5).sum() == 10 and kept[8, 1] == 0 and (kept == 2).sum() == 4
    found = clean_labels(label_map, min_area=5)
    assert found.max() == 1 and (found == 1).sum() == 10 and found.dtype == np.int32


def test_only_holes_of_a_single_cell_are_filled():
    label_map = np.zeros((12, 20), dtype=np.int32)
    label_map[1:6, 1:6] = 1
    label_map[2:4, 2:4] = 0  # a hole
    label_map[1:6, 8:12], label_map[1:6, 12:16] = 2, 3
    label_map[3, 11:13] = 0  # between two cells
    label_map[8:12, 1:6] = 4
    label_map[10:12, 2:4] = 0  # open to the map's edge
    filled = fill_cell_holes(label_map)
    assert (filled == 1).sum() == 25
    assert filled[3, 11] == filled[3, 12] == 0
    assert filled[11, 2] == 0


def test_a_cell_inside_a_ring_stays_itself():
    label_map = np.ones((15, 15), dtype=np.int32)
    label_map[0] = label_map[-1] = label_map[:, 0] = label_map[:, -1] = 0
    label_map[4:11, 4:11] = 0
    label_map[6:9, 6:9] = 2
    filled = fill_cell_holes(label_map)
    assert np.array_equal(filled, label_map)


def test_nothing_stays_nothing():
    for shape in ((6, 7), (0, 3)):
        empty = np.zeros(shape, dtype=np.int32)
        assert clean_labels(empty, min_area=3, fill_holes=True).shape == shape
