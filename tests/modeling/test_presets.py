"""Every preset reads what its authors publish, and answers as timm's own model does.

The first half writes down each published file, every tensor's name and shape, from the model cards
alone; how timm's own code reads that file is the reference for ours.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("detectron2")

import timm
import torch
from safetensors.torch import save_file
from timm.layers import SwiGLUPacked
from timm.models.vision_transformer import checkpoint_filter_fn

from bccd_d2.config.load import load_config
from bccd_d2.modeling import build
from bccd_d2.modeling.backbones import weights
from bccd_d2.modeling.backbones.presets import PRESETS, get_preset
from bccd_d2.modeling.backbones.vit import TimmViT, create_vit

State = dict[str, torch.Tensor]
SMALL = {"embed_dim": 32, "depth": 2, "num_heads": 2}
SWIGLU = {"mlp_layer": SwiGLUPacked, "act_layer": torch.nn.SiLU}


@dataclass(frozen=True)
class Published:
    """One model as its card describes it.

    Attributes:
        card: timm arguments of the model card.
        size: embed_dim and depth of the real thing.
        patch: side of a patch.
        tokens: length of the file's position embedding.
        input: side of the images it was trained with.
        ratio: MLP channels over ``embed_dim``; of a SwiGLU both halves together.
        layouts: names of `LAYOUTS` in which it is published.
    """

    architecture: str
    size: tuple[int, int]
    patch: int
    tokens: int
    input: int
    layouts: tuple[str, ...]
    card: dict[str, Any] = field(default_factory=dict)
    ratio: float = 4.0
    swiglu: bool = False
    registers: int = 0
    layer_scale: bool = True


_PLAIN = ("augreg", "mae", "dino", "dino teacher")
_BLOOM = ("dinov2 teacher", "safetensors")
_RED = (*_BLOOM, "flat")
_UNI = {"init_values": 1e-5, "dynamic_img_size": True}
_DINO = {"s": ("small", 384, 12), "b": ("base", 768, 12), "l": ("large", 1024, 24),
         "g": ("giant", 1536, 40)}  # fmt: skip

MODELS = {
    f"vit_{name}": Published(
        f"vit_{name}_patch16_224", size, 16, 197, 224, _PLAIN, layer_scale=False
    )
    for name, size in {"tiny": (192, 12), "small": (384, 12), "base": (768, 12),
                       "large": (1024, 24)}.items()
}  # fmt: skip
MODELS["uni"] = Published("vit_large_patch16_224", (1024, 24), 16, 197, 224, ("flat",), _UNI)
MODELS["uni2h"] = Published(
    "vit_giant_patch14_224", (1536, 24), 14, 256, 224, ("flat",),
    {**_UNI, **SWIGLU, "mlp_ratio": 2.66667 * 2, "no_embed_class": True, "reg_tokens": 8},
    ratio=8192 / 1536, swiglu=True, registers=8,
)  # fmt: skip
MODELS["virchow2"] = Published(
    "vit_huge_patch14_224", (1280, 32), 14, 261, 224, ("flat", "safetensors"),
    {**_UNI, **SWIGLU, "mlp_ratio": 5.3375, "reg_tokens": 4},
    ratio=6832 / 1280, swiglu=True, registers=4,
)  # fmt: skip
MODELS["hoptimus0"] = Published(
    "vit_giant_patch14_reg4_dinov2", (1536, 40), 14, 256, 224, ("flat", "safetensors"), _UNI,
    ratio=8192 / 1536, swiglu=True, registers=4,
)  # fmt: skip
for _letter, (_name, _dim, _depth) in _DINO.items():
    _giant = {"ratio": 8192 / 1536, "swiglu": True} if _letter == "g" else {}
    _arch, _size = f"vit_{_name}_patch14_dinov2", (_dim, _depth)
    MODELS[f"dinov2_{_letter}"] = Published(
        _arch, _size, 14, 1370, 518, ("dinov2", "safetensors"), **_giant
    )
    MODELS[f"dinov2_{_letter}_reg"] = Published(
        f"vit_{_name}_patch14_reg4_dinov2", _size, 14, 1370, 518, ("dinov2",), registers=4, **_giant
    )
    MODELS[f"dinobloom_{_letter}"] = Published(_arch, _size, 14, 257, 224, _BLOOM, **_giant)
    if _letter != "g":
        MODELS[f"reddino_{_letter}"] = Published(_arch, _size, 14, 257, 224, _RED)


def shapes(model: Published, dim: int, depth: int, *, dinov2: bool) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the backbone's tensors, in DINOv2's own words or in timm's."""
    hidden = int(dim * model.ratio + 1e-6)
    out = hidden // 2 if model.swiglu else hidden
    first, second = ("w12", "w3") if dinov2 and model.swiglu else ("fc1", "fc2")
    found = {
        "cls_token": (1, 1, dim),
        "pos_embed": (1, model.tokens, dim),
        "patch_embed.proj.weight": (dim, 3, model.patch, model.patch),
        "patch_embed.proj.bias": (dim,),
        "norm.weight": (dim,),
        "norm.bias": (dim,),
    }
    if model.registers:
        name = "register_tokens" if dinov2 else "reg_token"
        found[name] = (1, model.registers, dim)
    if dinov2:
        found["mask_token"] = (1, dim)
    for index in range(depth):
        block = {
            "norm1.weight": (dim,), "norm1.bias": (dim,),
            "attn.qkv.weight": (3 * dim, dim), "attn.qkv.bias": (3 * dim,),
            "attn.proj.weight": (dim, dim), "attn.proj.bias": (dim,),
            "norm2.weight": (dim,), "norm2.bias": (dim,),
            f"mlp.{first}.weight": (hidden, dim), f"mlp.{first}.bias": (hidden,),
            f"mlp.{second}.weight": (dim, out), f"mlp.{second}.bias": (dim,),
        }  # fmt: skip
        if model.layer_scale:
            block |= {"ls1.gamma": (dim,), "ls2.gamma": (dim,)}
        found |= {f"blocks.{index}.{name}": shape for name, shape in block.items()}
    return found


