"""The threshold is chosen anew on validation images; the weights stay as they are."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("detectron2")

import choose_threshold as tool

from bccd_d2.training.checkpoint import CellCheckpointer, OperatingPoint
from bccd_d2.training.operating_point import choose_threshold
from bccd_d2.training.run import prepare
from bccd_d2.training.treatment import Treatment


@pytest.fixture
def run(small_config: Callable[..., Any], tmp_path: Path) -> Any:
    """A run whose checkpoint says a threshold that no validation chose."""
    from detectron2.modeling import build_model

    config = prepare(small_config(tmp_path))
    torch.manual_seed(0)
    parts = {"operating_point": OperatingPoint(0.123, "nothing"), "treatment": Treatment()}
    CellCheckpointer(build_model(config), str(tmp_path), **parts).save("model_best")
    return config


def test_threshold_moves_and_weights_stay(run: Any, tmp_path: Path) -> None:
    before = torch.load(tmp_path / "model_best.pth", weights_only=True)
    path, point = choose_threshold(run)
    after = torch.load(path, weights_only=True)
    sweep = json.loads((tmp_path / "threshold_sweep.json").read_text())
    assert after["operating_point"] == {"score_threshold": sweep["chosen"], "origin": "bccd_val"}
    assert point.score_threshold == sweep["chosen"] != 0.123
    assert before.keys() == after.keys()
    for name, tensor in before["model"].items():
        assert torch.equal(tensor, after["model"][name])


def test_the_tool_says_where_it_is_and_what_is_missing(
    small_options: list[str], repo_root: Path, tmp_path: Path, capsys
) -> None:
    config = str(repo_root / "configs" / "cpu_tiny_maskrcnn.yaml")
    options = [*small_options, "OUTPUT_DIR", str(tmp_path / "none")]
    assert tool.main(["--config-file", config, *options]) == 2
    assert "no weights at" in capsys.readouterr().err
    otsu = str(repo_root / "configs" / "otsu_watershed.yaml")
    root = small_options[small_options.index("DATASETS.ROOT") + 1]
    assert tool.main(["--config-file", otsu, "--dataset", root, "MODEL.DEVICE", "cpu"]) == 2
    assert "only a .pth file" in capsys.readouterr().err
