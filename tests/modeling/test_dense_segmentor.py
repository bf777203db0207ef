"""The dense model: tiles equal the whole, padding costs nothing, answers like a detector's."""

from __future__ import annotations

import numpy as np
import pytest
import torch

pytest.importorskip("detectron2")

from detectron2.layers import ShapeSpec
from detectron2.modeling import Backbone
from torch import nn

from bccd_d2.masks.cells import Cells
from bccd_d2.masks.decode import DecodeOptions
from bccd_d2.masks.encode import encode
from bccd_d2.masks.labels import cell_areas
from bccd_d2.modeling.dense.answer import AnswerOptions, agreement, completeness, to_cells
from bccd_d2.modeling.dense.blend import blend_tiles, gaussian_weights, tile_starts
from bccd_d2.modeling.dense.decoders import build_decoder
from bccd_d2.modeling.dense.heads import DenseHeads, answers
from bccd_d2.modeling.dense.losses import DenseLosses
from bccd_d2.modeling.dense.segmentor import DenseSegmentor, Tiles


class OneConvolution(Backbone):
    """Sees 3 x 3 pixels around each, wherever it is."""

    size_divisibility = 1

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 8, 3, padding=1)

    def output_shape(self) -> dict[str, ShapeSpec]:
        return {"map": ShapeSpec(channels=8, stride=1)}

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"map": self.layer(images)}


def make(heads=("cell", "flow"), specs=("dice + bce", "flow_mse"), **options) -> DenseSegmentor:
    torch.manual_seed(0)
    backbone = OneConvolution()
    decoder = build_decoder("shuffle", backbone.output_shape(), 8, 1)
    model = DenseSegmentor(
        backbone, decoder, DenseHeads(8, heads), DenseLosses(heads, specs),
        in_features=("map",), pixels=([120.0] * 3, [60.0] * 3), **options,
    )  # fmt: skip
    for layer in model.heads.predictors.values():
        nn.init.normal_(layer.weight)
    return model


def picture(height: int, width: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (3, height, width), generator=generator, dtype=torch.uint8)


def two_cells() -> np.ndarray:
    label_map = np.zeros((60, 80), dtype=np.int32)
    rows, columns = np.mgrid[:60, :80]
    for label, x in ((1, 26), (2, 51)):
        label_map[(rows - 30) ** 2 + (columns - x) ** 2 < 13**2] = label
    return label_map


def perfect_maps(label_map: np.ndarray, *names: str) -> dict[str, np.ndarray]:
    maps = encode(label_map, ("cell", *names))
    return {name: x if x.ndim == 3 else x[None] for name, x in maps.items()}


@pytest.mark.parametrize(("tile", "overlap"), [(32, 12), (24, 4), (200, 50)])
def test_tiles_equal_the_whole_but_for_their_rims(tile: int, overlap: int) -> None:
    """A pixel whose 3 x 3 neighbours lie in every tile that shows it has the same answer."""
    height, width = 70, 75
    image = picture(height, width)
    with torch.no_grad():
        whole = make().eval().maps(image)
        tiled = make(tiles=Tiles(tile, overlap, 3)).eval().maps(image)
    rims = []
    for length in (height, width):
        rim = torch.zeros(length, dtype=torch.bool)
        for start in tile_starts(length, tile, overlap):
            rim[start] |= start > 0
            rim[min(start + tile, length) - 1] |= start + tile < length
        rims.append(rim)
    inner = ~(rims[0][:, None] | rims[1][None, :])
    assert inner.float().mean() > 0.7
    for name, expected in whole.items():
        assert tiled[name].shape == expected.shape == ({"cell": 1, "flow": 2}[name], 70, 75)
        torch.testing.assert_close(tiled[name][:, inner], expected[:, inner])
        if tile < 75:
            assert not torch.equal(tiled[name], expected)


