"""ResNet weights by torchvision's, timm's and detectron2's names; what does not fit is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("detectron2")

from detectron2.modeling import build_backbone
from safetensors.torch import save_file

from bccd_d2.config.load import load_config
from bccd_d2.modeling.backbones.resnet import detectron2_name, load_resnet_weights

OFFLINE = ["MODEL.RESNETS.WEIGHTS", ""]


@pytest.fixture(scope="module")
def published() -> dict[str, torch.Tensor]:
    """torchvision's state dict of a ResNet50, layer by layer as published."""
    import torchvision

    torch.manual_seed(3)
    model = torchvision.models.resnet50(weights=None)
    for name, buffer in model.named_buffers():
        if name.endswith(("mean", "var")):
            buffer.uniform_(0.5, 1.5)
    return model.state_dict()


@pytest.fixture
def backbone(repo_root: Path) -> Callable[..., Any]:
    def build(*options: str) -> Any:
        config = load_config(repo_root / "configs" / "r50fpn_maskrcnn.yaml", [*OFFLINE, *options])
        return build_backbone(config)

    return build


def test_names_are_translated() -> None:
    assert detectron2_name("conv1.weight") == "stem.conv1.weight"
    assert detectron2_name("backbone.body.bn1.bias") == "stem.conv1.norm.bias"
    assert detectron2_name("layer4.2.bn3.running_var") == "res5.2.conv3.norm.running_var"
    assert detectron2_name("layer1.0.downsample.0.weight") == "res2.0.shortcut.weight"
    assert detectron2_name("layer1.0.downsample.1.bias") == "res2.0.shortcut.norm.bias"
    assert detectron2_name("backbone.bottom_up.res3.1.conv2.weight") == "res3.1.conv2.weight"
    for other in ("fc.weight", "bn1.num_batches_tracked", "roi_heads.mask_head.deconv.weight"):
        assert detectron2_name(other) is None


def test_timms_names_are_torchvisions(published) -> None:
    import timm

    names = set(timm.create_model("resnet50", num_classes=0).state_dict())
    assert names == {name for name in published if not name.startswith("fc.")}


def test_torchvisions_file_loads_exactly_and_gives_its_features(
    published, backbone, tmp_path
) -> None:
    import torchvision

    torch.save(published, tmp_path / "resnet50.pth")
    ours = backbone("MODEL.RESNETS.WEIGHTS", str(tmp_path / "resnet50.pth")).eval()
    theirs = torchvision.models.resnet50(weights=None).eval()
    theirs.load_state_dict(published)
    image = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        x = theirs.maxpool(theirs.relu(theirs.bn1(theirs.conv1(image))))
        wanted = theirs.layer2(theirs.layer1(x))
        found = ours.bottom_up(image)["res3"]
    scale = float(wanted.abs().max())
    assert torch.allclose(found, wanted, atol=1e-4 * scale)
    frozen = [p for n, p in ours.bottom_up.named_parameters() if n.startswith(("stem", "res2"))]
    assert not any(p.requires_grad for p in frozen)


def test_detectron2s_names_load_and_the_report_counts(published, backbone, tmp_path) -> None:
    named = {detectron2_name(n): t.contiguous() for n, t in published.items() if detectron2_name(n)}
    prefixed = {f"backbone.bottom_up.{name}": tensor for name, tensor in named.items()}
    save_file(prefixed | {"proposal_generator.x": torch.ones(1)}, tmp_path / "r50.safetensors")
    bottom = backbone("MODEL.RESNETS.NORM", "BN").bottom_up
    report = load_resnet_weights(bottom, str(tmp_path / "r50.safetensors"))
    assert len(report.matched) == len(named) == 265 and report.left_out == ["proposal_generator.x"]
    assert all(torch.equal(bottom.state_dict()[name], tensor) for name, tensor in named.items())


def test_what_does_not_fit_is_refused(published, backbone, tmp_path) -> None:
    path = tmp_path / "resnet50.pth"
    torch.save(published, path)
    with pytest.raises(ValueError, match=r"NORM \"FrozenBN\""):
        backbone("MODEL.RESNETS.NORM", "GN", "MODEL.RESNETS.WEIGHTS", str(path))
    with pytest.raises(ValueError, match="missing"):
        backbone("MODEL.RESNETS.DEPTH", "101", "MODEL.RESNETS.WEIGHTS", str(path))
    with pytest.raises(ValueError, match=r"R-50\.pkl is refused"):
        load_resnet_weights(torch.nn.Identity(), "R-50.pkl")
    with pytest.raises(FileNotFoundError, match=r"MODEL\.RESNETS\.WEIGHTS"):
        load_resnet_weights(torch.nn.Identity(), str(tmp_path / "none.pth"))
    torch.save({"model": [1]}, path)
    with pytest.raises(ValueError, match="no dictionary of tensors"):
        load_resnet_weights(torch.nn.Identity(), str(path))
