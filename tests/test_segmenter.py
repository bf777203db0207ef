"""Model files and the three-line API: what is written is what predicts; wrong files are named."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("detectron2")

import bccd_d2
from bccd_d2 import PredictedCells, load_pretrained
from bccd_d2.config.load import finalize, load_config
from bccd_d2.modeling.build import build_model
from bccd_d2.models import file as model_files
from bccd_d2.models.checkpoint import CellCheckpointer
from bccd_d2.models.export import export_run
from bccd_d2.models.point import OperatingPoint
from bccd_d2.models.preprocessing import Preprocessing
from bccd_d2.synth.smear import draw_smear

from .small import SMALL_DETECTOR

REPO = Path(__file__).resolve().parents[1]
SMALL = [*SMALL_DETECTOR, "MODEL.VIT.WEIGHTS", "gone.bin", "TEST.DETECTIONS_PER_IMAGE", "40"]


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A run's folder with an untrained small model, as training leaves one."""
    folder = tmp_path_factory.mktemp("runs") / "tiny_run"
    config = load_config(REPO / "configs" / "cpu_tiny_maskrcnn.yaml", SMALL)
    folder.mkdir()
    (folder / "config.yaml").write_text(config.dump())
    config.MODEL.VIT.WEIGHTS = ""
    torch.manual_seed(0)
    model = build_model(finalize(config))
    point = OperatingPoint(0.4, "bccd_val at iteration 4")
    parts = {"operating_point": point, "treatment": Preprocessing.of(config)}
    CellCheckpointer(model, str(folder), **parts).save("model_best")
    return folder


