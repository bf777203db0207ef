"""Networks in 8-bit integers: near the float ones, from the same weights, refused where absent."""

from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip("detectron2")
pytest.importorskip("onnx")

import onnx
from real_counts import counts_of_real_images

from bccd_d2 import load_pretrained
from bccd_d2.cli import main
from bccd_d2.io.atomic import write_png_atomic
from bccd_d2.models.backend import load_with
from bccd_d2.models.file import (
    FINDER,
    INT8,
    find_pretrained,
    graph_of,
    read_arrays,
    read_description,
    read_registry,
    with_header,
)
from bccd_d2.models.graph_model import load_graph_model
from bccd_d2.synth.smear import draw_smear

SHIPPED = sorted(read_registry()["models"])


def test_another_description_leaves_the_tensors_as_they_are(tmp_path):
    """Whatever its length is: tensors begin on a multiple of 8 bytes."""
    path = find_pretrained("cpu_best")
    content, description = path.read_bytes(), read_description(path)
    for more in range(9):
        other = tmp_path / "other.safetensors"
        other.write_bytes(with_header(content, description | {"note": "x" * more}))
        assert read_description(other) == description | {"note": "x" * more}
        assert int.from_bytes(other.read_bytes()[:8], "little") % 8 == 0
    before, after = read_arrays(path), read_arrays(other)
    assert all(np.array_equal(after[name], array) for name, array in before.items())


@pytest.fixture(scope="module")
def smears(tmp_path_factory):
    folder = tmp_path_factory.mktemp("smears")
    for seed in range(2):
        write_png_atomic(folder / f"{seed}.png", draw_smear(seed=seed, size=(300, 400)).image)
    return folder


def test_a_file_gets_8_bit_graphs_that_find_the_same_cells(smears, tmp_path, capsys):
    """The weights stand in the file once; the graph has scales and operations alone."""
    given = ["export", "int8", "cpu_best", "--images", str(smears), "--out", str(tmp_path)]
    assert main(given) == 0
    printed, path = capsys.readouterr().out, tmp_path / "cpu_best.safetensors"
    assert "in fp32" in printed and json.loads((tmp_path / "registry.json").read_text())["models"]
    before, after = find_pretrained("cpu_best"), path
    assert after.stat().st_size < before.stat().st_size + 200_000
    assert read_arrays(after).keys() == read_arrays(before).keys()
    graph, names = graph_of(read_description(after), FINDER + INT8)
    assert set(names) < set(read_arrays(after))
    kinds = [node.op_type for node in onnx.load_from_string(graph).graph.node]
    assert kinds.count("QuantizeLinear") > 2 * kinds.count("Conv") > 20
    images = draw_smear(seed=7, size=(205, 331)).image[None]
    whole, eight = (load_graph_model(after, precision=p)._network for p in ("fp32", "int8"))
    wanted, got = whole(images=images), eight(images=images)
    assert wanted.keys() == got.keys()
    assert 0 < np.abs(wanted["cell"] - got["cell"]).mean() < 0.01


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_model_finds_the_same_cells_in_8_bits(name):
    image = draw_smear(seed=4, size=(300, 400)).image
    one, other = (load_pretrained(name, device="cpu", precision=p) for p in ("fp32", "int8"))
    assert (other.models[0].precision, other.models[0].backend) == ("int8", "onnx")
    before, after = one.predict(image), other.predict(image)
    assert len(before) == len(after) > 3
    assert one.models[0].identity() != other.models[0].identity()
    boxes = (np.array(sorted(cells.boxes.tolist())) for cells in (before, after))
    assert (np.abs(np.subtract(*boxes)).max(axis=1) < 3).mean() > 0.9


@pytest.mark.data
@pytest.mark.parametrize("name", SHIPPED)
def test_counts_of_real_images_are_near(name, sample_root):
    models = [load_pretrained(name, precision=p, device="cpu") for p in ("fp32", "int8")]
    for one, other in counts_of_real_images(models, sample_root):
        assert abs(one - other) <= 1


def test_what_has_no_8_bit_graph_says_so(tmp_path):
    path = tmp_path / "plain.safetensors"
    description = read_description(find_pretrained("cpu_best"))
    kept = {k: v for k, v in description["networks"].items() if not k.endswith(INT8)}
    content = find_pretrained("cpu_best").read_bytes()
    path.write_bytes(with_header(content, description | {"networks": kept}))
    with pytest.raises(ValueError, match="plain.safetensors cannot be used: it has no graph of 8"):
        load_with(str(path), precision="int8")
    with pytest.raises(ValueError, match="precision int8 is for model files"):
        load_with("cpu_best", precision="int8", backend="torch")
    with pytest.raises(ValueError, match="precision int8 is for model files"):
        load_with("", "cpu_best", precision="int8")
