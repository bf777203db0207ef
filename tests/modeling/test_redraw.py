"""Drawing cells anew where the truth is known: boxes that cut, cells that touch, doubles."""

from __future__ import annotations

import numpy as np
import pytest

from bccd_d2.masks.cleanup import CleanupOptions
from bccd_d2.masks.rle import rle_to_mask
from bccd_d2.modeling.rcnn.outline import OFFSET_UNIT
from bccd_d2.modeling.rcnn.paste import paste_masks
from bccd_d2.modeling.rcnn.redraw import Drawing, RedrawOptions, redraw

FRAME, IMAGE = (60, 90), (120, 180)
CENTRES, RADIUS = np.array([[27.0, 30.0], [58.0, 30.0]]), 16.0  # x, y: two discs that overlap a bit


def truth(size=IMAGE) -> list[np.ndarray]:
    """Each disc's pixels, the lens shared out by the nearer centre."""
    scale = size[0] / FRAME[0]
    y, x = (np.mgrid[: size[0], : size[1]] + 0.5) / scale
    far = [np.hypot(x - cx, y - cy) for cx, cy in CENTRES]
    return [(far[i] < RADIUS) & (far[i] <= far[1 - i]) for i in (0, 1)]


def drawing(boxes, scores=(0.9, 0.8), maps=True) -> Drawing:
    """Boxes whose masks say only "all cell" (logit 1), over maps that are exact."""
    boxes = np.asarray(boxes, np.float32)
    cells = truth(FRAME)
    y, x = np.mgrid[: FRAME[0], : FRAME[1]] + 0.5
    offset = np.zeros((2, *FRAME))
    for mask, (cx, cy) in zip(cells, CENTRES, strict=True):
        offset[:, mask] = np.stack([cx - x, cy - y])[:, mask] / OFFSET_UNIT
    far = np.minimum(*(np.hypot(x - cx, y - cy) for cx, cy in CENTRES))
    edge = np.abs(x - CENTRES[:, 0].mean()) < 1.5
    dense = np.stack([RADIUS - far, np.where(edge, 4.0, -4.0), *offset]).astype(np.float32)
    masks = np.full((len(boxes), 28, 28), 0.731, np.float32)
    return Drawing(
        masks, boxes, boxes, np.asarray(scores[: len(boxes)]), dense if maps else None, FRAME
    )


def boxes_around(half: float) -> np.ndarray:
    return np.concatenate([CENTRES - half, CENTRES + half], 1)


def ious(cells) -> list[float]:
    found = [rle_to_mask(rle) for rle in cells.rles]
    return [float((a & b).sum() / (a | b).sum()) for a, b in zip(found, truth(), strict=True)]


@pytest.mark.parametrize("method", ["assign", "watershed"])
def test_touching_cells_are_parted_and_outlines_exact(method: str) -> None:
    options = RedrawOptions(method=method, mask=0.1, cell=5.0, centre=3.0)
    kept, cells = redraw(drawing(boxes_around(20)), IMAGE, options, CleanupOptions())
    assert kept.tolist() == [0, 1]
    assert min(ious(cells)) > 0.95
    assert sum(rle_to_mask(r).astype(int) for r in cells.rles).max() == 1


def test_blend_draws_each_cell_for_itself() -> None:
    options = RedrawOptions(method="blend", mask=0.1, cell=1.0)
    _, cells = redraw(drawing(boxes_around(20)), IMAGE, options, CleanupOptions())
    first, second = (rle_to_mask(r) for r in cells.rles)
    assert (first & second).any()  # nothing but the votes tells the neighbour's pixels apart
    _, alone = redraw(drawing(boxes_around(20)[:1]), IMAGE, options, CleanupOptions())
    assert alone.rles[0] == cells.rles[0]


def test_a_tight_box_cuts_and_an_enlarged_one_does_not() -> None:
    options = RedrawOptions(method="assign", mask=0.1, cell=5.0, centre=3.0)
    _, cut = redraw(drawing(boxes_around(12)), IMAGE, options, CleanupOptions())
    _, free = redraw(drawing(boxes_around(18)), IMAGE, options, CleanupOptions())
    assert max(ious(cut)) < 0.85 and min(ious(free)) > 0.95


@pytest.mark.parametrize("method", ["assign", "watershed"])
def test_a_double_is_suppressed_before_it_takes_pixels(method: str) -> None:
    boxes = np.concatenate([boxes_around(20), boxes_around(20)[:1] + 2])
    given = drawing(boxes, scores=(0.9, 0.8, 0.7))
    options = RedrawOptions(method=method, mask=0.1, cell=5.0, centre=3.0)
    kept, cells = redraw(given, IMAGE, options, CleanupOptions(nms=0.6))
    assert kept.tolist() == [0, 1] and min(ious(cells)) > 0.95


def test_cells_below_the_rival_score_take_no_pixel_and_lose_none() -> None:
    boxes = np.concatenate([boxes_around(20), [[20, 20, 65, 40]]])
    options = RedrawOptions(method="assign", mask=0.1, cell=5.0, rival=0.5)
    _, cells = redraw(drawing(boxes, scores=(0.9, 0.8, 0.1)), IMAGE, options, CleanupOptions())
    _, without = redraw(drawing(boxes[:2]), IMAGE, options, CleanupOptions())
    assert cells.rles[:2] == without.rles
    assert (rle_to_mask(cells.rles[2]) & cells[:2].union()).sum() > 500


def test_without_a_method_the_masks_are_the_mask_heads() -> None:
    given = drawing(boxes_around(15), maps=False)
    given.masks[:, :, :7] = 0.2
    _, cells = redraw(given, FRAME, RedrawOptions(), CleanupOptions())
    assert cells.rles == paste_masks(given.masks, given.mask_boxes, FRAME)


def test_nothing_found_and_missing_maps() -> None:
    given = drawing(np.zeros((0, 4)))
    for method in ("", "blend", "assign", "watershed"):
        kept, cells = redraw(given, IMAGE, RedrawOptions(method=method), CleanupOptions(nms=0.5))
        assert len(kept) == len(cells) == 0
    with pytest.raises(ValueError, match="OUTLINE.ENABLED"):
        bare = drawing(boxes_around(15), maps=False)
        redraw(bare, IMAGE, RedrawOptions(method="assign"), CleanupOptions())
    with pytest.raises(ValueError, match="METHOD"):
        RedrawOptions(method="magic")