@pytest.fixture(scope="module")
def shipped(run, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("pretrained")
    export_run(run, folder, "small", default=True)
    return folder


@pytest.fixture
def image() -> np.ndarray:
    return draw_smear(seed=3, size=(160, 220)).image


def same(first, second, tolerance=1e-4) -> None:
    assert len(first) == len(second) > 0
    np.testing.assert_allclose(first.scores, second.scores, atol=tolerance)
    np.testing.assert_allclose(first.boxes, second.boxes, atol=1)


def test_a_run_and_its_model_file_predict_alike(run, shipped, image):
    from_run, from_file = load_pretrained(run), load_pretrained(shipped / "small.safetensors")
    assert (from_run.name, from_file.name) == ("tiny_run", "small")
    assert from_run.score_threshold == from_file.score_threshold == pytest.approx(0.4)
    cells = from_file.predict(image)
    assert isinstance(cells, PredictedCells) and cells.image_size == (160, 220)
    assert cells.scores.min() >= 0.4
    assert [r["counts"] for r in cells.rles] == [r["counts"] for r in from_run.predict(image).rles]
    assert len(from_file.predict(image, 0.05)) > len(cells.above(0.52))


def test_half_precision_is_half_the_size_and_close(run, shipped, image, tmp_path):
    export_run(run, tmp_path, "small", half=True)
    sizes = [(f / "small.safetensors").stat().st_size for f in (tmp_path, shipped)]
    assert sizes[0] < 0.6 * sizes[1]
    halved = load_pretrained(tmp_path / "small.safetensors").predict(image, 0.05)
    full = load_pretrained(shipped / "small.safetensors").predict(image, 0.05)
    np.testing.assert_allclose(halved.scores.max(), full.scores.max(), atol=5e-3)


def test_a_value_beyond_half_precision_is_refused(tmp_path):
    with pytest.raises(ValueError, match="tensor w has values beyond float16"):
        model_files.stored_tensors({"w": torch.tensor([1e6])}, half=True)


def test_scores_do_not_depend_on_threads_or_batch(shipped, image):
    model = load_pretrained(shipped / "small.safetensors").models[0]
    others = [image[::-1].copy(), np.full_like(image, 200)]
    [alone] = model([image])
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        [threads] = model([image])
    finally:
        torch.set_num_threads(before)
    same(alone, threads)
    same(alone, model([*others, image])[2])
    same(alone, model([image[:100, :150].copy(), image])[1])  # sizes differ


def test_bfloat16_answers_nearly_the_same_and_is_told_apart(shipped, image):
    path = shipped / "small.safetensors"
    exact, fast = load_pretrained(path), load_pretrained(path, precision="bf16")
    one, other = exact.predict(image, 0.05), fast.predict(image, 0.05)
    assert len(one) and abs(len(one) - len(other)) <= 0.2 * len(one)
    assert one.scores.max() == pytest.approx(other.scores.max(), abs=0.02)
    assert one.scores.tolist() != other.scores.tolist()
    assert exact.models[0].identity() != fast.models[0].identity()
    with pytest.raises(ValueError, match="precision must be one of"):
        load_pretrained(path, precision="fp8")


def test_the_shipped_model_is_verified_and_named(shipped, image, tmp_path, monkeypatch):
    folder = tmp_path / "pretrained"
    shutil.copytree(shipped, folder)
    monkeypatch.setattr(model_files, "PRETRAINED", folder)
    assert load_pretrained().name == load_pretrained("small").name == "small"
    with pytest.raises(KeyError, match=r"'smal' is no file.*\(small\)"):
        load_pretrained("smal")
    file = folder / "small.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(ValueError, match=r"small\.safetensors has SHA-256 .* was registered"):
        load_pretrained()
    file.unlink()
    with pytest.raises(FileNotFoundError, match="is missing"):
        load_pretrained()


def test_an_installation_predicts_without_network_or_configs(run, tmp_path):
    shutil.copytree(REPO / "bccd_d2", tmp_path / "site" / "bccd_d2")
    pretrained = tmp_path / "site" / "bccd_d2" / "models" / "pretrained"
    export_run(run, pretrained, "small", default=True)
    code = (
        "import socket, sys\n"
        "def refuse(*a, **k): raise OSError('no network here')\n"
        "socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse\n"
        "import numpy as np, bccd_d2\n"
        "model = bccd_d2.load_pretrained('small', device='cpu')\n"
        "cells = model.predict(np.full((90, 120, 3), 180, np.uint8), 0.05)\n"
        "print(bccd_d2.__file__, model.name, len(cells))\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "site")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    file, name, count = done.stdout.split()
    assert file.startswith(str(tmp_path)) and name == "small" and int(count) > 0


def test_without_a_shipped_model_the_error_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(model_files, "PRETRAINED", tmp_path)
    with pytest.raises(FileNotFoundError, match="no model ships with this installation"):
        load_pretrained()


def test_every_model_in_the_registry_is_there_with_a_card():
    registry = model_files.read_registry()
    assert registry["default"] in {"", *registry["models"]}
    for name, entry in registry["models"].items():
        path = model_files.find_pretrained(name)
        assert path.stat().st_size == entry["bytes"] <= 30e6
        assert path.with_suffix(".md").is_file()
        assert "To be written" not in path.with_suffix(".md").read_text()


def test_files_that_are_no_models_are_named(run, tmp_path):
    torn = tmp_path / "torn.safetensors"
    torn.write_bytes(b"not safetensors at all")
    with pytest.raises(ValueError, match=r"torn\.safetensors is unreadable"):
        load_pretrained(torn)
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(1)}, tmp_path / "bare.safetensors")
    with pytest.raises(ValueError, match=r"bare\.safetensors holds weights but says nothing"):
        load_pretrained(tmp_path / "bare.safetensors")
    shutil.copy(run / "model_best.pth", tmp_path / "alone.pth")
    with pytest.raises(FileNotFoundError, match=r"has no config\.yaml"):
        load_pretrained(tmp_path / "alone.pth")
    with pytest.raises(FileNotFoundError, match="none of model_best"):
        load_pretrained(tmp_path)
    with pytest.raises(ValueError, match="does not fit the model"):
        config = REPO / "configs" / "cpu_tiny_maskrcnn.yaml"
        load_pretrained(run, config_file=config, device="cpu")


def test_a_model_of_a_later_version_is_refused(shipped):
    description = model_files.read_description(shipped / "small.safetensors")
    description["config"]["MODEL.VIT.FOLDED"] = 3
    with pytest.raises(ValueError, match=r"sets MODEL\.VIT\.FOLDED.*does not know"):
        model_files.config_of(description, "x.safetensors")
    description["config"]["SOLVER.FOLDED"] = description["config"].pop("MODEL.VIT.FOLDED")
    assert model_files.config_of(description, "x.safetensors").MODEL.VIT.DEPTH == 2


