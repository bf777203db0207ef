"""Published checkpoint layouts load tensor for tensor; anything else is refused."""

from __future__ import annotations

import pytest
import torch

from bccd_d2.modeling.backbones import weights
from bccd_d2.modeling.backbones.presets import PRESETS, get_preset
from bccd_d2.modeling.backbones.vit import create_vit

SMALL = {"embed_dim": 32, "depth": 2, "num_heads": 2}


def make(patch: int = 16, grid: int = 4, **kwargs):
    torch.manual_seed(len(kwargs) + grid)
    vit = create_vit("vit_tiny_patch16_224", **SMALL, patch=patch, grid=grid, **kwargs)
    for parameter in vit.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return vit.eval()


def features(vit, images):
    return vit.forward_features(images)


WRAPPED = {
    "flat": lambda s: s,
    "teacher": lambda s: {"teacher": {f"backbone.{k}": v for k, v in s.items()}
                          | {"dino_head.mlp.0.weight": torch.zeros(2), "backbone.mask_token":
                             torch.zeros(1, 32)}, "iteration": 3},
    "compiled, data parallel": lambda s: {"model": {f"module._orig_mod.{k}": v
                                                    for k, v in s.items()}},
    "encoder": lambda s: {"state_dict": {f"encoder.{k}": v for k, v in s.items()}},
    "with classifier": lambda s: s | {"head.weight": torch.zeros(3, 32)},
    "chunked blocks": lambda s: {k.replace("blocks.", "blocks.0."): v for k, v in s.items()},
}  # fmt: skip


@pytest.mark.parametrize("layout", WRAPPED)
@pytest.mark.parametrize("suffix", [".bin", ".pth"])
def test_layouts_load_exactly(tmp_path, layout: str, suffix: str) -> None:
    source = make(init_values=0.3)
    path = tmp_path / f"weights{suffix}"
    torch.save(WRAPPED[layout](source.state_dict()), path)
    target = make(init_values=0.5)
    report = weights.load_vit_weights(target, str(path))
    assert len(report.matched) == len(source.state_dict())
    assert not (report.resampled or report.missing or report.unexpected)
    images = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(features(target, images), features(source, images), rtol=0, atol=0)


def test_safetensors(tmp_path) -> None:
    from safetensors.torch import save_file

    source = make()
    save_file(source.state_dict(), tmp_path / "model.safetensors")
    target = make(grid=4)
    weights.load_vit_weights(target, str(tmp_path / "model.safetensors"))
    for name, tensor in source.state_dict().items():
        torch.testing.assert_close(target.state_dict()[name], tensor, rtol=0, atol=0)
    (tmp_path / "broken.safetensors").write_bytes(b"abc")
    with pytest.raises(ValueError, match=r"broken\.safetensors"):
        weights.read_state_dict(str(tmp_path / "broken.safetensors"))


def test_patch_14_is_resampled_so_that_scaled_images_give_the_same_tokens(tmp_path) -> None:
    """FlexiViT: the resampled kernel on a smooth image enlarged 16/14 answers like the original."""
    source = make(patch=14)
    torch.save(source.state_dict(), tmp_path / "dino.pth")
    target = make(patch=16)
    report = weights.load_vit_weights(target, str(tmp_path / "dino.pth"))
    assert report.resampled == ["patch_embed.proj.weight"]
    small = torch.nn.functional.interpolate(torch.randn(1, 3, 4, 4), size=56, mode="bicubic")
    large = torch.nn.functional.interpolate(small, size=64, mode="bicubic")
    got, expected = target.patch_embed(large), source.patch_embed(small)
    assert torch.corrcoef(torch.stack([got.flatten(), expected.flatten()]))[0, 1] > 0.99


def test_position_grid_is_resampled(tmp_path) -> None:
    torch.save(make(grid=7).state_dict(), tmp_path / "a.pth")
    report = weights.load_vit_weights(make(grid=4), str(tmp_path / "a.pth"))
    assert report.resampled == ["pos_embed"]


