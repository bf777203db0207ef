"""Feeding an image in three ways, and token maps as colours."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bccd_d2.modeling.backbones.features import image_tokens, principal_colours
from bccd_d2.modeling.backbones.vit import TimmViT


def test_the_feeds_agree_on_an_image_of_the_native_size(small_vit) -> None:
    net = TimmViT(small_vit())
    image = torch.randn(3, 64, 64)
    expected = net(image[None])["tokens"][0]
    for feed in ("resize", "pad", "tile"):
        torch.testing.assert_close(image_tokens(net, image, feed), expected)


def test_a_tile_does_not_see_its_neighbours_but_a_padded_image_is_whole(small_vit) -> None:
    net = TimmViT(small_vit())
    image = torch.randn(3, 70, 130)
    changed = image.clone()
    changed[:, :, 64:] += 1
    for feed, same in (("tile", True), ("pad", False)):
        left, right = (image_tokens(net, x, feed) for x in (image, changed))
        assert left.shape == (32, 5, 9)
        assert torch.allclose(left[..., :4], right[..., :4], atol=1e-6) == same
    assert image_tokens(net, image, "resize").shape == (32, 4, 4)
    with pytest.raises(ValueError, match="feed must be one of"):
        image_tokens(net, image, "crop")


def test_colours_follow_the_components_and_are_shared() -> None:
    """Tokens on a known plane: red varies along its longest axis, and two maps share the scale."""
    rng = np.random.default_rng(0)
    axes = np.linalg.qr(rng.normal(size=(8, 8)))[0][:3]
    ramp = np.linspace(-1, 1, 400)
    scores = np.stack([9 * ramp, 3 * rng.permutation(ramp), rng.permutation(ramp)])
    tokens = torch.from_numpy((axes.T @ scores + 5).reshape(8, 20, 20))
    whole, half = principal_colours([tokens, tokens[:, :10]])
    assert whole.shape == (20, 20, 3) and whole.dtype == np.uint8
    np.testing.assert_array_equal(half, whole[:10])
    red = whole[..., 0].ravel().astype(float)
    assert abs(np.corrcoef(red, ramp)[0, 1]) > 0.999
    with pytest.raises(ValueError, match="at least 3 channels"):
        principal_colours([tokens, tokens[:4]])


def test_a_map_without_contrast_has_one_colour() -> None:
    assert len(np.unique(principal_colours([torch.ones(4, 3, 3)])[0])) == 1
