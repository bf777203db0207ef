"""Every switch of the heads: it trains, answers, survives empty crops, and does what it says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.structures import pairwise_iou
from detectron2.utils.events import EventStorage

from bccd_d2.config.load import finalize, load_config
from bccd_d2.data.instances import IGNORED
from bccd_d2.masks.cells import Cells
from bccd_d2.modeling.build import build_model
from bccd_d2.modeling.rcnn.mask_head import MaskIoUHead, mask_iou, mask_targets
from bccd_d2.modeling.rcnn.roi_heads import enlarge_boxes

from ..small import SMALL_DETECTOR
from .samples import check_batches, sample

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
SMALL = [*SMALL_DETECTOR, "MODEL.ROI_HEADS.SCORE_THRESH_TEST", "0.0"]
STEM = ["MODEL.PYRAMID.STEM", "8"]
MASK = "MODEL.ROI_MASK_HEAD."
SWITCHES = {
    "giou": ["MODEL.ROI_BOX_HEAD.BBOX_REG_LOSS_TYPE", "giou"],
    "class_agnostic": ["MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG", "True"],
    "cascade": ["MODEL.ROI_HEADS.NAME", "CellCascadeROIHeads",
                "MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG", "True"],
    "dice_and_outline": [MASK + "DICE", "0.5", MASK + "OUTLINE", "2.0"],
    "mask_56": [MASK + "POOLER_RESOLUTION", "28"],
    "margin": [MASK + "BOX_MARGIN", "1.25"],
    "samples": [MASK + "SAMPLES", "3"],
    "mask_iou": [MASK + "IOU_LOSS", "1.0"],
    "fine": [*STEM, MASK + "FINE", "True"],
    "outline_head": [*STEM, "MODEL.OUTLINE.ENABLED", "True"],
    "detectron2s_heads": ["MODEL.ROI_HEADS.NAME", "StandardROIHeads"],
}  # fmt: skip


def build(*options: str, config: str = "cpu_tiny_maskrcnn"):
    torch.manual_seed(0)
    return build_model(finalize(load_config(CONFIGS / f"{config}.yaml", [*SMALL, *options])))


@pytest.mark.parametrize("name", SWITCHES)
def test_a_switch_trains_and_answers(name: str) -> None:
    model = build(*SWITCHES[name])
    with EventStorage():
        losses = model([sample(2), sample(1)])
        sum(losses.values()).backward()
        assert [n for n, p in model.named_parameters() if p.grad is None] == []
        empty = model([sample(0), sample(0)])
    assert all(torch.isfinite(v) for v in [*losses.values(), *empty.values()])
    assert set(empty) == set(losses)
    model.eval()
    with torch.no_grad():
        (answer,) = model([sample(2)])
    found = answer["instances"]
    assert len(found) == len(found.pred_rles) > 0
    assert all(rle["size"] == [140, 150] for rle in found.pred_rles)


@pytest.mark.parametrize("name", ["CellROIHeads", "CellCascadeROIHeads"])
def test_ignored_cells_are_neither_found_nor_missed(name: str) -> None:
    model = build("MODEL.ROI_HEADS.NAME", name, "MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG", "True")
    heads, seen = model.roi_heads, []
    predictors = heads.box_predictor if name == "CellCascadeROIHeads" else [heads.box_predictor]
    for predictor in predictors:
        learn = predictor.losses
        predictor.losses = lambda scores, boxes, learn=learn: (
            seen.extend(boxes) or learn(scores, boxes)
        )
    given = sample(2)
    given["instances"].gt_classes[0] = IGNORED
    ignored = given["instances"].gt_boxes[0]
    with EventStorage():
        losses = model([given])
    assert seen and all(torch.isfinite(v) for v in losses.values())
    for boxes in seen:
        near = pairwise_iou(boxes.proposal_boxes, ignored)[:, 0] >= 0.5
        other = pairwise_iou(boxes.proposal_boxes, given["instances"].gt_boxes[1])[:, 0]
        assert not (near & (other < 0.5)).any() and (boxes.gt_classes >= 0).all()
    assert (seen[0].gt_classes == 0).any()  # the other cell is learned


def test_all_switches_together_in_the_shipped_config() -> None:
    model = build(config="cpu_joint")
    with EventStorage():
        losses = model([sample(2), sample(1)])
    wanted = {"loss_mask_iou", "loss_outline_cell", "loss_outline_boundary", "loss_outline_centre"}
    assert wanted < set(losses) and all(torch.isfinite(v) for v in losses.values())
    model.eval()
    check_batches(model, [sample(2), sample(2)])


def test_the_mask_loss_moves_with_its_switches() -> None:
    plain = ["MODEL.ROI_HEADS.POSITIVE_FRACTION", "1.0"]
    values = []
    for extra in ([], [MASK + "DICE", "1.0"], [MASK + "LOSS_WEIGHT", "3.0"]):
        model = build(*plain, *extra)
        with EventStorage():
            torch.manual_seed(5)
            values.append(float(model([sample(2)])["loss_mask"].detach()))
    assert values[1] > values[0] + 0.1 and values[2] == pytest.approx(3 * values[0], rel=1e-4)


def test_enlarged_boxes_keep_their_centres_and_may_leave_the_image() -> None:
    boxes = torch.tensor([[10.0, 20, 30, 60], [0, 0, 10, 10]])
    larger = enlarge_boxes(boxes, 1.5)
    torch.testing.assert_close(larger[0], torch.tensor([5.0, 10, 35, 70]))
    torch.testing.assert_close(larger[1], torch.tensor([-2.5, -2.5, 12.5, 12.5]))
    assert enlarge_boxes(boxes, 1.0) is boxes
    with pytest.raises(ValueError, match="BOX_MARGIN"):
        build(MASK + "BOX_MARGIN", "0.9")


def test_targets_show_the_cell_beyond_its_box() -> None:
    truth = sample(1)["instances"]
    inner = torch.tensor([[10.0, 10, 30, 30]])  # within the cell, 5 x 5 to 35 x 40
    truth.mask_boxes = inner
    tight, areas = mask_targets([truth], 8, torch.device("cpu"))
    assert tight.mean() == 1
    assert float(areas[0]) == pytest.approx(30 * 35 * 64 / 400)
    truth.mask_boxes = enlarge_boxes(inner, 3.0)  # -10 to 50: the cell fills a part of it
    wide, areas = mask_targets([truth], 60, torch.device("cpu"))
    assert float(wide.sum()) == pytest.approx(30 * 35, rel=0.1)
    assert float(areas[0]) == pytest.approx(30 * 35)


def test_mask_iou_counts_what_lies_outside_the_box() -> None:
    target = torch.zeros(1, 4, 4)
    target[0, :, :2] = 1
    predicted = torch.zeros(1, 4, 4, dtype=torch.bool)
    predicted[0, :2, :] = True
    assert float(mask_iou(predicted, target, torch.tensor([8.0]))) == pytest.approx(4 / 12)
    assert float(mask_iou(predicted, target, torch.tensor([16.0]))) == pytest.approx(4 / 20)
    assert float(mask_iou(target > 2, target * 0, torch.tensor([0.0]))) == 0


def test_the_judge_can_tell_good_masks_from_bad_ones() -> None:
    torch.manual_seed(0)
    judge = MaskIoUHead(4, 7, width=8)
    features = torch.zeros(16, 4, 7, 7)
    features[:, 0, 2:5, 2:5] = 1
    good = torch.full((16, 1, 14, 14), -5.0)
    good[:8, :, 4:10, 4:10] = 5.0  # the first eight masks lie where the features say
    wanted = torch.cat([torch.ones(8), torch.zeros(8)])
    optimizer = torch.optim.Adam(judge.parameters(), 0.01)
    for _ in range(60):
        loss = (judge(features, good).sigmoid() - wanted).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) < 0.02


def test_scores_are_multiplied_by_the_predicted_iou() -> None:
    scores = []
    for power in ("0.0", "1.0"):
        model = build(MASK + "IOU_LOSS", "1.0", MASK + "IOU_POWER", power).eval()
        torch.manual_seed(1)
        with torch.no_grad():
            scores.append(np.sort(model([sample(1)])[0]["instances"].scores.numpy()))
    assert scores[1].max() < scores[0].max()


@pytest.mark.parametrize("options", [[MASK + "FINE", "True"], ["MODEL.OUTLINE.ENABLED", "True"]])
def test_what_needs_the_stem_says_so(options: list[str]) -> None:
    with pytest.raises(ValueError, match=r"MODEL\.PYRAMID\.STEM"):
        build(*options)


def test_drawing_anew_needs_the_outline_head() -> None:
    with pytest.raises(ValueError, match=r"MODEL\.OUTLINE\.ENABLED"):
        build("MODEL.REDRAW.METHOD", "assign")


def test_an_otsu_foreground_needs_no_outline_head() -> None:
    options = ["MODEL.REDRAW.METHOD", "assign", "MODEL.REDRAW.FOREGROUND", "otsu"]
    model = build(*options, "MODEL.REDRAW.MASK", "0.01").eval()
    given = sample(0)
    given["image"] = torch.full((3, 70, 75), 220, dtype=torch.uint8)
    given["image"][:, 20:50, 20:60] = 90
    with torch.no_grad():
        found = model([given])[0]["instances"]
    drawn = Cells.from_instances(found).union()
    inside = np.zeros((140, 150), dtype=bool)
    inside[40:100, 40:120] = True
    assert drawn.sum() > 100 and (drawn & ~inside).sum() < 0.1 * drawn.sum()
    with pytest.raises(ValueError, match="CENTRE 0"):
        build(*options, "MODEL.REDRAW.CENTRE", "1.0")


@pytest.mark.parametrize("method", ["blend", "assign", "watershed"])
def test_redrawing_and_cleaning_work_in_the_model(method: str) -> None:
    options = [*SWITCHES["outline_head"], "MODEL.REDRAW.METHOD", method, "TEST.CLEANUP.NMS", "0.5",
               "TEST.CLEANUP.WHOLE", "True", "TEST.CLEANUP.MIN_AREA", "5"]  # fmt: skip
    model = build(*options).eval()
    with torch.no_grad():
        found = model([sample(2)])[0]["instances"]
    assert len(found) == len(found.pred_boxes) == len(found.scores) == len(found.pred_rles)
    assert all(rle["size"] == [140, 150] for rle in found.pred_rles)
