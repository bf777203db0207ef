"""A model file's network without PyTorch: the same maps, the same cells, and clear refusals."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("detectron2")

from real_counts import counts_of_real_images

from bccd_d2 import load_pretrained
from bccd_d2.config.load import finalize, load_config
from bccd_d2.masks.cell_crops import MEASURES
from bccd_d2.modeling.build import build_model
from bccd_d2.modeling.tensors import read_tensors
from bccd_d2.models.checkpoint import CellCheckpointer
from bccd_d2.models.export import export_run
from bccd_d2.models.file import (
    FINDER,
    find_pretrained,
    graph_entry,
    graph_of,
    read_arrays,
    read_description,
    read_registry,
    write_model_file,
)
from bccd_d2.models.graph import (
    any_size,
    can_be_a_graph,
    export_module,
    export_network,
    finder_graph,
    largest_difference,
    weightless,
)
from bccd_d2.models.graph_model import load_graph_model
from bccd_d2.models.load import load_model
from bccd_d2.models.network import Network
from bccd_d2.models.point import OperatingPoint
from bccd_d2.models.preprocessing import Preprocessing
from bccd_d2.synth.smear import draw_smear

SHIPPED = sorted(read_registry()["models"])
SMALL = ["MODEL.DEVICE", "cpu", "MODEL.UNET.CHANNELS", "(8, 16)", "MODEL.DENSE.CHANNELS", "8"]


@pytest.fixture(scope="module")
def dense_run(tmp_path_factory, repo_root: Path) -> Path:
    """The folder of a run of an untrained small U-Net whose heads say something."""
    folder = tmp_path_factory.mktemp("dense")
    config = finalize(load_config(repo_root / "configs/dense/cpu_best.yaml", SMALL))
    torch.manual_seed(0)
    net = build_model(config)
    for parameter in net.heads.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    parts = {"operating_point": OperatingPoint(0.4, "x"), "treatment": Preprocessing.of(config)}
    CellCheckpointer(net, str(folder), **parts).save("model_best")
    (folder / "config.yaml").write_text(config.dump())
    return folder


@pytest.fixture(scope="module")
def exported(dense_run, tmp_path_factory) -> Path:
    """Its model file."""
    if not hasattr(torch.export.Dim, "DYNAMIC"):
        pytest.skip("needs torch 2.6")
    return export_run(dense_run, tmp_path_factory.mktemp("models"), "small", half=True)["weights"]


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_model_says_the_same_with_and_without_torch(name):
    """Maps at sizes that no stride divides, two at once; and cells with their scores."""
    path = find_pretrained(name)
    net, graph = load_model(name, device="cpu"), load_graph_model(path)
    smear = draw_smear(seed=4, size=(205, 331)).image
    images = np.stack([smear, smear[::-1]])
    maps = graph._network(images=images)
    for index, image in enumerate(images):
        with torch.no_grad():
            wanted = net.net.maps(torch.from_numpy(image.transpose(2, 0, 1).copy()))
        assert set(wanted) == set(maps)
        for head, values in wanted.items():
            np.testing.assert_allclose(maps[head][index], values.numpy(), atol=1e-4)
    [one], [other] = net([smear]), graph([smear])
    assert len(one) == len(other) > 0
    assert [rle["counts"] for rle in one.rles] == [rle["counts"] for rle in other.rles]
    np.testing.assert_allclose(one.scores, other.scores, atol=1e-4)
    assert net.diameter == graph.diameter and net.classes == graph.classes
    assert net.score_threshold == graph.score_threshold
    assert (net.backend, graph.backend) == ("torch", "onnx")


def test_the_shipped_types_say_the_same_with_and_without_torch():
    """A graph that was written in training mode normalises by each image of its own."""
    path = find_pretrained("any_smear")
    graph, torchs = load_graph_model(path)._type_networks, load_model("any_smear", device="cpu").net
    wanted, image = torchs.types.networks(), draw_smear(seed=4, size=(205, 331)).image
    np.testing.assert_allclose(graph.small(image), wanted.small(image), atol=1e-4)
    rng, side = np.random.default_rng(0), torchs.types.options.crop.size
    crops = rng.integers(0, 256, (3, 4, side, side), dtype=np.uint8)
    beside = rng.random((3, len(MEASURES)), dtype=np.float32)
    np.testing.assert_allclose(graph.look(crops, beside), wanted.look(crops, beside), atol=1e-3)


@pytest.mark.data
@pytest.mark.parametrize("name", SHIPPED)
def test_counts_of_real_images_are_equal(name, sample_root):
    models = [load_pretrained(name, backend=backend, device="cpu") for backend in ("onnx", "torch")]
    for counts in counts_of_real_images(models, sample_root):
        assert len(set(counts)) == 1


def test_a_run_is_exported_with_its_network_and_auto_takes_it(dense_run, exported, tmp_path):
    image, file = draw_smear(seed=2, size=(90, 130)).image, exported
    auto = load_pretrained(file, device="cpu")
    assert auto.models[0].backend == "onnx"
    with_torch = load_pretrained(file, device="cpu", backend="torch")
    assert with_torch.models[0].backend == "torch"
    one, other = auto.predict(image, 0.05), with_torch.predict(image, 0.05)
    assert len(one) == len(other)
    again = export_run(file, tmp_path / "again", "small", half=True)["weights"]
    assert read_arrays(again).keys() == read_arrays(file).keys()
    assert read_description(again) == read_description(file)
    assert load_pretrained(dense_run, device="cpu").models[0].backend == "torch"
    with pytest.raises(ValueError, match="backend 'onnx' takes a model file with a network"):
        load_pretrained(dense_run, backend="onnx")
    with pytest.raises(ValueError, match="backend must be of auto, onnx"):
        load_pretrained(file, backend="tflite")
    with pytest.raises(ValueError, match="computes in fp32"):
        load_pretrained(file, backend="onnx", precision="bf16")


@pytest.mark.graph
def test_one_file_of_onnx_is_a_model(dense_run, tmp_path):
    image = draw_smear(seed=2, size=(90, 130)).image
    model = load_model(str(dense_run), device="cpu")
    path = export_network(model, tmp_path / "small.onnx")
    assert largest_difference(path, model, [image]) < 1e-4
    alone = load_pretrained(path)
    assert alone.name == dense_run.name and alone.score_threshold == pytest.approx(0.4)
    assert alone.models[0].diameter == model.diameter
    assert len(alone.predict(image, 0.05)) == len(model([image])[0].above(0.05))
    for parameter in model.net.heads.parameters():
        parameter.data.mul_(1.5)
    assert largest_difference(path, model, [image]) > 1e-3


def test_a_detector_has_no_graph_and_the_reason_is_told(small_config, tmp_path):
    config = finalize(small_config(tmp_path))
    from bccd_d2.models.load import TrainedModel

    model = TrainedModel("small", config, build_model(config), OperatingPoint(0.4))
    with pytest.raises(ValueError, match=r"small \(CellRCNN\) is no dense model"):
        export_network(model, tmp_path / "a.onnx")


def test_a_vit_has_no_graph_and_its_model_file_needs_none():
    config = load_config("dinov2s_cpu_flows", [
        "MODEL.DEVICE", "cpu", "MODEL.VIT.WEIGHTS", "", "MODEL.VIT.DIM", 32, "MODEL.VIT.HEADS", 2,
        "MODEL.VIT.DEPTH", 1,
    ])  # fmt: skip
    net = build_model(finalize(config))
    assert not can_be_a_graph(net)
    net.backbone.context = None
    assert can_be_a_graph(net)


def test_a_pytorch_that_cannot_write_graphs_is_named(monkeypatch):
    monkeypatch.delattr(torch.export.Dim, "DYNAMIC", raising=False)
    with pytest.raises(ValueError, match="cannot write a model's graph: export with 2.6 or newer"):
        finder_graph(None)


def test_damage_is_named(tmp_path):
    path = tmp_path / "cut.onnx"
    path.write_bytes(b"\x08\x08no model at all")
    with pytest.raises(ValueError, match=r"cut\.onnx cannot be used: its ONNX graph"):
        load_pretrained(path)
    with pytest.raises(FileNotFoundError, match=r"none\.onnx"):
        load_graph_model(tmp_path / "none.onnx")
    file = tmp_path / "small.safetensors"
    shutil.copy(find_pretrained("cpu_best"), file)
    description, tensors = read_description(file), read_tensors(file)
    damages = [
        ("graph", "AAAA", "the graph of its network 'finder' is damaged"),
        ("weights", [], "its ONNX graph cannot be used"),
        ("weights", ["gone"], "gone"),
    ]
    for part, value, message in damages:
        entry = description["networks"][FINDER] | {part: value}
        write_model_file(file, tensors, description | {"networks": {FINDER: entry}})
        with pytest.raises(ValueError, match=rf"small\.safetensors cannot be used: .*{message}"):
            load_pretrained(file)


@pytest.mark.graph
def test_a_file_may_hold_a_second_network(tmp_path):
    """Its tensors are its own: the finder reads past them, in PyTorch and without."""

    class Twice(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = torch.nn.Linear(3, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.net(x)

    torch.manual_seed(0)
    module, file = Twice().eval(), tmp_path / "two.safetensors"
    source = find_pretrained("cpu_best")
    description, tensors = read_description(source), read_tensors(source)
    tensors |= {f"types.{name}": x for name, x in module.net.state_dict().items()}
    arrays = {name: x.numpy() for name, x in tensors.items()}
    free = any_size()
    graph = export_module(module, (torch.zeros(2, 3),), ({0: free},), inputs=["crops"],
                          outputs=["types"])  # fmt: skip
    description["networks"]["types"] = graph_entry(*weightless(graph, arrays, "types."))
    write_model_file(file, tensors, description)
    image = draw_smear(seed=2, size=(90, 130)).image
    counts = [
        len(load_pretrained(file, device="cpu", backend=backend).predict(image))
        for backend in ("onnx", "torch")
    ]
    assert counts[0] == counts[1]
    found = graph_of(read_description(file), "types")
    network = Network(found[0], {name: arrays[name] for name in found[1]})
    x = np.ones((5, 3), np.float32)
    with torch.no_grad():
        wanted = module(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(network(crops=x)["types"], wanted, atol=1e-6)


def test_openvino_says_the_same(exported):
    pytest.importorskip("openvino")
    image, file = draw_smear(seed=2, size=(90, 130)).image, exported
    names = {"onnx": "fp32", "openvino": "fp32"}
    maps = {
        backend: load_graph_model(file, backend, "cpu", precision)._network(images=image[None])
        for backend, precision in names.items()
    }
    for head, values in maps["onnx"].items():
        np.testing.assert_allclose(values, maps["openvino"][head], atol=1e-3)
    assert load_pretrained(file, precision="bf16", device="cpu").models[0].backend == "openvino"
