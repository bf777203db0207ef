"""Mask R-CNN with several classes: one cell has one box and K probabilities."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from detectron2.modeling.box_regression import Box2BoxTransform
from detectron2.structures import Boxes, Instances
from detectron2.utils.events import EventStorage
from torch.nn import functional as F

from bccd_d2.config.load import finalize, load_config
from bccd_d2.masks.cells import Cells
from bccd_d2.modeling.build import build_model
from bccd_d2.modeling.rcnn.typed_boxes import TypedBoxPredictor, coarse_cross_entropy

from ..small import SMALL_DETECTOR
from .samples import sample

TYPED = ["MODEL.CLASSES.NAMES", "('red', 'white', 'platelet')"]
SMALL = [*SMALL_DETECTOR, "MODEL.ROI_HEADS.SCORE_THRESH_TEST", "0.0"]


def config(*options: str):
    return finalize(load_config("cpu_tiny_maskrcnn", [*SMALL, *options]))


def test_one_allowed_class_is_the_cross_entropy_and_all_are_the_foreground() -> None:
    torch.manual_seed(0)
    logits, classes = torch.randn(6, 4), torch.tensor([0, 1, 2, 3, 3, 1])
    one = F.one_hot(classes, 4)[:, :3].bool()
    wanted = F.cross_entropy(logits, classes)
    assert coarse_cross_entropy(logits, classes, one) == pytest.approx(float(wanted))
    cell = torch.ones(6, 3, dtype=torch.bool)
    p = logits.softmax(1)
    chance = torch.where(classes == 3, p[:, 3], p[:, :3].sum(1))
    found = coarse_cross_entropy(logits, classes, cell)
    assert float(found) == pytest.approx(float(-chance.log().mean()), rel=1e-5)
    assert float(coarse_cross_entropy(logits[:0], classes[:0], cell[:0])) == 0


def test_a_coarse_label_teaches_no_choice_between_its_classes() -> None:
    """Its gradient on two allowed classes of equal logits is equal, and pushes the third down."""
    logits = torch.zeros(1, 4, requires_grad=True)
    allowed = torch.tensor([[True, True, False]])
    coarse_cross_entropy(logits, torch.tensor([0]), allowed).backward()
    gradient = logits.grad[0]
    assert gradient[0] == gradient[1] < 0 < gradient[2]


def test_one_cell_of_two_likely_classes_is_one_box() -> None:
    predictor = TypedBoxPredictor(
        input_shape=4, box2box_transform=Box2BoxTransform((1.0, 1.0, 1.0, 1.0)),
        num_classes=2, cls_agnostic_bbox_reg=True,
        test_score_thresh=0.05, test_nms_thresh=0.5, test_topk_per_image=10,
    )  # fmt: skip
    proposals = Instances((50, 50))
    proposals.proposal_boxes = Boxes(torch.zeros(4, 4))
    boxes = torch.tensor([[0, 0, 20, 20], [1, 0, 21, 20], [30, 30, 45, 45], [0.0, 0, 9, 9]])
    boxes[3, 0] = torch.nan
    logits = torch.tensor([[0.45, 0.45, 0.1], [0.5, 0.3, 0.2], [0.1, 0.5, 0.4], [0.9, 0, 0.1]])
    predictor.predict_boxes = lambda *_: [boxes]
    predictor.predict_probs = lambda *_: [logits]
    (found,), (kept,) = predictor.inference(None, [proposals])
    assert kept.tolist() == [0, 2]
    assert found.scores.tolist() == pytest.approx([0.9, 0.6])
    expected = np.array([[0.5, 0.5], [1 / 6, 5 / 6]])
    assert found.pred_class_probabilities.numpy() == pytest.approx(expected)
    assert found.pred_classes.tolist()[1] == 1


def test_a_typed_detector_learns_and_answers_with_probabilities() -> None:
    torch.manual_seed(0)
    model = build_model(config(*TYPED))
    first, empty = sample(2), sample(0)
    first["instances"].gt_classes = torch.tensor([0, 2])
    first["instances"].gt_allowed = torch.tensor([[True, True, False], [False, False, True]])
    with EventStorage():
        losses = model([first, empty])
        sum(losses.values()).backward()
    assert all(torch.isfinite(loss) for loss in losses.values())
    assert model.roi_heads.mask_head.predictor.out_channels == 1
    model.eval()
    with torch.no_grad():
        (answer,) = model([sample(2)])
    cells = Cells.from_instances(answer["instances"])
    assert len(cells) and cells.class_probabilities.shape == (len(cells), 3)
    np.testing.assert_allclose(cells.class_probabilities.sum(1), 1, atol=1e-5)
    assert (cells.class_ids == cells.class_probabilities.argmax(1)).all()


def test_one_class_is_detectron2s_own_head() -> None:
    heads = build_model(config()).roi_heads
    assert type(heads.box_predictor).__name__ == "FastRCNNOutputLayers"


def test_heads_that_give_a_box_for_each_class_are_refused() -> None:
    with pytest.raises(ValueError, match="take CellROIHeads"):
        config(*TYPED, "MODEL.ROI_HEADS.NAME", "CellCascadeROIHeads")
