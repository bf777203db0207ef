"""The detector as the config builds it: losses, answers, empty crops."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from detectron2.utils.events import EventStorage

from bccd_d2.config.load import finalize, load_config
from bccd_d2.modeling.backbones.norm import ChannelNorm
from bccd_d2.modeling.backbones.vit import layer_index
from bccd_d2.modeling.build import build_model

from ..small import SMALL_DETECTOR
from .samples import check_batches, sample

SMALL = [*SMALL_DETECTOR, "MODEL.VIT.DEPTH", "3", "MODEL.ROI_HEADS.SCORE_THRESH_TEST", "0.0"]


@pytest.fixture
def model():
    torch.manual_seed(0)
    path = Path(__file__).resolve().parents[2] / "configs" / "cpu_tiny_maskrcnn.yaml"
    with EventStorage():
        yield build_model(finalize(load_config(path, SMALL)))


def test_losses_are_finite_and_reach_every_parameter(model) -> None:
    losses = model([sample(2), sample(1)])
    assert set(losses) == {"loss_cls", "loss_box_reg", "loss_mask", "loss_rpn_cls", "loss_rpn_loc"}
    sum(losses.values()).backward()
    # Registers and the class token influence patches only through attention, so all get gradients.
    without = [n for n, p in model.named_parameters() if p.grad is None]
    assert without == []


def test_crops_without_cells_train(model) -> None:
    losses = model([sample(0), sample(0)])
    assert all(torch.isfinite(v) for v in losses.values())


def test_answers_are_rles_of_the_original_size(model) -> None:
    model.eval()
    with torch.no_grad():
        (answer,) = model([sample(2)])
    instances = answer["instances"]
    assert instances.image_size == (140, 150)
    assert len(instances) == len(instances.pred_rles) > 0
    assert all(rle["size"] == [140, 150] for rle in instances.pred_rles)


def test_an_answer_does_not_depend_on_its_batch(model) -> None:
    model.eval()
    check_batches(model, [sample(2), sample(2)])


@pytest.mark.parametrize(
    ("name", "index"),
    [
        ("backbone.net.vit.pos_embed", 0),
        ("backbone.net.vit.patch_embed.proj.weight", 0),
        ("backbone.net.vit.blocks.0.norm1.weight", 1),
        ("backbone.net.vit.blocks.11.mlp.fc2.bias", 12),
        ("backbone.net.vit.norm.weight", 13),
        ("backbone.levels.p2.0.weight", 13),
        ("roi_heads.box_head.fc1.weight", 13),
    ],
)
def test_layer_index(name: str, index: int) -> None:
    assert layer_index(name, depth=12) == index


@pytest.mark.parametrize("norm", ["", "LN", "GN"])
def test_heads_take_the_norm_that_the_config_names(norm: str) -> None:
    path = Path(__file__).resolve().parents[2] / "configs" / "cpu_tiny_maskrcnn.yaml"
    options = [*SMALL, "MODEL.ROI_MASK_HEAD.NORM", norm, "MODEL.ROI_MASK_HEAD.CONV_DIM", "32"]
    options += ["MODEL.ROI_BOX_HEAD.NORM", norm, "MODEL.ROI_BOX_HEAD.NUM_CONV", "1"]
    options += ["MODEL.ROI_BOX_HEAD.CONV_DIM", "32"]
    heads = build_model(finalize(load_config(path, options))).roi_heads
    kind = {"": type(None), "LN": ChannelNorm, "GN": torch.nn.GroupNorm}[norm]
    assert isinstance(heads.box_head.conv1.norm, kind)
    assert isinstance(heads.mask_head.mask_fcn1.norm, kind)
