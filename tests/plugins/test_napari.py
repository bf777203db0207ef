"""What napari is given, without napari; its manifest where npe2 is there; all of it where it is."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import pytest
import yaml

from bccd_d2.api import PredictedCells
from bccd_d2.plugins import napari_cells
from bccd_d2.synth.smear import draw_smear

from ..slide.results_folder import write_results

MANIFEST = Path(napari_cells.__file__).with_name("napari.yaml")


class Model:
    def __init__(self, asked: list) -> None:
        self.asked = asked

    def predict(self, image, threshold=None, *, diameter="auto"):
        self.asked.append((image.shape, image.dtype, threshold, diameter))
        labels = np.zeros(image.shape[:2], np.int32)
        labels[5:20, 5:20], labels[30:40, 30:45] = 1, 2
        return PredictedCells.from_label_map(labels)


@pytest.fixture
def asked(monkeypatch) -> list:
    calls: list = []
    monkeypatch.setattr(napari_cells, "_model", lambda name: Model(calls))
    return calls


def test_the_manifest_names_what_there_is():
    content = yaml.safe_load(MANIFEST.read_text())
    commands = {one["id"]: one["python_name"] for one in content["contributions"]["commands"]}
    for name in commands.values():
        module, function = name.split(":")
        assert callable(getattr(importlib.import_module(module), function))
    used = [one["command"] for kind in ("widgets", "readers", "sample_data")
            for one in content["contributions"][kind]]  # fmt: skip
    assert sorted(used) == sorted(commands)


def test_the_manifest_is_one():
    npe2 = pytest.importorskip("npe2", reason="needs npe2")
    assert npe2.PluginManifest.from_file(MANIFEST).name == "bccd_d2"


def test_the_widget_makes_a_labels_layer_with_features(asked):
    labels, about, kind = napari_cells.find_cells(np.zeros((50, 60, 3), np.uint8))
    assert kind == "labels" and labels.max() == 2 and labels.shape == (50, 60)
    assert about["features"]["index"].tolist() == [0, 1, 2]
    assert about["features"]["area"].tolist() == [0, 225, 150]
    assert asked == [((50, 60, 3), np.uint8, None, "auto")]
    grey = np.linspace(0, 4095, 3000).reshape(50, 60).astype(np.uint16)
    napari_cells.find_cells(grey, 42.0, 0.6, 0.1)
    assert asked[1] == ((50, 60, 3), np.uint8, 0.6, 42.0)
    with pytest.raises(ValueError, match="choose one plane of a stack"):
        napari_cells.find_cells(np.zeros((5, 50, 60, 3), np.uint8))


def test_results_are_read_and_other_folders_left_to_others(tmp_path):
    smear = draw_smear(seed=4, size=(200, 300), n_cells=5)
    results = write_results(tmp_path, [smear.image] * 2, [smear.label_map] * 2)
    assert napari_cells.reader_of(str(tmp_path)) is None
    assert napari_cells.reader_of(["a", "b"]) is None
    read = napari_cells.reader_of([str(results)])
    layers = read(str(results))
    assert [layer[2] for layer in layers] == ["image", "labels"] * 2
    np.testing.assert_array_equal(layers[0][0], smear.image)
    np.testing.assert_array_equal(layers[1][0], smear.label_map)
    assert [layer[1]["visible"] for layer in layers] == [True, True, False, False]
    (tmp_path / "images" / "field_00.png").unlink()
    assert [layer[2] for layer in read(str(results))] == ["labels", "image", "labels"]


def test_the_sample_is_a_smear_with_its_cells():
    (image, _, _), (labels, _, kind) = napari_cells.drawn_smear()
    assert image.shape == (600, 800, 3) and labels.max() > 10 and kind == "labels"


@pytest.mark.slow
def test_in_napari(asked, monkeypatch):
    monkeypatch.setenv("QT_QPA_PLATFORM", "offscreen")
    napari = pytest.importorskip("napari", reason="needs napari and a Qt")
    layers = napari.components.ViewerModel()
    for data, about, kind in napari_cells.drawn_smear():
        layers._add_layer_from_data(data, about, kind)
    labels, about, kind = napari_cells.find_cells(layers.layers[0].data)
    layers._add_layer_from_data(labels, about, kind)
    assert layers.layers["cells"].features["area"].tolist() == [0, 225, 150]
