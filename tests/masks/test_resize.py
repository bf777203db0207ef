"""Label maps at another size: nothing invented, outlines as sharp as the finer foreground."""

from __future__ import annotations

import numpy as np

from bccd_d2.masks.labels import check_label_map
from bccd_d2.masks.resize import refine_outlines, resize_label_map


def disc(size: int, y: float, x: float, radius: float) -> np.ndarray:
    rows, columns = np.mgrid[:size, :size] + 0.5
    return (rows - y) ** 2 + (columns - x) ** 2 <= radius**2


def test_nearest_neighbours_repeat_pixels() -> None:
    label_map = np.array([[1, 2], [0, 3]], dtype=np.int32)
    large = resize_label_map(label_map, (4, 4))
    assert np.array_equal(large, np.kron(label_map, np.ones((2, 2), dtype=np.int32)))
    assert resize_label_map(label_map, (2, 2)) is label_map
    check_label_map(resize_label_map(label_map, (3, 1)))


def test_a_coarse_disc_becomes_the_fine_one() -> None:
    fine = disc(80, 40, 40, 21.3)
    coarse = disc(20, 10, 10, 21.3 / 4).astype(np.int32)
    assert (resize_label_map(coarse, (80, 80)) > 0).sum() != fine.sum()
    assert np.array_equal(refine_outlines(coarse, fine), fine.astype(np.int32))


def test_touching_cells_stay_apart_and_far_structures_stay_out() -> None:
    coarse = np.zeros((20, 20), dtype=np.int32)
    coarse[5:15, 2:10], coarse[5:15, 10:18] = 1, 2
    foreground = resize_label_map(coarse, (40, 40)) > 0
    foreground[:, 39:] = True  # debris, away from any cell
    foreground[20:22, 10:12] = False  # a hole that decoding had filled
    drawn = refine_outlines(coarse, foreground)
    assert np.array_equal(drawn[:, :36], resize_label_map(coarse, (40, 40))[:, :36])
    assert not drawn[:, 39:].any()


def test_no_cells_and_all_cells() -> None:
    nothing, everything = np.zeros((4, 5), np.int32), np.ones((4, 5), np.int32)
    assert not refine_outlines(nothing, np.ones((8, 10), dtype=bool)).any()
    assert refine_outlines(everything, np.zeros((8, 10), dtype=bool)).all()