def is_dinov2(layout: str) -> bool:
    """Whether a layout speaks DINOv2's own words."""
    return layout.startswith("dinov2")


def make_backbone(model: Published, layout: str) -> State:
    """The backbone's tensors of a small file, random and of a size at which each one matters."""
    wanted = shapes(model, SMALL["embed_dim"], SMALL["depth"], dinov2=is_dinov2(layout))
    generator = torch.Generator().manual_seed(len(wanted) + model.tokens)
    return {name: 0.2 * torch.randn(shape, generator=generator) for name, shape in wanted.items()}


def _heads(*names: str) -> State:
    return {f"{name}.mlp.0.weight": torch.ones(4, 32) for name in names}


def _prefixed(prefix: str, state: State) -> State:
    return {f"{prefix}{name}": tensor for name, tensor in state.items()}


# Layout: file suffix, and what stands round the backbone's tensors.
LAYOUTS: dict[str, tuple[str, Callable[[State], dict[str, Any]]]] = {
    "flat": (".bin", lambda s: s),
    "safetensors": (".safetensors", lambda s: s),
    "augreg": (".safetensors", lambda s: s | {"head.weight": torch.ones(1000, 32),
                                              "head.bias": torch.ones(1000)}),
    "mae": (".pth", lambda s: {"model": s}),
    "dino": (".pth", lambda s: s),
    "dino teacher": (".pth", lambda s: {"teacher": _prefixed("backbone.", s) | _heads("head"),
                                        "student": _prefixed("module.backbone.", s), "epoch": 9}),
    "dinov2": (".pth", lambda s: s),
    "dinov2 teacher": (".pth", lambda s: {"teacher": _prefixed("backbone.", s)
                                          | _heads("dino_head", "ibot_head")}),
}  # fmt: skip