def test_blending_what_needs_no_context_changes_nothing() -> None:
    images = torch.randn(1, 2, 53, 41)
    for tile, overlap in ((16, 8), (16, 0), (64, 30)):
        blended = blend_tiles(images, lambda x: 2 * x, tile=tile, overlap=overlap, batch=5)
        torch.testing.assert_close(blended, 2 * images)
    with pytest.raises(ValueError, match="OVERLAP"):
        blend_tiles(images, lambda x: x, tile=16, overlap=16)


def test_tiles_cover_evenly_and_weights_fall_from_the_middle() -> None:
    assert tile_starts(10, 16, 4) == [0] and tile_starts(16, 16, 4) == [0]
    starts = tile_starts(100, 32, 8)
    assert starts[0] == 0 and starts[-1] == 68 and max(np.diff(starts)) <= 24
    weights = gaussian_weights(9)
    assert weights.argmax() == 40 and float(weights.min()) >= 1e-3
    torch.testing.assert_close(weights, weights.flip(0).T)


def test_padding_of_smaller_crops_costs_nothing() -> None:
    label_map = two_cells()

    def given(height: int, width: int) -> dict:
        crop = label_map[:height, :width]
        dense = {k: torch.from_numpy(v) for k, v in encode(crop, ("cell", "flow")).items()}
        return {"image": picture(height, width), "dense": dense}

    model = make(specs=("bce", "flow_mse")).train()
    large, small = given(60, 80), given(44, 50)
    both = model([large, small])["loss_cell"]
    parts = [(model([one])["loss_cell"], one["dense"]["cell"].numel()) for one in (large, small)]
    expected = sum(value * count for value, count in parts) / sum(count for _, count in parts)
    # The one row and column beside the padding see its zeros, as they see those at the border.
    torch.testing.assert_close(both, expected, rtol=1e-5, atol=1e-6)
    with pytest.raises(KeyError, match="dense"):
        model([{"image": picture(8, 8)}])


def test_flows_are_learned_inside_of_cells_only() -> None:
    losses = DenseLosses(("cell", "flow"), ("bce", "flow_mse"), weights=(1, 2))
    cell = torch.zeros(1, 1, 4, 4)
    cell[..., :2] = 1
    target = {"cell": cell, "flow": torch.ones(1, 2, 4, 4) * cell}
    wrong_outside = {"cell": torch.zeros(1, 1, 4, 4), "flow": target["flow"] + 5 * (1 - cell)}
    found = losses(wrong_outside, target)
    assert float(found["loss_flow"]) == 0
    found = losses({**wrong_outside, "flow": torch.zeros(1, 2, 4, 4)}, target)
    assert float(found["loss_flow"]) == pytest.approx(2 * 2)


def test_raised_pixels_and_learned_weights() -> None:
    heads, specs = ("cell", "boundary"), ("bce", "bce(pos_weight=2)")
    plain = DenseLosses(heads, specs)
    raised = DenseLosses(heads, specs, raised={"boundary": 3.0, "centre": 1.0})
    assert plain.targets == raised.targets == heads
    assert DenseLosses(("cell",), ("bce",), raised={"centre": 2.0}).targets == ("cell", "centre")
    boundary = torch.zeros(1, 1, 4, 4)
    boundary[..., 0] = 1
    targets = {"cell": boundary, "boundary": boundary}  # all of the error is on the boundary
    logits = {"cell": torch.full((1, 1, 4, 4), -4.0), "boundary": torch.zeros(1, 1, 4, 4)}
    assert raised(logits, targets)["loss_cell"] > 1.5 * plain(logits, targets)["loss_cell"]
    learned = DenseLosses(heads, specs, weighting="uncertainty")
    sum(learned(logits, targets).values()).backward()
    assert learned.weights.log_variances.grad.abs().min() > 0
    for bad in ({"specs": ("bce",)}, {"weights": (1.0,)}, {"weighting": "equal"}):
        with pytest.raises(ValueError, match=r"MODEL\.DENSE"):
            DenseLosses(heads, **{"specs": specs, **bad})


