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

from bccd_d2.experiments.threshold import choose_threshold, take_threshold
from bccd_d2.models.checkpoint import CellCheckpointer
from bccd_d2.models.point import OperatingPoint
from bccd_d2.models.preprocessing import Preprocessing
from bccd_d2.training.run import prepare


@pytest.fixture
def run(small_config: Callable[..., Any], tmp_path: Path) -> Any:
    """A run whose checkpoint says a threshold that no validation chose."""
    from bccd_d2.modeling.build import build_model

    config = prepare(small_config(tmp_path))
    torch.manual_seed(0)
    parts = {"operating_point": OperatingPoint(0.123, "nothing"), "treatment": Preprocessing()}
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


def test_a_model_of_all_images_takes_the_threshold_of_the_folds(
    run: Any, repo_root: Path, tmp_path: Path, capsys
) -> None:
    (tmp_path / "model_best.pth").rename(tmp_path / "model_final.pth")
    summary = tmp_path / "cross_validation.json"
    summary.write_text(json.dumps({"folds": [{}] * 5, "score_threshold": 0.61}))
    before = torch.load(tmp_path / "model_final.pth", weights_only=True)["model"]
    options = ["DATASETS.VALIDATION", "()", "OUTPUT_DIR", str(tmp_path)]
    config = str(repo_root / "configs" / "cpu_tiny_maskrcnn.yaml")
    call = ["--config-file", config, "--cross-validation", str(summary), *options]
    assert tool.main(call) == 0
    assert "0.61, chosen on the held-out images of 5 folds" in capsys.readouterr().out
    after = torch.load(tmp_path / "model_final.pth", weights_only=True)
    assert after["operating_point"]["score_threshold"] == 0.61
    assert all(torch.equal(before[name], after["model"][name]) for name in before)
    summary.write_text("[]")
    assert tool.main(call) == 2
    assert "give a cross_validation.json" in capsys.readouterr().err


def test_a_threshold_needs_both_files_and_a_checkpoint_of_training(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="none.pth does not exist"):
        take_threshold(tmp_path / "none.pth", tmp_path / "cross_validation.json")
    with pytest.raises(ValueError, match="only a .pth file"):
        take_threshold(tmp_path / "model.safetensors", tmp_path / "cross_validation.json")
    (tmp_path / "cross_validation.json").write_text('{"folds": [], "score_threshold": 0.5}')
    torch.save({"weight": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(ValueError, match="has no 'model'"):
        take_threshold(tmp_path / "other.pth", tmp_path / "cross_validation.json")


def test_without_validation_the_last_weights_are_evaluated(run: Any, tmp_path: Path) -> None:
    from bccd_d2.models.load import load_trained

    (tmp_path / "model_best.pth").rename(tmp_path / "model_final.pth")
    run.defrost()
    run.DATASETS.VALIDATION = ()
    assert load_trained(run)[3] == str(tmp_path / "model_final.pth")
