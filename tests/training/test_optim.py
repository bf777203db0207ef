"""Learning rates by depth, weight decay by kind."""

from __future__ import annotations

import pytest
from torch import nn

from bccd_d2.modeling.backbones.pyramid import SimpleFeaturePyramid
from bccd_d2.modeling.backbones.vit import TimmViT, create_vit
from bccd_d2.training.optim import parameter_groups


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        vit = create_vit("vit_tiny_patch16_224", grid=4, depth=3, embed_dim=32, num_heads=2)
        self.backbone = SimpleFeaturePyramid(TimmViT(vit), out_channels=8)
        self.head = nn.Linear(8, 2)


def by_name(model: nn.Module, groups: list[dict]) -> dict[str, tuple[float, float]]:
    where = {id(p): (g["lr"], g["weight_decay"]) for g in groups for p in g["params"]}
    return {name: where[id(p)] for name, p in model.named_parameters() if id(p) in where}


def test_layer_decay_and_weight_decay() -> None:
    model = Model()
    groups = parameter_groups(
        model, lr=1.0, weight_decay=0.1, depth=3, layer_decay=0.5, backbone_factor=0.2
    )
    got = by_name(model, groups)
    assert len(got) == len(list(model.parameters()))
    assert got["head.weight"] == (1.0, 0.1) and got["head.bias"] == (1.0, 0.0)
    assert got["backbone.net.vit.norm.weight"] == pytest.approx((0.2, 0.0))
    assert got["backbone.net.vit.blocks.2.attn.qkv.weight"] == pytest.approx((0.1, 0.1))
    assert got["backbone.net.vit.blocks.0.attn.qkv.weight"] == pytest.approx((0.025, 0.1))
    assert got["backbone.net.vit.pos_embed"] == pytest.approx((0.0125, 0.0))
    assert got["backbone.levels.p2.0.weight"] == (1.0, 0.1)


def test_frozen_parameters_are_left_out() -> None:
    model = Model()
    model.backbone.net.requires_grad_(False)
    names = by_name(model, parameter_groups(model, lr=1.0, weight_decay=0.1, depth=3))
    assert names and not any(".vit." in name for name in names)