def test_heads_are_checked_and_rare_classes_begin_rare() -> None:
    heads = DenseHeads(4, ("cell", "boundary", "flow"))
    found = answers(heads(torch.zeros(1, 4, 3, 3)))
    assert float(found["cell"].mean()) == pytest.approx(0.5)
    assert float(found["boundary"].mean()) == pytest.approx(0.05, abs=1e-3)
    assert found["flow"].shape == (1, 2, 3, 3) and not found["flow"].any()
    for names in (("boundary",), ("cell", "cell"), ("cell", "nucleus")):
        with pytest.raises(ValueError, match=r"MODEL\.DENSE\.HEADS"):
            DenseHeads(4, names)


@pytest.mark.parametrize("method", ["flow", "watershed", "boundary"])
@pytest.mark.parametrize("scale", [1, 2])
def test_maps_become_cells_in_the_images_frame(method: str, scale: int) -> None:
    label_map = two_cells()
    maps = perfect_maps(label_map, "flow", "boundary", "centre")
    maps["cell"] = maps["cell"] * np.where(label_map == 2, 0.7, 0.9)
    options = AnswerOptions(DecodeOptions(method=method), max_cells=10)
    cells = to_cells(maps, (60 * scale, 80 * scale), options)
    assert cells.image_size == (60 * scale, 80 * scale) and len(cells) == 2
    assert cells.scores.tolist() == pytest.approx([0.9, 0.7], abs=0.02)
    assert cells.class_ids.tolist() == [0, 0]
    true = Cells.from_label_map(label_map)
    assert cells.areas.tolist() == pytest.approx((true.areas * scale**2).tolist(), rel=0.05)
    np.testing.assert_allclose(cells.boxes, true.boxes * scale, atol=scale)


def test_nothing_found_and_the_cap() -> None:
    label_map = two_cells()
    options = AnswerOptions(DecodeOptions(method="threshold"), max_cells=1)
    empty = to_cells({"cell": np.zeros((1, 60, 80), np.float32)}, (120, 160), options)
    assert len(empty) == 0 and empty.image_size == (120, 160)
    assert len(to_cells(perfect_maps(label_map), (60, 80), options)) == 1
    with pytest.raises(ValueError, match=r"MODEL\.DENSE\.SCORE"):
        AnswerOptions(score="iou")


def test_agreement_tells_a_true_outline_from_merged_cells() -> None:
    label_map = two_cells()
    maps = perfect_maps(label_map, "flow")
    assert agreement(label_map, maps).min() > 0.99
    merged = (label_map > 0).astype(np.int32)
    assert agreement(merged, maps)[0] < 0.8
    assert agreement(label_map, perfect_maps(label_map)).tolist() == [1, 1]
    maps = perfect_maps(label_map, "distance")
    maps["distance"] = maps["distance"][0]
    assert agreement(label_map, maps).min() > 0.99
    torn = label_map.copy()
    torn[:30][label_map[:30] == 1] = 3
    found = agreement(torn, maps)
    assert found[1] > 0.99 and max(found[0], found[2]) < 0.8
    assert agreement(np.zeros_like(label_map), maps).shape == (0,)


def test_a_sliver_at_the_images_edge_loses_score() -> None:
    label_map = two_cells()[:, 20:]  # the first cell has lost its left part
    areas = cell_areas(label_map)
    assert completeness(label_map, 0).tolist() == [1, 1]
    assert completeness(label_map, 2 * areas[0]).tolist() == [0.5, 1]
    assert completeness(label_map, areas[0] / 2).tolist() == [1, 1]
    options = AnswerOptions(DecodeOptions(method="threshold"), border_area=4 * float(areas.sum()))
    maps = {"cell": (label_map > 0)[None].astype(np.float32)}
    maps["cell"][:, :, 18:19] = 0  # cut the two cells apart
    found = to_cells(maps, label_map.shape, options)
    assert found.scores[0] == 1 and 0 < found.scores[1] < 0.25
    with pytest.raises(ValueError, match="BORDER_AREA"):
        AnswerOptions(border_area=-1)