def write_file(backbone: State, layout: str, folder: Path) -> str:
    """Write a checkpoint in that layout; answers its path."""
    suffix, wrap = LAYOUTS[layout]
    path = folder / f"weights{suffix}"
    if suffix == ".safetensors":
        save_file(wrap(backbone), path)
    else:
        torch.save(wrap(backbone), path)
    return str(path)


def reference(model: Published, backbone: State) -> torch.nn.Module:
    """timm's own small model of that card, with the tensors put in by timm's own filter."""
    card = {"dynamic_img_size": True} | model.card | SMALL
    vit = timm.create_model(model.architecture, num_classes=0, img_size=model.input, **card)
    vit.load_state_dict(checkpoint_filter_fn(dict(backbone), vit), strict=True)
    return vit.eval()


def ours(name: str, patch: int = 0):
    """The package's small model of a preset, untrained; ``patch`` 0 = as published."""
    preset = get_preset(name)
    options = {**preset.kwargs, **SMALL}
    vit = create_vit(preset.architecture, patch=patch or preset.patch, grid=preset.grid, **options)
    return vit.eval()


CASES = [(name, layout) for name, model in MODELS.items() for layout in model.layouts]


def test_every_preset_is_covered() -> None:
    assert set(MODELS) == set(PRESETS)
    for name, model in MODELS.items():
        preset = get_preset(name)
        assert (preset.patch, preset.patch * preset.grid) == (model.patch, model.input)
        assert preset.hub.startswith(("timm:", "hf-hub:")) and preset.licence
        if preset.hub.startswith("timm:"):
            told = timm.get_pretrained_cfg(preset.hub.removeprefix("timm:"))
            assert (told.mean, told.std) == (preset.mean, preset.std)
            assert told.license == preset.licence.lower()


