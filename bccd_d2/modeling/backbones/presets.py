"""The published backbones: architecture, patch, native grid, normalisation, source and licence.

Each preset states what its authors publish, so that a checkpoint loads tensor for tensor. Patch 14
models are built with patch 16; `weights.load_vit_weights` resamples their kernel.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from typing import Any

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
HALF = (0.5, 0.5, 0.5)


@dataclass(frozen=True)
class Preset:
    """One published backbone.

    Attributes:
        architecture: timm model name.
        patch: side of a published patch in pixels.
        grid: side of the published position embedding in patches.
        hub: where timm can fetch the weights, as `MODEL.VIT.WEIGHTS` takes it.
        kwargs: what the architecture's name leaves open; names of classes are resolved by
            `vit.create_vit`.
        mean: RGB mean in [0, 1] that the weights were trained with.
        std: RGB standard deviation in [0, 1].
        licence: of the weights, by whoever publishes them under ``hub``.
    """

    architecture: str
    patch: int
    grid: int
    hub: str
    kwargs: dict[str, Any] = field(default_factory=dict)
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    licence: str = "Apache-2.0"


_LAYER_SCALE = {"init_values": 1e-5}
_SWIGLU = {"mlp_layer": "SwiGLUPacked", "act_layer": "SiLU"}
_GATED = "CC-BY-NC-ND-4.0, gated"
# The two statements are the authors' own; nothing says which holds.
_REDDINO = "Apache-2.0 (model card) or CC-BY-NC-4.0 (upload script)"


def _plain(size: str) -> Preset:
    # The augreg weights that timm ships under these names were trained with mean = std = 0.5; MAE
    # and DINO weights of the same architecture want ImageNet's.
    architecture = f"vit_{size}_patch16_224"
    return Preset(architecture, 16, 14, f"timm:{architecture}", mean=HALF, std=HALF)


def _dinov2(size: str, suffix: str = "") -> Preset:
    # timm's name stands for LayerScale, registers and, in the giant, SwiGLU of 8192 channels.
    architecture = f"vit_{size}_patch14{suffix}_dinov2"
    return Preset(architecture, 14, 37, f"timm:{architecture}")


def _dinobloom(size: str) -> Preset:
    # The authors publish on Zenodo (record 10908163); the hub holds somebody's conversion of that.
    hub = f"hf-hub:1aurent/vit_{size}_patch14_224.dinobloom"
    return Preset(f"vit_{size}_patch14_dinov2", 14, 16, hub)


def _reddino(size: str) -> Preset:
    hub = f"hf-hub:Snarcy/RedDino-{size}"
    return Preset(f"vit_{size}_patch14_dinov2", 14, 16, hub, licence=_REDDINO)


PRESETS: dict[str, Preset] = {
    "vit_tiny": _plain("tiny"),
    "vit_small": _plain("small"),
    "vit_base": _plain("base"),
    "vit_large": _plain("large"),
    "uni": Preset(
        "vit_large_patch16_224", 16, 14, "hf-hub:MahmoodLab/UNI", dict(_LAYER_SCALE),
        licence=_GATED,
    ),
    "uni2h": Preset(
        "vit_giant_patch14_224", 14, 16, "hf-hub:MahmoodLab/UNI2-h",
        {
            "depth": 24, "num_heads": 24, "embed_dim": 1536, "mlp_ratio": 2.66667 * 2,
            "no_embed_class": True, "reg_tokens": 8, **_LAYER_SCALE, **_SWIGLU,
        },
        licence=_GATED,
    ),
    "virchow2": Preset(
        "vit_huge_patch14_224", 14, 16, "hf-hub:paige-ai/Virchow2",
        {"mlp_ratio": 5.3375, "reg_tokens": 4, **_LAYER_SCALE, **_SWIGLU},
        licence=_GATED,
    ),
    "hoptimus0": Preset(
        "vit_giant_patch14_reg4_dinov2", 14, 16, "hf-hub:bioptimus/H-optimus-0",
        mean=(0.707223, 0.578729, 0.703617), std=(0.211883, 0.230117, 0.177517),
    ),
}  # fmt: skip
for _letter, _size in (("s", "small"), ("b", "base"), ("l", "large"), ("g", "giant")):
    PRESETS[f"dinov2_{_letter}"] = _dinov2(_size)
    PRESETS[f"dinov2_{_letter}_reg"] = _dinov2(_size, "_reg4")
    PRESETS[f"dinobloom_{_letter}"] = _dinobloom(_size)
    if _letter != "g":
        PRESETS[f"reddino_{_letter}"] = _reddino(_size)


def get_preset(name: str) -> Preset:
    """The preset of that name.

    Raises:
        KeyError: no such preset; the message lists all and the nearest.
    """
    if name not in PRESETS:
        near = difflib.get_close_matches(name, PRESETS, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise KeyError(f"MODEL.VIT.PRESET {name!r} is unknown{hint} Known: {sorted(PRESETS)}")
    return PRESETS[name]
