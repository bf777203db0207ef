"""Cells that a crop cuts off can be ignored by the box head; those the image cuts never are."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("detectron2", reason="needs detectron2")

import torch

from bccd_d2.data.augment.photometric import PhotometricOptions
from bccd_d2.data.catalog import load_split
from bccd_d2.data.instances import IGNORED, box_instances, make_instances
from bccd_d2.data.mapper import LabelMapMapper, MapperOptions


def crops(records: list[dict], side: int) -> torch.Tensor:
    """The classes of the cells of five crops of the crowded image, 200 x 300 px."""
    options = MapperOptions(
        scale_range=(1, 1), crop_size=(side, side), photometric=PhotometricOptions.off(),
        ignore_visible=0.9,
    )  # fmt: skip
    found = [LabelMapMapper(options, seed=seed)(records[0])["instances"] for seed in range(5)]
    return torch.cat([one.gt_classes for one in found])


def test_a_cell_that_shows_too_little_is_ignored():
    crop = np.zeros((20, 20), dtype=np.uint16)
    crop[4:10, :10], crop[15:18, :4] = 1, 2  # 60 of 100 px, and all 12 of a cell at the edge
    whole = np.array([0, 100, 12], dtype=float)
    assert make_instances(crop, whole, 0.15, 1).gt_classes.tolist() == [0, 0]
    found = make_instances(crop, whole, 0.15, 1, ignore_visible=0.9)
    assert found.gt_classes.tolist() == [IGNORED, 0] and len(found.gt_masks) == 2


def test_the_mapper_ignores_what_its_crop_cuts_and_not_what_the_image_cuts(hand_made):
    records = load_split(hand_made, "train")
    assert set(crops(records, 96).tolist()) == {0, IGNORED}
    whole = crops(records, 640)
    assert len(whole) == 5 * 49 and not whole.any()


def test_a_box_that_the_crop_cuts_can_be_ignored():
    boxes = np.array([[-20.0, 10, 20, 50], [-2, 60, 38, 90]])
    allowed = np.eye(3, dtype=bool)[1:]
    found = box_instances(boxes, (96, 128), allowed=allowed, ignore_visible=0.9)
    assert found.gt_classes.tolist() == [IGNORED, 2]


def test_a_share_that_would_ignore_every_cell_is_refused():
    with pytest.raises(ValueError, match="ignore_visible"):
        MapperOptions(ignore_visible=1.0)
