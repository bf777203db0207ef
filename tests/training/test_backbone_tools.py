"""show_features.py and count_parameters.py from their command lines."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip("detectron2")

import count_parameters
import show_features

from bccd_d2.config.load import load_config
from bccd_d2.experiments.feature_panels import feature_panels
from bccd_d2.modeling.build import build_model
from bccd_d2.models.parameters import config_parameters, preset_parameters

SMALL = [
    "MODEL.VIT.DIM", "24", "MODEL.VIT.HEADS", "2", "MODEL.VIT.GRID", "4",
    "MODEL.VIT.WINDOW_SIZE", "4", "MODEL.DEVICE", "cpu", "INPUT.IMAGE_SCALE", "0.5",
]  # fmt: skip


@pytest.fixture
def tiny(repo_root: Path) -> list[str]:
    """The shipped small config."""
    return ["--config-file", str(repo_root / "configs" / "cpu_tiny_maskrcnn.yaml")]


@pytest.fixture
def smear(tmp_path: Path) -> Path:
    """A picture whose size is no multiple of anything."""
    pixels = np.random.default_rng(1).integers(0, 255, (150, 210, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "smear.png")
    return tmp_path / "smear.png"


def test_the_picture_is_written(tiny, smear: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "features.png"
    arguments = [*tiny, "--image", str(smear), "--out", str(out), "--width", "600", *SMALL]
    assert show_features.main(arguments) == 0
    assert Image.open(out).width == 600
    assert "random backbone" in capsys.readouterr().out
    assert show_features.main([*tiny, "--image", str(tmp_path / "none.png"), *SMALL]) == 2
    assert "none.png" in capsys.readouterr().err


def test_panels_have_the_images_size_and_differ(tiny, smear: Path) -> None:
    torch.manual_seed(0)
    panels = feature_panels(load_config(tiny[1], SMALL), smear)
    assert [caption.split(":")[0].split(",")[0] for caption in panels] == [
        "image", "resize", "pad", "pad", "tile"
    ]  # fmt: skip
    assert {panel.shape for panel in panels.values()} == {(75, 105, 3)}
    drawn = list(panels.values())[1:]
    assert not any(np.array_equal(a, b) for i, a in enumerate(drawn) for b in drawn[:i])


def test_a_trained_detectors_backbone_is_shown(tiny, smear: Path, tmp_path: Path) -> None:
    def draw(seed: int, *options: str) -> np.ndarray:
        torch.manual_seed(seed)
        return list(feature_panels(load_config(tiny[1], [*SMALL, *options]), smear).values())[2]

    model = build_model(load_config(tiny[1], SMALL))
    torch.save({"model": model.state_dict()}, tmp_path / "a.pth")
    trained = ("MODEL.WEIGHTS", str(tmp_path / "a.pth"))
    assert np.array_equal(draw(1, *trained), draw(2, *trained))
    assert not np.array_equal(draw(1), draw(2))


def test_parameters_are_those_of_the_built_model(tiny, capsys) -> None:
    model = build_model(load_config(tiny[1], ["MODEL.DEVICE", "cpu"]))
    whole = sum(p.numel() for p in model.parameters())
    vit = sum(p.numel() for p in model.backbone.net.parameters())
    assert config_parameters(load_config(tiny[1])) == (vit, whole)
    assert preset_parameters("uni") == 303_350_784
    assert count_parameters.main([tiny[1]]) == 0
    row = f"| cpu_tiny_maskrcnn | vit_tiny | none | {vit / 1e6:.1f} | {whole / 1e6:.1f} |"
    assert row in capsys.readouterr().out
    assert count_parameters.main(["none.yaml"]) == 2
    assert count_parameters.main(["otsu_watershed"]) == 0
    assert "| otsu_watershed | none | none | 0.0 | 0.0 |" in capsys.readouterr().out
