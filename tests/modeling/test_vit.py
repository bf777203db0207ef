"""The wrapped ViT equals timm's own; windows see what they should; sizes are never lost."""

from __future__ import annotations

import pytest
import torch

from bccd_d2.modeling.backbones.vit import TimmViT, create_vit
from bccd_d2.modeling.backbones.window_attention import from_windows, padding_bias, to_windows

VARIANTS = {
    "plain": ("vit_tiny_patch16_224", {}),
    "layer scale": ("vit_tiny_patch16_224", {"init_values": 0.3}),
    "registers": ("vit_small_patch14_reg4_dinov2", {"init_values": 0.3}),
    "swiglu": (
        "vit_tiny_patch16_224",
        {"mlp_layer": "SwiGLUPacked", "act_layer": "SiLU", "reg_tokens": 3, "no_embed_class": True},
    ),
}


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("size", [(64, 64), (96, 48)])
def test_features_equal_timms(small_vit, variant: str, size: tuple[int, int]) -> None:
    architecture, kwargs = VARIANTS[variant]
    vit = small_vit(architecture, **kwargs)
    images = torch.randn(2, 3, *size)
    expected = vit.forward_features(images)[:, vit.num_prefix_tokens :]
    got = TimmViT(vit)(images)["tokens"]
    assert got.shape == (2, 32, size[0] // 16, size[1] // 16)
    torch.testing.assert_close(got.flatten(2).transpose(1, 2), expected, rtol=1e-5, atol=1e-5)


def test_one_window_over_the_whole_image_equals_global_attention(small_vit) -> None:
    vit = small_vit(init_values=0.3)
    images = torch.randn(2, 3, 64, 64)
    whole, windowed = TimmViT(vit)(images), TimmViT(vit, window_size=4)(images)
    torch.testing.assert_close(whole["tokens"], windowed["tokens"], rtol=1e-4, atol=1e-5)


def test_padding_a_window_changes_nothing(small_vit) -> None:
    """A window larger than the image is padded; the padding must not be attended to."""
    vit = small_vit(init_values=0.3)
    images = torch.randn(1, 3, 48, 64)
    whole, windowed = TimmViT(vit)(images), TimmViT(vit, window_size=5)(images)
    torch.testing.assert_close(whole["tokens"], windowed["tokens"], rtol=1e-4, atol=1e-5)


def test_windows_are_blind_to_each_other_until_a_global_block(small_vit) -> None:
    vit = small_vit(class_token=False, no_embed_class=True)
    images = torch.randn(1, 3, 64, 128)
    changed = images.clone()
    changed[..., 64:] += 1.0
    for blocks, differs in (((), False), ((1,), True)):
        net = TimmViT(vit, window_size=4, global_blocks=blocks, position="tile")
        left = [net(x)["tokens"][..., :4] for x in (images, changed)]
        assert torch.allclose(*left, atol=1e-6) != differs


def test_tiled_positions_repeat_with_the_grid(small_vit) -> None:
    net = TimmViT(small_vit(), position="tile")
    positions = net._positions(net.vit.pos_embed, (6, 9), 1)[:, 1:].reshape(6, 9, 32)
    torch.testing.assert_close(positions[:2, :4], positions[4:, :4])
    torch.testing.assert_close(positions[:4, :4], positions[:4, 4:8])
    torch.testing.assert_close(
        positions[:4, :4].reshape(16, 32), net.vit.pos_embed[0, 1:], rtol=0, atol=0
    )


def test_window_round_trip_and_bias() -> None:
    tokens = torch.randn(2, 5, 7, 3)
    windows = to_windows(tokens, 3)
    assert windows.shape == (2 * 2 * 3, 9, 3)
    torch.testing.assert_close(from_windows(windows, 3, (5, 7)), tokens)
    bias = padding_bias((5, 7), 3, tokens, prefix=2)
    assert bias.shape == (6, 1, 1, 11)
    assert torch.isinf(bias).sum() == 6 * 9 - 35
    assert padding_bias((6, 9), 3, tokens) is None


def test_frozen_vit_stays_in_eval_mode_and_gets_no_gradient(small_vit) -> None:
    net = TimmViT(small_vit(drop_path_rate=0.5), frozen=True).train()
    images = torch.randn(1, 3, 64, 64)
    assert not net.vit.training
    torch.testing.assert_close(net(images)["tokens"], net(images)["tokens"])
    assert not any(p.requires_grad for p in net.parameters())


def test_activation_checkpointing_gives_the_same_gradients(small_vit) -> None:
    vit = small_vit(init_values=0.3)
    images = torch.randn(1, 3, 64, 96)
    gradients = []
    for checkpointing in (False, True):
        net = TimmViT(vit, window_size=3, activation_checkpointing=checkpointing)
        vit.zero_grad()
        net(images)["tokens"].square().mean().backward()
        gradients.append(vit.blocks[0].attn.qkv.weight.grad.clone())
    assert gradients[0].abs().sum() > 0
    torch.testing.assert_close(*gradients)


def test_errors_name_the_argument(small_vit) -> None:
    with pytest.raises(ValueError, match="POSITION"):
        TimmViT(small_vit(), position="pad")
    with pytest.raises(ValueError, match="global blocks"):
        TimmViT(small_vit(), global_blocks=(3,))
    with pytest.raises(ValueError, match="timm knows no model"):
        create_vit("vit_nothing", grid=4)
    with pytest.raises(ValueError, match="plain ViT"):
        create_vit("swin_tiny_patch4_window7_224", grid=14, patch=4)


def test_a_zoomed_vit_sees_the_enlarged_image(small_vit) -> None:
    vit = small_vit()
    images = torch.randn(1, 3, 32, 48)
    larger = torch.nn.functional.interpolate(images, scale_factor=2, mode="bilinear")
    net = TimmViT(vit, zoom=2)
    assert net.output_shape()["tokens"].stride == net.size_divisibility == 8
    torch.testing.assert_close(net(images)["tokens"], TimmViT(vit)(larger)["tokens"])
    with pytest.raises(ValueError, match="ZOOM must be 1, 2 or 4"):
        TimmViT(vit, zoom=3)


def test_tokens_of_images_that_come_again_are_kept(small_vit, monkeypatch) -> None:
    vit = small_vit()
    net = TimmViT(vit, frozen=True, cache_mb=1).train()
    images = torch.randn(3, 3, 32, 48)
    wanted = TimmViT(vit, frozen=True)(images)["tokens"]
    seen: list[int] = []
    compute = net._tokens
    monkeypatch.setattr(net, "_tokens", lambda x: (seen.append(len(x)), compute(x))[1])
    for batch in ([0, 1], [1, 2], [2, 0, 2], [1, 1]):
        got = net(images[batch])["tokens"]
        torch.testing.assert_close(got, wanted[batch], rtol=1e-3, atol=2e-3)  # half precision
    assert seen == [2, 1]  # each image once
    net.eval()(images)
    assert seen == [2, 1, 3]  # whole images in use are not kept
    turned = images.transpose(2, 3)  # the same pixels in another order
    net.train()(turned)
    assert seen[-1] == 3


def test_a_token_cache_is_bounded_and_for_a_frozen_vit(small_vit) -> None:
    vit = small_vit()
    one = 32 * 2 * 3 * 2 / 1e6  # MB of an image's tokens in half precision
    net = TimmViT(vit, frozen=True, cache_mb=2.5 * one).train()
    net(torch.randn(4, 3, 32, 48))
    assert len(net._cache) == 2
    with pytest.raises(ValueError, match="CACHE_MB keeps tokens of a frozen ViT"):
        TimmViT(vit, cache_mb=1)
