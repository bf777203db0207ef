"""Small backbones that build in milliseconds."""

from __future__ import annotations

import pytest

pytest.importorskip("detectron2")

from bccd_d2.modeling.backbones.vit import create_vit


@pytest.fixture
def small_vit():
    """A function that makes a 3-block, 32-channel ViT with a 4 x 4 position grid."""

    def make(architecture="vit_tiny_patch16_224", **kwargs):
        size = {"embed_dim": 32, "depth": 3, "num_heads": 2, "grid": 4}
        return create_vit(architecture, **{**size, **kwargs}).eval()

    return make
