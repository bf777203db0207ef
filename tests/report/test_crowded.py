"""Crowded windows lie where cells touch, and show what each method drew there."""

from __future__ import annotations

import cv2
import numpy as np

from bccd_d2.evaluation.entries import Entry
from bccd_d2.masks.cells import Cells
from bccd_d2.report.comparison.crowded import crowded_windows, draw_crowded
from bccd_d2.report.draw import VERDICT_COLOURS


def discs(*centres, size=(300, 400), radius=20):
    label_map = np.zeros(size, np.int32)
    for number, (y, x) in enumerate(centres, start=1):
        cv2.circle(label_map, (x, y), radius, number, -1)
    return Cells.from_label_map(label_map)


PAIR = discs((60, 60), (60, 102), (240, 340))
ALONE = discs((60, 60), (240, 340))
CLUMP = discs((150, 200), (150, 242), (192, 200), (192, 242))


def test_the_fullest_window_comes_first_and_holds_the_touching_cells():
    truth = {"alone": ALONE, "pair": PAIR, "clump": CLUMP}
    windows = crowded_windows(truth, count=5, side=120)
    assert [w.file for w in windows] == ["clump", "pair"]
    assert windows[0].holds(CLUMP).all()
    assert windows[1].holds(PAIR).tolist() == [True, True, False]
    assert crowded_windows(truth, count=1, side=120) == windows[:1]
    whole = crowded_windows({"pair": PAIR}, count=1, side=1000)[0]
    assert (whole.y1 - whole.y0, whole.x1 - whole.x0) == PAIR.image_size
    assert crowded_windows({"none": Cells.empty((50, 50))}, count=1) == []


def test_a_merged_clump_is_orange_and_counted(tmp_path):
    image = tmp_path / "clump.png"
    assert cv2.imwrite(str(image), np.full((300, 400, 3), 200, np.uint8))
    merged = Cells.from_label_map((CLUMP.to_label_map() > 0).astype(np.int32))
    entries = [Entry("right", {}, {}, {}, {"clump.png": CLUMP}),
               Entry("merging", {}, {}, {}, {"clump.png": merged})]  # fmt: skip
    pictures = {"clump.png": (image, CLUMP)}
    drawn = draw_crowded(entries, pictures, side=120, width=400)
    right, wrong = drawn[:, 800:1200].reshape(-1, 3), drawn[:, 1200:].reshape(-1, 3)
    assert (wrong == VERDICT_COLOURS["merged"]).all(axis=1).sum() > 500
    assert not (right == VERDICT_COLOURS["merged"]).all(axis=1).any()
    assert draw_crowded(entries, {"alone.png": (image, ALONE)}) is None
