"""Slivers at the border, what annotators leave out, and pixels that nobody labelled."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

pytest.importorskip("detectron2")

from bccd_d2.masks.decode import DecodeOptions
from bccd_d2.masks.encode import encode_flow
from bccd_d2.modeling.backbones.unet import ResidualUNet
from bccd_d2.modeling.dense.answer import AnswerOptions, to_cells
from bccd_d2.modeling.dense.decoders import build_decoder
from bccd_d2.modeling.dense.heads import DenseHeads
from bccd_d2.modeling.dense.losses import DenseLosses
from bccd_d2.modeling.dense.segmentor import DenseSegmentor


def _two_discs() -> dict[str, np.ndarray]:
    """Maps of a whole disc in the middle and a sliver at the left edge, both certain."""
    rows, columns = np.mgrid[:80, :120]
    labels = np.zeros((80, 120), np.int32)
    labels[(rows - 40) ** 2 + (columns - 70) ** 2 <= 20**2] = 1
    labels[(rows - 40) ** 2 + (columns + 14) ** 2 <= 20**2] = 2
    cell = (labels > 0).astype(np.float32)[None]
    return {"cell": cell, "flow": encode_flow(labels), "labels": labels}


def test_slivers_have_a_least_area_of_their_own():
    maps = _two_discs()
    sliver = int((maps.pop("labels") == 2).sum())
    options = AnswerOptions(decode=DecodeOptions(method="flow", min_area=sliver + 50))
    assert len(to_cells(maps, (80, 120), options)) == 1
    kept = to_cells(maps, (80, 120), replace(options, sliver_area=sliver - 50))
    assert len(kept) == 2
    assert len(to_cells(maps, (80, 120), replace(options, sliver_area=sliver + 20))) == 1


def test_the_discount_of_the_border_is_for_large_fields():
    maps = _two_discs()
    del maps["labels"]
    options = AnswerOptions(
        decode=DecodeOptions(method="flow", min_area=20), border_area=1000.0, border_field=80.0
    )
    assert to_cells(maps, (80, 120), options).scores.min() < 0.5
    crop = replace(options, border_field=81.0)
    assert to_cells(maps, (80, 120), crop).scores.min() > 0.9


def test_what_annotators_do_not_count_scores_less():
    maps = _two_discs()
    left_out = maps.pop("labels") == 2
    maps["counted"] = np.where(left_out, 0.25, 1.0).astype(np.float32)[None]
    options = AnswerOptions(decode=DecodeOptions(method="flow", min_area=20), counted=0.5)
    scores = to_cells(maps, (80, 120), options).scores
    assert scores.tolist() == pytest.approx([1, 0.5], abs=0.02)
    assert to_cells(maps, (80, 120), replace(options, counted=0.0)).scores.min() > 0.9
    grey = np.full((80, 120, 3), 200, np.uint8)
    alike = replace(options, counted_where=(190,) * 6 + (210,) * 6)
    other = replace(options, counted_where=(210,) * 6 + (220,) * 6)
    assert to_cells(maps, (80, 120), alike, grey).scores.tolist() == scores.tolist()
    for image, where in ((grey, other), (None, alike)):
        assert to_cells(maps, (80, 120), where, image).scores.min() > 0.9
    with pytest.raises(ValueError, match="6 lows and as many highs"):
        AnswerOptions(counted_where=(1.0,))


def test_unlabelled_pixels_count_in_no_loss():
    model, target = _tiny_counted()
    image = torch.zeros(3, 32, 32, dtype=torch.uint8)
    valid = torch.ones(32, 32)
    valid[:, 16:] = 0
    given = {"image": image, "dense": {**target, "valid": valid}}
    wrong = {**target, "cell": target["cell"].clone()}
    wrong["cell"][:, 16:] = 1 - wrong["cell"][:, 16:]
    other = {"image": image, "dense": {**wrong, "valid": valid}}
    model.train()
    assert float(model([given])["loss_cell"]) == pytest.approx(float(model([other])["loss_cell"]))


def test_the_counted_head_learns_from_known_pixels_alone():
    losses = DenseLosses(("cell", "counted"), ("bce", "bce"))
    logits = {name: torch.zeros(1, 1, 4, 4) for name in ("cell", "counted")}
    target = {"cell": torch.zeros(1, 1, 4, 4), "counted": torch.full((1, 1, 4, 4), -1.0)}
    assert float(losses(logits, target)["loss_counted"]) == 0
    target["counted"][0, 0, 0, 0] = 0
    assert float(losses(logits, target)["loss_counted"]) == pytest.approx(np.log(2))


def _tiny_counted():
    backbone = ResidualUNet((4, 8))
    decoder = build_decoder("shuffle", backbone.output_shape(), 4, 1)
    heads = DenseHeads(decoder.out_channels, ("cell", "counted"))
    losses = DenseLosses(("cell", "counted"), ("bce", "bce"))
    model = DenseSegmentor(
        backbone, decoder, heads, losses, in_features=("unet",), pixels=((0.0,) * 3, (1.0,) * 3)
    )
    maps = {"cell": torch.zeros(32, 32), "counted": torch.full((32, 32), -1.0)}
    maps["cell"][8:24, 4:20] = 1
    return model, maps
