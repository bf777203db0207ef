"""Pooling by rows against detectron2's RoIAlign: values, gradients, edges, levels."""

from __future__ import annotations

import pytest
import torch
from detectron2.modeling.poolers import ROIPooler
from detectron2.structures import Boxes

from bccd_d2.modeling.rcnn.pooler import CellPooler


def pooled(kind, samples, boxes, scales=(0.25, 0.125), size=7):
    torch.manual_seed(0)
    maps = [torch.randn(2, 5, int(160 * s), int(240 * s), requires_grad=True) for s in scales]
    answer = kind(size, scales, samples, "ROIAlignV2", canonical_box_size=56)(maps, boxes)
    weight = torch.randn(answer.shape, generator=torch.Generator().manual_seed(1))
    (answer * weight).sum().backward()
    return answer.detach(), [m.grad for m in maps]


@pytest.fixture
def boxes():
    torch.manual_seed(3)
    lists = []
    for count in (6, 9):
        corner = torch.rand(count, 2) * torch.tensor([220.0, 140.0]) - 15
        lists.append(Boxes(torch.cat([corner, corner + 5 + 130 * torch.rand(count, 2)], 1)))
    lists[0].tensor[0] = torch.tensor([-300.0, -200.0, -250.0, -150.0])  # wholly outside
    lists[0].tensor[1] = torch.tensor([0.0, 0.0, 240.0, 160.0])
    return lists


@pytest.mark.parametrize("samples", [1, 2, 3])
@pytest.mark.parametrize("scales", [(0.25,), (0.25, 0.125)])
def test_values_and_gradients_are_detectron2s(boxes, samples, scales) -> None:
    got, gradients = pooled(CellPooler, samples, boxes, scales)
    wanted, true_gradients = pooled(ROIPooler, samples, boxes, scales)
    assert wanted.abs().max() > 1
    torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-5)
    for one, other in zip(gradients, true_gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_adaptive_sampling_and_no_boxes_take_the_old_way(boxes) -> None:
    got, _ = pooled(CellPooler, 0, boxes)
    torch.testing.assert_close(got, pooled(ROIPooler, 0, boxes)[0])
    none = [Boxes(torch.zeros(0, 4)), Boxes(torch.zeros(0, 4))]
    pooler = CellPooler(7, (0.25, 0.125), 2, "ROIAlignV2")
    assert pooler([torch.zeros(2, 5, 8, 8), torch.zeros(2, 5, 4, 4)], none).shape == (0, 5, 7, 7)


@pytest.mark.parametrize("samples", [0, 2])
def test_half_precision_maps_are_pooled_in_single(boxes, samples: int) -> None:
    maps = [torch.randn(2, 5, 40, 60).bfloat16()]
    pooler = CellPooler(7, (0.25,), samples, "ROIAlignV2")
    with torch.autocast("cpu", torch.bfloat16):
        answer = pooler(maps, boxes)
        rounded = ROIPooler(7, (0.25,), samples, "ROIAlignV2")(maps, boxes)
    exact = ROIPooler(7, (0.25,), samples, "ROIAlignV2")([maps[0].float()], boxes)
    torch.testing.assert_close(answer, exact, rtol=1e-4, atol=1e-5)
    assert (rounded - exact).abs().max() > 0.05  # detectron2's boxes are rounded to bf16
