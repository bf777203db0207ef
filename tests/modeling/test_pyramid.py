"""Strides and sizes of the pyramid, also where the image is no multiple of 32."""

from __future__ import annotations

import pytest
import torch

from bccd_d2.modeling.backbones.norm import ChannelNorm
from bccd_d2.modeling.backbones.pyramid import SimpleFeaturePyramid
from bccd_d2.modeling.backbones.vit import TimmViT


@pytest.mark.parametrize("size", [(64, 64), (70, 75), (33, 200)])
@pytest.mark.parametrize("coarsest", [5, 6])
def test_real_outputs_match_output_shape(small_vit, size: tuple[int, int], coarsest: int) -> None:
    pyramid = SimpleFeaturePyramid(TimmViT(small_vit()), out_channels=24, coarsest=coarsest)
    features = pyramid(torch.randn(1, 3, *size))
    shapes = pyramid.output_shape()
    assert list(features) == list(shapes) == [f"p{n}" for n in range(2, coarsest + 1)]
    step = pyramid.size_divisibility
    padded = [-(-n // step) * step for n in size]
    for name, feature in features.items():
        stride = shapes[name].stride
        assert feature.shape == (1, 24, padded[0] // stride, padded[1] // stride)
        assert feature.shape[2] * stride >= size[0] and feature.shape[3] * stride >= size[1]


@pytest.mark.parametrize("coarsest", [3, 5])
def test_the_stem_adds_a_stride_two_level_and_sharpens_p2(small_vit, coarsest: int) -> None:
    torch.manual_seed(0)
    net = TimmViT(small_vit())
    pyramid = SimpleFeaturePyramid(net, out_channels=24, coarsest=coarsest, stem_channels=8)
    features, shapes = pyramid(torch.randn(1, 3, 70, 75)), pyramid.output_shape()
    assert list(features) == list(shapes) == [f"p{n}" for n in range(1, coarsest + 1)]
    step = pyramid.size_divisibility
    padded = [-(-n // step) * step for n in (70, 75)]
    for name, feature in features.items():
        stride, channels = shapes[name].stride, shapes[name].channels
        assert feature.shape == (1, channels, padded[0] // stride, padded[1] // stride)
    assert shapes["p1"].channels == 8
    features["p2"].sum().backward()
    assert all(p.grad is not None for p in pyramid.stem.parameters())


def test_a_unet_stem_sharpens_every_level_and_listens_to_the_tokens(small_vit) -> None:
    torch.manual_seed(0)
    net = TimmViT(small_vit())
    pyramid = SimpleFeaturePyramid(net, out_channels=24, stem_channels=8, unet=True).eval()
    image = torch.randn(1, 3, 70, 75)
    features, shapes = pyramid(image), pyramid.output_shape()
    assert list(features) == list(shapes) == [f"p{n}" for n in range(1, 6)]
    for name, feature in features.items():
        stride, channels = shapes[name].stride, shapes[name].channels
        assert feature.shape == (1, channels, 96 // stride, 96 // stride)
    # A pixel that no token sees: what is left of its change comes by the stem alone.
    seen = net(torch.zeros(1, 3, 96, 96))
    net.forward = lambda images: seen
    before, after = pyramid(image), pyramid(torch.where(image > 2, 0.0, image))
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved == {"p1", "p2", "p3", "p4"}
    net.forward = lambda images: {"tokens": seen["tokens"] + torch.randn_like(seen["tokens"])}
    assert not torch.equal(pyramid(image)["p1"], before["p1"])


def test_cells_at_the_lower_right_reach_the_features(small_vit) -> None:
    """Upstream's pyramid drops them at 70 x 75 (its padding constraint is misspelt)."""
    pyramid = SimpleFeaturePyramid(TimmViT(small_vit()), out_channels=24)
    image = torch.zeros(1, 3, 70, 75)
    marked = image.clone()
    marked[..., 65:, 70:] = 5.0
    before, after = pyramid(image)["p2"], pyramid(marked)["p2"]
    assert (after - before)[..., 70 // 4, 75 // 4].abs().max() > 1e-3


def test_channel_norm_equals_layer_norm_over_channels() -> None:
    norm = ChannelNorm(8)
    x = torch.randn(2, 8, 3, 5)
    expected = (x - x.mean(1, keepdim=True)) / torch.sqrt(x.var(1, False, keepdim=True) + 1e-6)
    torch.testing.assert_close(norm(x), expected, rtol=1e-4, atol=1e-5)


def test_other_strides_are_refused(small_vit) -> None:
    with pytest.raises(ValueError, match="stride 16"):
        SimpleFeaturePyramid(TimmViT(small_vit(patch=14)))
    with pytest.raises(ValueError, match="COARSEST"):
        SimpleFeaturePyramid(TimmViT(small_vit()), coarsest=7)
