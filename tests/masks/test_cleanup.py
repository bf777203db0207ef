"""Clean-up on discs and squares whose answer is known by hand."""

from __future__ import annotations

import numpy as np
import pytest

from bccd_d2.masks.cells import Cells
from bccd_d2.masks.cleanup import CleanupOptions, clean, clean_with_index, suppress, whole_mask
from bccd_d2.masks.rle import encode_crop, rle_to_mask

SIZE = (60, 90)


def squares(*spans: tuple[int, int, int, int], scores) -> Cells:
    """Cells from x0 y0 x1 y1."""
    rles = [
        encode_crop(np.ones((y1 - y0, x1 - x0), bool), y0, x0, SIZE) for x0, y0, x1, y1 in spans
    ]
    return Cells.from_rles(rles, SIZE, scores)


@pytest.fixture
def crowd() -> Cells:
    """Two touching cells, a shifted copy of the first, a mask over both, a speck in the second."""
    return squares(
        (10, 10, 30, 30), (30, 10, 50, 30), (12, 10, 32, 30), (10, 10, 50, 30), (40, 15, 44, 19),
        scores=[0.9, 0.8, 0.6, 0.7, 0.5],
    )  # fmt: skip


def test_defaults_change_nothing(crowd: Cells) -> None:
    assert clean(crowd, CleanupOptions()) is crowd


def test_nms_takes_the_copy_but_not_the_neighbour(crowd: Cells) -> None:
    # The copy has IoU 360 / 440 = .82 with the first; the mask over both .5 with each.
    assert suppress(crowd, CleanupOptions(nms=0.8))[0].tolist() == [0, 1, 3, 4]
    assert suppress(crowd, CleanupOptions(nms=0.5))[0].tolist() == [0, 1, 4]


def test_containment_takes_what_is_inside_and_what_swallows(crowd: Cells) -> None:
    assert suppress(crowd, CleanupOptions(containment=0.95))[0].tolist() == [0, 1, 2]
    assert suppress(crowd, CleanupOptions(containment=0.9))[0].tolist() == [0, 1]
    # Of two cells only the better-scored one may suppress: here the mask over both.
    scores = [0.5, 0.5, 0.4, 0.9, 0.3]
    worse = Cells.from_rles(crowd.rles, SIZE, scores)
    assert suppress(worse, CleanupOptions(containment=0.95))[0].tolist() == [3]


def test_a_cell_that_went_suppresses_no_other() -> None:
    chain = squares((0, 0, 20, 20), (6, 0, 26, 20), (12, 0, 32, 20), scores=[0.9, 0.8, 0.7])
    # IoU of neighbours .54, of the ends .25: the middle goes, and the last must not go with it.
    assert suppress(chain, CleanupOptions(nms=0.5))[0].tolist() == [0, 2]


@pytest.mark.parametrize("decay", ["linear", "gaussian"])
def test_matrix_nms_lowers_copies_and_leaves_others(crowd: Cells, decay: str) -> None:
    kept, scores = suppress(crowd, CleanupOptions(decay=decay, sigma=0.2))
    assert kept.tolist() == [0, 1, 2, 3, 4]
    assert scores[:2] == pytest.approx([0.9, 0.8])
    assert scores[2] < 0.3 and scores[3] < 0.7
    if decay == "linear":  # the copy: worst overlap .82 with the first, which nobody doubts
        assert scores[2] == pytest.approx(0.6 * (1 - 360 / 440), rel=1e-4)


def test_exclusive_masks_share_no_pixel_and_fragments_go(crowd: Cells) -> None:
    options = CleanupOptions(exclusive=True, min_kept=0.3)
    cells, index = clean_with_index(crowd, options)
    assert index.tolist() == [0, 1]  # all of the others is covered by better ones
    assert sum(rle_to_mask(r).astype(int) for r in cells.rles).max() == 1
    overlapping = squares((0, 0, 20, 20), (15, 0, 35, 20), scores=[0.9, 0.8])
    assert clean(overlapping, options).areas.tolist() == [400, 300]
    strict = CleanupOptions(exclusive=True, min_kept=0.8)
    assert clean(overlapping, strict).areas.tolist() == [400]


def test_whole_keeps_the_largest_part_and_fills_holes() -> None:
    mask = np.zeros((20, 30), bool)
    mask[2:12, 2:12] = True
    mask[5:7, 5:7] = False
    mask[15:18, 20:24] = True
    filled = whole_mask(mask)
    assert filled.sum() == 100 and not filled[15:18, 20:24].any()
    assert not whole_mask(np.zeros((4, 4), bool)).any()
    assert whole_mask(np.zeros((0, 3), bool)).shape == (0, 3)
    assert whole_mask(np.ones((4, 4), bool)).all()
    ring = np.ones((5, 5), bool)
    ring[1:4, 1:4] = False
    ring[0, 0] = False  # a gap at a corner opens the ring
    assert whole_mask(ring).sum() == 15
    cells = Cells.from_rles([encode_crop(mask, 0, 0, SIZE)], SIZE)
    assert clean(cells, CleanupOptions(whole=True)).areas.tolist() == [100]


def test_small_and_empty_cells_go(crowd: Cells) -> None:
    assert len(clean(crowd, CleanupOptions(min_area=17))) == 4
    empty = encode_crop(np.zeros((0, 0), bool), 0, 0, SIZE)
    assert len(clean(Cells.from_rles([empty], SIZE), CleanupOptions(nms=0.5))) == 0
    assert len(clean(Cells.empty(SIZE), CleanupOptions(nms=0.5, decay="linear", whole=True))) == 0


def test_slivers_at_the_edge_lose_score_by_what_is_missing() -> None:
    cells = squares((0, 10, 5, 30), (70, 0, 90, 20), (30, 30, 35, 50), scores=[0.9, 0.8, 0.7])
    found = clean(cells, CleanupOptions(border_area=200))
    np.testing.assert_allclose(found.scores, [0.45, 0.8, 0.7])  # 100, 400 and, inside, 100 px
    assert found.rles == cells.rles


@pytest.mark.parametrize(
    "wrong",
    [{"nms": 1.5}, {"containment": -1}, {"decay": "soft"}, {"sigma": 0}, {"min_area": -1},
     {"border_area": -1}],
)  # fmt: skip
def test_options_out_of_range_are_refused(wrong: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        CleanupOptions(**wrong)
