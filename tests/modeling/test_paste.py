"""Masks pasted into RLEs equal detectron2's full-image bitmaps."""

from __future__ import annotations

import numpy as np
import torch
from detectron2.layers.mask_ops import paste_masks_in_image
from detectron2.structures import Boxes, Instances

from bccd_d2.masks.cells import Cells
from bccd_d2.masks.cleanup import CleanupOptions
from bccd_d2.masks.rle import rle_to_mask
from bccd_d2.modeling.rcnn.cell_rcnn import to_image
from bccd_d2.modeling.rcnn.paste import paste_masks


def random_predictions(count: int = 40, size: tuple[int, int] = (90, 120)):
    rng = np.random.default_rng(3)
    smooth = rng.uniform(size=(count, 28, 28)).astype(np.float32)
    smooth = (smooth + np.roll(smooth, 1, 1) + np.roll(smooth, 1, 2) + np.roll(smooth, 2, 1)) / 4
    x0, y0 = rng.uniform(-10, size[1] - 2, count), rng.uniform(-10, size[0] - 2, count)
    boxes = np.stack([x0, y0, x0 + rng.uniform(12, 60, count), y0 + rng.uniform(12, 60, count)], 1)
    return smooth, boxes.clip(0, [size[1], size[0]] * 2)


def test_same_pixels_as_detectron2() -> None:
    masks, boxes = random_predictions()
    expected = paste_masks_in_image(
        torch.as_tensor(masks), Boxes(torch.as_tensor(boxes).float()), (90, 120), threshold=0.5
    ).numpy()
    rles = paste_masks(masks, boxes, (90, 120))
    got = np.stack([rle_to_mask(rle) for rle in rles])
    assert expected.sum() > 5000
    # Two float orders of the same interpolation: only pixels within rounding of .5 may differ.
    assert (got != expected).sum() <= 3


def test_boxes_outside_the_image_give_empty_masks() -> None:
    rles = paste_masks(np.ones((2, 4, 4)), [[-9, -9, -2, -2], [50, 5, 60, 9]], (10, 20))
    assert [rle_to_mask(rle).sum() for rle in rles] == [0, 0]


def test_to_image_scales_and_drops_empty_cells() -> None:
    result = Instances((10, 20))
    boxes = [[2, 2, 6, 6], [3, 3, 3, 9], [0, 0, 5, 5]]
    result.pred_boxes = Boxes(torch.tensor(boxes, dtype=torch.float32))
    result.scores = torch.tensor([0.9, 0.8, 0.7])
    result.pred_classes = torch.zeros(3, dtype=torch.int64)
    result.pred_masks = torch.ones(3, 1, 4, 4)
    result.pred_masks[2] = 0
    image = to_image(result, (20, 40))
    assert len(image) == 1 and image.image_size == (20, 40)
    np.testing.assert_allclose(image.pred_boxes.tensor, [[4, 4, 12, 12]])
    assert Cells.from_instances(image).scored_boxes.tolist() == [[4, 4, 12, 12]]
    mask = rle_to_mask(image.pred_rles[0])
    assert mask.sum() == 64 and mask[4:12, 4:12].all()


def test_the_area_of_border_cells_is_counted_in_the_detectors_frame() -> None:
    result = Instances((10, 20))
    boxes = [[0, 2, 4, 6], [8, 2, 12, 6]]
    result.pred_boxes = Boxes(torch.tensor(boxes, dtype=torch.float32))
    result.scores = torch.tensor([0.8, 0.8])
    result.pred_classes = torch.zeros(2, dtype=torch.int64)
    result.pred_masks = torch.ones(2, 1, 4, 4)
    for size in ((10, 20), (30, 60)):  # 16 px of the frame both times
        found = to_image(result, size, cleanup=CleanupOptions(border_area=32))
        np.testing.assert_allclose(found.scores, [0.4, 0.8], atol=0.02)


def test_no_predictions() -> None:
    result = Instances((10, 20))
    result.pred_boxes = Boxes(torch.zeros(0, 4))
    result.scores, result.pred_classes = torch.zeros(0), torch.zeros(0, dtype=torch.int64)
    result.pred_masks = torch.zeros(0, 1, 4, 4)
    assert len(to_image(result, (20, 40))) == 0
