"""A trained model is complete in itself: no hub is asked, no earlier file is read."""

from __future__ import annotations

import socket
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("detectron2")

from bccd_d2 import load_pretrained
from bccd_d2.config.files import find_config
from bccd_d2.config.load import finalize, load_config
from bccd_d2.modeling.backbones import weights
from bccd_d2.modeling.build import build_model
from bccd_d2.models.checkpoint import CellCheckpointer
from bccd_d2.models.export import export_run
from bccd_d2.models.file import (
    STARTS,
    find_pretrained,
    read_description,
    stored_tensors,
    write_model_file,
)
from bccd_d2.models.load import load_model, meant_weights, without_starts
from bccd_d2.models.point import OperatingPoint
from bccd_d2.models.preprocessing import Preprocessing

from ..small import SMALL_DETECTOR

RESNET = ["MODEL.DEVICE", "cpu", "INPUT.STAIN.METHOD", "", "MODEL.RESNETS.NORM", "BN",
          "MODEL.RESNETS.WIDTH_PER_GROUP", "8",
          "MODEL.RESNETS.STEM_OUT_CHANNELS", "32", "MODEL.RESNETS.RES2_OUT_CHANNELS", "32",
          "MODEL.FPN.OUT_CHANNELS", "32", "MODEL.ROI_BOX_HEAD.FC_DIM", "32",
          "MODEL.ROI_MASK_HEAD.CONV_DIM", "32"]  # fmt: skip
GIVEN = {  # config, options, and the start of its backbone
    "resnet": ("r50fpn_maskrcnn", RESNET, "MODEL.RESNETS.WEIGHTS", "timm:resnet50.tv_in1k"),
    "vit": ("cpu_tiny_maskrcnn", SMALL_DETECTOR, "MODEL.VIT.WEIGHTS", "hf-hub:MahmoodLab/UNI"),
    "moved": ("cpu_tiny_maskrcnn", SMALL_DETECTOR, "MODEL.VIT.WEIGHTS", "/moved/away.pth"),
}


@pytest.fixture(params=GIVEN)
def run(request, tmp_path: Path, repo_root: Path) -> Path:
    """The folder of a run that began from published weights."""
    name, options, key, value = GIVEN[request.param]
    config = finalize(load_config(repo_root / "configs" / f"{name}.yaml", [*options, key, value]))
    torch.manual_seed(0)
    parts = {"operating_point": OperatingPoint(0.4, "x"), "treatment": Preprocessing.of(config)}
    CellCheckpointer(build_model(without_starts(config)), str(tmp_path), **parts).save("model_best")
    (tmp_path / "config.yaml").write_text(config.dump())
    return tmp_path


@pytest.fixture(autouse=True)
def no_network(monkeypatch) -> None:
    """Whoever asks a hub, or opens a connection, fails."""

    def refuse(*_, **__):
        raise AssertionError("asked the network")

    monkeypatch.setattr(weights, "_read_hub", refuse)
    monkeypatch.setattr(weights, "hf_hub_download", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)


def test_a_run_and_its_export_predict_without_the_weights_it_began_from(run, tmp_path) -> None:
    image = np.zeros((64, 64, 3), np.uint8)
    load_pretrained(run, device="cpu").predict(image)
    file = export_run(run, tmp_path / "out", "small")["weights"]
    assert not set(STARTS) & set(read_description(file)["config"])
    load_pretrained(file, device="cpu").predict(image)


def test_a_model_file_of_before_that_still_names_them_is_loaded(run, tmp_path) -> None:
    file = export_run(run, tmp_path / "out", "small")["weights"]
    description = read_description(file)
    description["config"] |= dict.fromkeys(STARTS, "timm:resnet50.tv_in1k")
    model = load_pretrained(file, device="cpu").models[0]
    write_model_file(file, stored_tensors(model.net.state_dict()), description)
    again = load_pretrained(file, device="cpu")
    again.predict(np.zeros((64, 64, 3), np.uint8))
    assert [again.models[0].config.MODEL[key.split(".")[1]].WEIGHTS for key in STARTS] == ["", ""]


@pytest.mark.parametrize(
    ("part", "value"),
    [("format", "x"), ("config", 3), ("config", {"MODEL.VIT.DEPTH": "deep"}), ("name", None),
     ("operating_point", []), ("treatment", {"method": 1}), ("operating_point", {})],
)  # fmt: skip
def test_a_model_file_that_describes_itself_wrongly_is_named(
    part: str, value, tmp_path, repo_root
) -> None:
    config = finalize(load_config(repo_root / "configs/cpu_tiny_maskrcnn.yaml", SMALL_DETECTOR))
    from bccd_d2.models.file import describe

    looks = Preprocessing.of(config).state_dict()
    says = describe("a", config, OperatingPoint().state_dict(), looks)
    file = tmp_path / "a.safetensors"
    write_model_file(file, stored_tensors(build_model(config).state_dict()), says | {part: value})
    with pytest.raises(ValueError, match=r"a\.safetensors"):
        load_pretrained(file, device="cpu")


def test_a_model_of_an_earlier_version_is_named_with_its_remedy(tmp_path) -> None:
    file = tmp_path / "old.pth"
    file.write_bytes(b"")
    base = find_config("otsu_watershed")
    types = "{ENABLED: True, COUNTED: [1.4, 1.7]}"
    text = f"_BASE_: {base}\nMODEL: {{WEIGHTS: {file}, TYPES: {types}}}\n"
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(ValueError, match=r"old\.pth: MODEL\.TYPES\.COUNTED .*again by bccd types"):
        load_model(config_file=str(tmp_path / "config.yaml"), device="cpu")


def test_weights_are_a_file_a_run_or_the_name_of_a_shipped_model(small_config, tmp_path) -> None:
    config = small_config(tmp_path)
    assert meant_weights(config, "") == "" and meant_weights(config, "a/b.pth") == "a/b.pth"
    assert meant_weights(config, str(tmp_path)) == str(tmp_path / "model_best.pth")
    assert meant_weights(config, "cpu_best") == str(find_pretrained("cpu_best"))
    with pytest.raises(KeyError, match="none of the shipped models"):
        meant_weights(config, "cpu_bets")