def test_the_file_tells_no_path_and_the_card_its_checksum(shipped):
    description = model_files.read_description(shipped / "small.safetensors")
    assert not set(model_files.PATHS) & set(description["config"])
    assert description["operating_point"]["origin"] == "bccd_val at iteration 4"
    card = (shipped / "small.md").read_text()
    registry = json.loads((shipped / "registry.json").read_text())
    assert registry["models"]["small"]["sha256"] in card
    assert "score threshold 0.40" in card and "Not measured yet" in card


def test_several_models_make_an_ensemble(run, shipped, image):
    single = load_pretrained(run)
    pair = load_pretrained([run, shipped / "small.safetensors"])
    assert pair.name == "tiny_run + small"
    merged, alone = pair.predict(image, 0.05), single.predict(image, 0.05)
    assert merged.uncertainty is not None and alone.uncertainty is None
    assert merged.scores.max() == pytest.approx(alone.scores.max(), abs=1e-4)
    assert "uncertainty" in merged.measure() and "uncertainty" not in alone.measure()


def test_a_model_without_weights_needs_its_config_alone(image):
    model = load_pretrained(config_file="otsu_watershed", device="cpu")
    assert (model.name, model.score_threshold) == ("otsu_watershed", 0.0)
    assert len(model.predict(image)) > 0


def test_images_of_another_kind_are_refused(shipped):
    model = load_pretrained(shipped / "small.safetensors")
    for wrong in (np.zeros((5, 5), np.uint8), np.zeros((5, 5, 3)), np.zeros((0, 5, 3), np.uint8)):
        with pytest.raises(ValueError, match="image must"):
            model.predict(wrong)


def test_the_tool_writes_the_file_and_names_mistakes(run, tmp_path, capsys):
    import export_weights

    call = [str(run), "--name", "mine", "--out", str(tmp_path)]
    assert export_weights.main(call) == 0
    assert {p.name for p in tmp_path.iterdir()} == {
        "mine.safetensors", "mine.md", "registry.json"}  # fmt: skip
    assert load_pretrained(tmp_path / "mine.safetensors").name == "mine"
    (tmp_path / "mine.md").write_text("my words")
    assert export_weights.main([*call, "--half"]) == 0
    assert (tmp_path / "mine.md").read_text() == "my words"
    capsys.readouterr()
    assert export_weights.main([str(tmp_path), *call[1:]]) == 2
    assert "no checkpoint at" in capsys.readouterr().err
    assert export_weights.main([str(run), "--name", "a/b", "--out", str(tmp_path)]) == 2
    assert "plain file name" in capsys.readouterr().err
    call = [str(run), *call[1:], "--config-file", "cpu_bst"]
    assert export_weights.main(call) == 2
    assert "did you mean cpu_best" in capsys.readouterr().err
    assert export_weights.main([*call[:-1], "cpu_best"]) == 2  # found; made with another config
    assert "does not fit" in capsys.readouterr().err


@pytest.mark.graph
def test_the_network_is_exported_and_compared(run, tmp_path, capsys):
    import export_model

    path = tmp_path / "model.onnx"
    call = ["--weights", "cpu_best", "--output", str(path), "--half"]
    assert export_model.main([*call, "--images", "1"]) == 0
    assert "largest difference" in capsys.readouterr().out and path.stat().st_size < 4e6
    assert export_model.main(["--weights", "none.pth", "--output", str(path)]) == 2
    assert "none.pth" in capsys.readouterr().err
    assert export_model.main(["--weights", str(run), "--output", str(tmp_path / "a.onnx")]) == 2
    assert "is no dense model" in capsys.readouterr().err
    assert export_model.main(["--weights", "cpu_best", "--output", "model.pt"]) == 2
    assert "must end in .onnx" in capsys.readouterr().err


def test_names_come_from_the_package():
    assert {"load_pretrained", "Segmenter"} <= set(bccd_d2.__all__)
