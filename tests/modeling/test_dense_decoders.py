"""Decoders and the U-Net: sizes at any input, what depends on what, what is refused."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("detectron2")

from detectron2.layers import ShapeSpec
from detectron2.modeling import Backbone

from bccd_d2.modeling.backbones.unet import ResidualUNet
from bccd_d2.modeling.dense.decoders import DECODERS, build_decoder, chosen_shapes
from bccd_d2.modeling.dense.heads import DenseHeads

PYRAMID = {f"p{n}": ShapeSpec(channels=8, stride=2**n) for n in (2, 3, 4)}
SINGLE = {"tokens": ShapeSpec(channels=24, stride=16)}


def maps(shapes: dict[str, ShapeSpec], height: int, width: int) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return {
        name: torch.randn(2, s.channels, height // s.stride, width // s.stride)
        for name, s in shapes.items()
    }


@pytest.mark.parametrize("name", DECODERS)
@pytest.mark.parametrize(("shapes", "strides"), [(SINGLE, (16, 4, 1)), (PYRAMID, (4, 2))])
def test_the_map_has_its_stride(name: str, shapes: dict, strides: tuple[int, ...]) -> None:
    for stride in strides:
        decoder = build_decoder(name, shapes, 6, stride)
        out = decoder(maps(shapes, 64, 96))
        assert out.shape == (2, 6, 64 // stride, 96 // stride)
        assert decoder.out_channels == 6 and decoder.stride == stride
        out.sum().backward()
        used = shapes if name == "fusion" else list(shapes)[:1]
        assert all(p.grad is not None for p in decoder.parameters()) and len(used) >= 1


@pytest.mark.parametrize("name", DECODERS)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_heads_answer_as_they_would_on_the_map(name: str, layout: torch.memory_format) -> None:
    """Also where they look before the pixels of a square lie side by side."""
    heads = DenseHeads(6, ("cell", "flow"))
    for layer in heads.predictors.values():
        torch.nn.init.normal_(layer.weight)
    for stride in (16, 8, 2):
        decoder = build_decoder(name, SINGLE, 6, stride).eval()
        given = {"tokens": maps(SINGLE, 32, 48)["tokens"].contiguous(memory_format=layout)}
        found, wanted = decoder.answered(given, heads), heads(decoder(given))
        assert list(found) == list(wanted)
        for one, other in zip(found.values(), wanted.values(), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_fusion_hears_every_level_and_the_others_the_finest() -> None:
    given = maps(PYRAMID, 32, 32)
    coarse = {**given, "p4": given["p4"] + 1}
    for name in DECODERS:
        decoder = build_decoder(name, PYRAMID, 6, 4).eval()
        with torch.no_grad():
            same = torch.equal(decoder(given), decoder(coarse))
        assert same == (name != "fusion")


def test_what_cannot_be_built_is_refused() -> None:
    with pytest.raises(ValueError, match="DECODER must be one of"):
        build_decoder("pyramid", SINGLE, 8, 4)
    for stride in (3, 32):
        with pytest.raises(ValueError, match="STRIDE must be"):
            build_decoder("stepwise", SINGLE, 8, stride)
    with pytest.raises(ValueError, match="do not exist; there are"):
        chosen_shapes(PYRAMID, ["p2", "p7"])
    assert list(chosen_shapes(PYRAMID, ["p3"])) == ["p3"]
    assert chosen_shapes(PYRAMID, ()) == PYRAMID


@pytest.mark.parametrize(("stem", "size"), [(1, (40, 44)), (2, (70, 75)), (4, (64, 64))])
def test_the_unets_map_covers_the_image(stem: int, size: tuple[int, int]) -> None:
    net = ResidualUNet((8, 12, 16), stem_stride=stem)
    ((name, spec),) = net.output_shape().items()
    out = net(torch.randn(2, 3, *size))[name]
    step = net.size_divisibility
    wanted = [-(-side // step) * step // spec.stride for side in size]
    assert out.shape == (2, spec.channels, *wanted) and spec.stride == stem


def test_every_level_of_the_unet_counts() -> None:
    net = ResidualUNet((8, 12, 16), blocks=2)
    net(torch.randn(1, 3, 32, 32))["unet"].square().sum().backward()
    assert all(float(p.grad.abs().sum()) > 0 for p in net.parameters() if p.ndim > 1)
    with pytest.raises(ValueError, match=r"MODEL\.UNET wants"):
        ResidualUNet((8,), stem_stride=3)


def test_a_validation_loss_leaves_no_trace() -> None:
    """Training mode without gradients normalises by the batch and remembers nothing."""
    net = ResidualUNet((8, 12)).train()
    before = {name: x.clone() for name, x in net.state_dict().items()}
    images = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        still = net(images)["unet"]
    assert all(torch.equal(before[name], x) for name, x in net.state_dict().items())
    torch.testing.assert_close(net(images)["unet"], still)
    assert any(not torch.equal(before[name], x) for name, x in net.state_dict().items())


class Tokens(Backbone):
    """A map of one channel of the given stride, the image's mean in each square."""

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride

    def output_shape(self) -> dict[str, ShapeSpec]:
        return {"tokens": ShapeSpec(channels=3, stride=self.stride)}

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"tokens": torch.nn.functional.avg_pool2d(images, self.stride)}


def test_the_context_joins_the_level_of_its_stride() -> None:
    net = ResidualUNet((8, 12, 16), stem_stride=2, context=Tokens(8)).eval()
    assert net.join[1].out_channels == 12  # of what enters the third level, of stride 8
    images = torch.randn(1, 3, 70, 75)
    told = net(images)["unet"]
    assert told.shape == (1, 8, 36, 40)
    for parameter in net.join.parameters():
        torch.nn.init.zeros_(parameter)
    silent = net(images)["unet"]
    alone = ResidualUNet((8, 12, 16), stem_stride=2).eval()
    alone.load_state_dict(net.state_dict(), strict=False)
    torch.testing.assert_close(silent, alone(images)["unet"])
    assert not torch.allclose(told, silent)


def test_a_context_needs_a_level_of_its_stride() -> None:
    with pytest.raises(ValueError, match=r"none of the ViT's stride 16"):
        ResidualUNet((8, 12, 16), stem_stride=2, context=Tokens(16))
    with pytest.raises(ValueError, match=r"VIT\.ZOOM"):
        ResidualUNet((8, 12), stem_stride=2, context=Tokens(2))