def test_dinov2_names_and_class_position(tmp_path) -> None:
    """DINOv2 with registers: a class position and w12/w3 of the SwiGLU, in the hub's names."""
    kwargs = {"mlp_layer": "SwiGLUPacked", "act_layer": "SiLU", "reg_tokens": 2}
    source = make(**kwargs)  # embeds class and registers, as no published file does
    state = source.state_dict()
    published = {
        k.replace("mlp.fc1", "mlp.w12").replace("mlp.fc2", "mlp.w3"): v for k, v in state.items()
    }
    published["register_tokens"] = published.pop("reg_token")
    published["pos_embed"] = torch.cat([state["pos_embed"][:, :1], state["pos_embed"][:, 3:]], 1)
    torch.save(published, tmp_path / "hub.pth")
    target = make(**kwargs, no_embed_class=True)
    weights.load_vit_weights(target, str(tmp_path / "hub.pth"))
    torch.testing.assert_close(target.cls_token, state["cls_token"] + state["pos_embed"][:, :1])
    torch.testing.assert_close(target.pos_embed, state["pos_embed"][:, 3:])
    torch.testing.assert_close(target.blocks[1].mlp.fc1.weight, state["blocks.1.mlp.fc1.weight"])
    torch.testing.assert_close(target.reg_token, state["reg_token"])


@pytest.mark.parametrize("damage", ["missing", "renamed", "shape"])
def test_a_mismatch_is_refused_and_nothing_is_loaded(tmp_path, damage: str) -> None:
    state = dict(make(init_values=0.3).state_dict())
    gamma = state.pop("blocks.0.ls1.gamma")
    if damage == "renamed":
        state["blocks.0.ls1.scale"] = gamma
    if damage == "shape":
        state["blocks.0.ls1.gamma"] = gamma[:5]
    torch.save(state, tmp_path / "bad.pth")
    target = make(init_values=0.7)
    before = {k: v.clone() for k, v in target.state_dict().items()}
    with pytest.raises(ValueError, match=r"blocks\.0\.ls1\.gamma"):
        weights.load_vit_weights(target, str(tmp_path / "bad.pth"))
    assert all(torch.equal(before[k], v) for k, v in target.state_dict().items())


class Harmful:
    def __reduce__(self):
        return (print, ("code of the file ran",))


def test_pickled_code_is_not_run(tmp_path, capsys) -> None:
    torch.save({"model": Harmful()}, tmp_path / "evil.pth")
    with pytest.raises(ValueError, match="refused"):
        weights.read_state_dict(str(tmp_path / "evil.pth"))
    assert "code of the file ran" not in capsys.readouterr().out


def test_bad_sources_say_what_to_do(tmp_path, monkeypatch) -> None:
    with pytest.raises(FileNotFoundError, match="hf-hub"):
        weights.read_state_dict(str(tmp_path / "none.bin"))
    (tmp_path / "cut.pth").write_bytes(b"PK\x03\x04 cut off")
    with pytest.raises(ValueError, match=r"cut\.pth"):
        weights.read_state_dict(str(tmp_path / "cut.pth"))
    with pytest.raises(ValueError, match="timm knows no model"):
        weights.read_state_dict("timm:vit_nothing")

    def unreachable(*_, **__):
        raise ConnectionError("no route to host")

    monkeypatch.setattr(weights, "hf_hub_download", unreachable)
    with pytest.raises(OSError, match="ask for access at .*MahmoodLab/UNI.* MODEL.VIT.WEIGHTS"):
        weights.read_state_dict("hf-hub:MahmoodLab/UNI")


def test_presets_are_known_to_timm_and_typos_get_a_hint() -> None:
    import timm

    assert all(timm.is_model(preset.architecture) for preset in PRESETS.values())
    assert all(
        timm.is_model(preset.hub.removeprefix("timm:"))
        for preset in PRESETS.values()
        if preset.hub.startswith("timm:")
    )
    with pytest.raises(KeyError, match="did you mean 'uni'"):
        get_preset("unii")
