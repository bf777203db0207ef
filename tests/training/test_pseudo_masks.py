"""Labels for boxes and points from a stand-in for a network that knows a drawn smear."""

from __future__ import annotations

import numpy as np
import pytest
import torch

pytest.importorskip("detectron2")

from bccd_d2.data.ignored import IGNORED
from bccd_d2.masks.decode import DecodeOptions
from bccd_d2.masks.encode import encode_flow
from bccd_d2.modeling.dense.answer import AnswerOptions
from bccd_d2.training.pseudo_masks import masks_from_boxes, masks_from_points, outlines

PLACES = ((40, 40), (40, 110), (110, 40))  # y, x of discs of 30 px radius in an image of 150


class Knows:
    """Maps of the discs in an image, whatever their size: dark is cell."""

    answer = AnswerOptions(decode=DecodeOptions(method="flow", min_area=20), score="agreement")

    def maps(self, pixels: torch.Tensor) -> dict[str, torch.Tensor]:
        import cv2

        dark = (pixels[0].numpy() < 128).astype(np.uint8)
        _, labels = cv2.connectedComponents(dark)
        flow = encode_flow(labels.astype(np.int32))
        return {"cell": torch.from_numpy(dark[None].astype(np.float32)),
                "flow": torch.from_numpy(flow)}  # fmt: skip


def image() -> np.ndarray:
    rows, columns = np.mgrid[:150, :150]
    drawn = np.full((150, 150, 3), 220, np.uint8)
    for y, x in PLACES:
        drawn[(rows - y) ** 2 + (columns - x) ** 2 <= 30**2] = 60
    return drawn


def boxes(*places: tuple[int, int]) -> np.ndarray:
    return np.array([[x - 30, y - 30, x + 31, y + 31] for y, x in places], float)


def test_outlines_come_in_the_frame_of_the_image():
    cells, probability = outlines(Knows(), image(), 0.8)
    assert len(cells) == 3 and cells.image_size == (150, 150) == probability.shape
    assert cells.areas.tolist() == pytest.approx([np.pi * 30**2] * 3, rel=0.05)


def test_boxes_get_the_outlines_that_fit_and_the_size():
    labels, diameter = masks_from_boxes(Knows(), image(), boxes(*PLACES), 50.0)
    assert (labels.drawn, labels.missed) == (3, 0)
    assert diameter == pytest.approx(61 * 0.97)
    assert (labels.label_map > 0).sum() == pytest.approx(3 * np.pi * 30**2, rel=0.05)


def test_no_boxes_are_refused():
    with pytest.raises(ValueError, match="at least one"):
        masks_from_boxes(Knows(), image(), np.zeros((0, 4)), 50.0)


def test_points_measure_the_size_anew_and_keep_confident_cells():
    points = np.array([[40.0, 40], [110, 40], [140, 140]])  # x, y; the last is on background
    labels, diameter = masks_from_points(Knows(), image(), points, 50.0, first=40.0)
    assert diameter == pytest.approx(60, rel=0.05)
    assert (labels.drawn, labels.missed) == (3, 1)
    assert labels.label_map[140, 140] == IGNORED