@pytest.mark.parametrize(("name", "layout"), CASES, ids=["-".join(case) for case in CASES])
def test_features_equal_timms(name: str, layout: str, tmp_path: Path) -> None:
    model = MODELS[name]
    backbone = make_backbone(model, layout)
    theirs, vit = reference(model, backbone), ours(name)
    report = weights.load_vit_weights(vit, write_file(backbone, layout, tmp_path))
    assert report.resampled == [] and len(report.matched) == len(theirs.state_dict())
    side = model.input
    for size in ((side, side), (6 * model.patch, 5 * model.patch)):
        images = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(3))
        with torch.no_grad():
            expected = theirs.forward_features(images)[:, theirs.num_prefix_tokens :]
            got = TimmViT(vit)(images)["tokens"]
        assert expected.std() > 0.1
        assert got.shape[-2:] == (size[0] // model.patch, size[1] // model.patch)
        torch.testing.assert_close(got.flatten(2).transpose(1, 2), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", MODELS)
def test_any_missing_or_renamed_tensor_is_refused(name: str, tmp_path: Path) -> None:
    layout = MODELS[name].layouts[0]
    backbone, vit = make_backbone(MODELS[name], layout), ours(name)
    before = {key: tensor.clone() for key, tensor in vit.state_dict().items()}
    for key in backbone.keys() - {"mask_token"}:
        rest = {k: v for k, v in backbone.items() if k != key}
        for damaged in (rest, rest | {f"{key}_ema": backbone[key]}):
            with pytest.raises(ValueError, match="does not fit the architecture"):
                weights.load_vit_weights(vit, write_file(damaged, layout, tmp_path))
    assert all(torch.equal(before[key], tensor) for key, tensor in vit.state_dict().items())


@pytest.mark.parametrize("name", MODELS)
def test_the_detector_takes_patch_14_at_16(name: str, tmp_path: Path) -> None:
    """Through the config, at stride 16: only the patch kernel is resampled."""
    model, layout = MODELS[name], MODELS[name].layouts[0]
    backbone = make_backbone(model, layout)
    path = write_file(backbone, layout, tmp_path)
    config = load_config(options=[
        "MODEL.VIT.PRESET", name, "MODEL.VIT.WEIGHTS", path, "MODEL.VIT.DEPTH", "2",
        "MODEL.VIT.DIM", "32", "MODEL.VIT.HEADS", "2",
    ])  # fmt: skip
    net = build.vit_from_config(config)
    theirs = reference(model, backbone).state_dict()
    kernel = "patch_embed.proj.weight"
    assert net.vit.state_dict()[kernel].shape == (32, 3, 16, 16)
    for key, tensor in net.vit.state_dict().items():
        if key != kernel or model.patch == 16:
            torch.testing.assert_close(tensor, theirs[key], rtol=0, atol=0)
    assert net(torch.zeros(1, 3, 70, 75))["tokens"].shape == (1, 32, 5, 5)


# What the hubs say of a file: parameters, or bytes of float32 (which include a few kB of names).
MILLIONS = {"uni2h": 681, "virchow2": 631, "reddino_s": 21.6, "reddino_l": 303, "dinobloom_l": 303,
            "dinov2_s": 88.283115 / 4, "dinov2_b": 346.378731 / 4, "dinobloom_b": 343 / 4,
            "hoptimus0": 4540 / 4, "dinobloom_g": 1136, "uni": 303, "vit_base": 86}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_a_file_of_the_real_size_fits(name: str) -> None:
    """Names and shapes of the real file, without its numbers, against the preset's full model."""
    model, preset = MODELS[name], get_preset(name)
    for layout in {is_dinov2(layout): layout for layout in model.layouts}.values():
        with torch.device("meta"):
            file = {
                key: torch.empty(shape)
                for key, shape in shapes(model, *model.size, dinov2=is_dinov2(layout)).items()
            }
            vit = create_vit(
                preset.architecture, patch=preset.patch, grid=preset.grid, **preset.kwargs
            )
            state, left_out = weights.backbone_state(file, vit)
        assert {k: v.shape for k, v in state.items()} == {
            k: v.shape for k, v in vit.state_dict().items()
        }
        assert left_out == (["mask_token"] if is_dinov2(layout) else [])
    count = sum(parameter.numel() for parameter in vit.parameters()) / 1e6
    assert count == pytest.approx(MILLIONS.get(name, count), rel=3e-3)


def test_the_hubs_are_asked_for_what_the_preset_names(monkeypatch, tmp_path: Path) -> None:
    asked = []
    bloom = make_backbone(MODELS["dinobloom_s"], "safetensors")

    save_file(dict(bloom), tmp_path / "model.safetensors")

    def from_hub(repository: str, file: str, **options: Any) -> str:
        asked.append((repository, file, options))
        return str(tmp_path / file)

    monkeypatch.setattr(weights, "hf_hub_download", from_hub)
    weights.load_vit_weights(ours("dinobloom_s"), get_preset("dinobloom_s").hub)
    repository = "1aurent/vit_small_patch14_224.dinobloom"
    assert asked == [(repository, "model.safetensors", {"revision": None})]

    registers = MODELS["dinov2_b_reg"]
    theirs = reference(registers, make_backbone(registers, "dinov2"))

    def from_timm(name: str, **options: Any) -> torch.nn.Module:
        asked.append((name, options))
        return theirs

    vit = ours("dinov2_b_reg")
    monkeypatch.setattr(weights.timm, "create_model", from_timm)
    weights.load_vit_weights(vit, get_preset("dinov2_b_reg").hub)
    assert asked[1] == ("vit_base_patch14_reg4_dinov2", {"pretrained": True, "num_classes": 0})
    torch.testing.assert_close(vit.cls_token, theirs.cls_token)


def test_a_file_with_more_than_tensors_is_refused_by_name(tmp_path: Path) -> None:
    """DINO's full checkpoints carry their command line as a Python object."""
    backbone = make_backbone(MODELS["vit_base"], "dino")
    torch.save({"teacher": backbone, "args": Namespace(lr=1e-3)}, tmp_path / "full.pth")
    with pytest.raises(ValueError, match=r"full\.pth .*argparse\.Namespace"):
        weights.load_vit_weights(ours("vit_base"), str(tmp_path / "full.pth"))
