"""A model's networks in 8-bit integers, from the same weights: graphs beside those that a file has.

ONNX Runtime's own quantiser chooses the ranges of activations on images (`int8_graph`); weights are
rounded from the file's tensors when the graph is loaded, so that one copy of them serves all. It
needs the library ``onnx``, using such a graph does not.
"""

from __future__ import annotations

import functools
import logging
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from bccd_d2.io.atomic import write_bytes_atomic
from bccd_d2.models.file import (
    INT8,
    external_layout,
    graph_entry,
    graph_of,
    read_arrays,
    read_description,
    with_header,
)
from bccd_d2.models.graph_model import GraphModel, load_graph_model

Sample = Mapping[str, np.ndarray]  # arrays by the names of a network's inputs
OPERATIONS = ("Conv", "Add", "Relu", "MaxPool", "Concat", "Resize")


class Recorder:
    """A model that remembers what its networks saw.

    Attributes:
        model: it, to be used.
        samples: by the networks' names.
    """

    def __init__(self, path: str | Path) -> None:
        self.model: GraphModel = load_graph_model(path, device="cpu")
        self.samples: dict[str, list[Sample]] = {name: [] for name in self.model.networks}
        self._last: dict[str, Sample] = {}
        for name, network in self.model.networks.items():
            network.watch(functools.partial(self._last.__setitem__, name))

    def keep(self) -> None:
        """Take what each network saw last as a sample: of an image its final look."""
        for name, sample in self._last.items():
            self.samples[name].append(sample)
        self._last.clear()


def add_int8(path: str | Path, samples: Mapping[str, Sequence[Sample]], out: str | Path) -> Path:
    """Write a model file with 8-bit graphs of its networks beside the others.

    Args:
        samples: by the networks' names, of `Recorder`; other networks keep their precision.

    Raises:
        ValueError: a network has seen nothing, or the file has no graph.
    """
    description, arrays = read_description(path), read_arrays(path)
    for name, seen in samples.items():
        graph = graph_of(description, name)
        if graph is None or not seen:
            raise ValueError(f"network {name} of {path} saw no image: give some with cells")
        weights = {one: arrays[one] for one in graph[1]}
        entry = graph_entry(*int8_graph(graph[0], weights, seen))
        description["networks"][name + INT8] = entry
    return write_bytes_atomic(out, with_header(Path(path).read_bytes(), description))


def int8_graph(
    graph: bytes, tensors: Mapping[str, np.ndarray], samples: Sequence[Sample]
) -> tuple[bytes, list[str]]:
    """The graph with convolutions and what lies between them in 8 bits, and its weights' names.

    Activations are unsigned, with one scale a tensor, from the least to the largest value in the
    samples; weights are signed, with one scale an output channel.

    Args:
        graph: without weights, of `graph.weightless`.
        tensors: its weights by name.
    """
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self._rest = iter(samples)

        def get_next(self) -> Sample | None:
            return next(self._rest, None)

    given = onnx.load_from_string(graph)
    with tempfile.TemporaryDirectory(prefix="bccd_d2_") as folder:
        fused, small = Path(folder) / "fused.onnx", Path(folder) / "int8.onnx"
        _fuse(given, tensors, fused)
        level = logging.getLogger().level
        logging.getLogger().setLevel(logging.ERROR)  # it would ask for what was done just now
        try:
            quantize_static(
                fused, small, Reader(), per_channel=True, activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8, op_types_to_quantize=list(OPERATIONS),
            )  # fmt: skip
        finally:
            logging.getLogger().setLevel(level)
        quantised, float32 = onnx.load(small), onnx.load(fused)
    return _slim(quantised, float32, given, tensors)


def _fuse(given: onnx.ModelProto, tensors: Mapping[str, np.ndarray], path: Path) -> None:
    """Write a graph with its weights, normalisation folded into the convolutions."""
    import onnxruntime

    whole = onnx.ModelProto()
    whole.CopyFrom(given)
    for tensor in whole.graph.initializer:
        if tensor.data_location == TensorProto.EXTERNAL:
            tensor.CopyFrom(numpy_helper.from_array(tensors[tensor.name], tensor.name))
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath, options.log_severity_level = str(path), 3
    onnxruntime.InferenceSession(
        whole.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def _slim(
    quantised: onnx.ModelProto, fused: onnx.ModelProto, given: onnx.ModelProto,
    tensors: Mapping[str, np.ndarray],
) -> tuple[bytes, list[str]]:  # fmt: skip
    """A quantised graph whose weights are rounded from the file's tensors as it is loaded.

    Each 8-bit weight becomes Cast, Mul by what normalisation had folded into its channel, and
    QuantizeLinear by the scale that was chosen; the runtime computes that once.
    """
    graph = quantised.graph
    sources = {node.name: _source(given, node.input[1]) for node in _convolutions(given)}
    folded = {node.name: node.input[1] for node in _convolutions(fused)}
    arrays = {t.name: numpy_helper.to_array(t) for t in fused.graph.initializer}
    made_by = {output: node for node in graph.node for output in node.output}
    layout = external_layout({name: tensors[name] for name in set(sources.values())})
    steps: list[Any] = []
    kept = {tensor.name: tensor for tensor in graph.initializer}
    for node in _convolutions(quantised):
        rounded, scale, zero = made_by[node.input[1]].input
        name = sources[node.name]
        array = tensors[name]
        if rounded not in kept:
            continue
        del kept[rounded]
        factor, wide, whole = (f"{rounded}:{word}" for word in ("factor", "wide", "folded"))
        factors = _factors(array, arrays[folded[node.name]])
        kept[factor] = numpy_helper.from_array(factors, factor)
        kept[name] = external(name, array, layout[name])
        steps += [
            helper.make_node("Cast", [name], [wide], to=TensorProto.FLOAT),
            helper.make_node("Mul", [wide, factor], [whole]),
            helper.make_node("QuantizeLinear", [whole, scale, zero], [rounded], axis=0),
        ]
    rest = list(graph.node)
    del graph.initializer[:], graph.node[:], graph.value_info[:]
    graph.initializer.extend(kept.values())
    graph.node.extend([*steps, *rest])
    own = [one for one in quantised.opset_import if one.domain in ("", "ai.onnx")]
    del quantised.opset_import[:]
    quantised.opset_import.extend(own)
    return quantised.SerializeToString(), sorted(layout)


def _convolutions(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    return [node for node in model.graph.node if node.op_type == "Conv"]


def _source(model: onnx.ModelProto, name: str) -> str:
    """The weight that a name stands for, before it was cast."""
    casts = {node.output[0]: node for node in model.graph.node if node.op_type == "Cast"}
    while name in casts:
        name = casts[name].input[0]
    return name


def _factors(array: np.ndarray, folded: np.ndarray) -> np.ndarray:
    """(C, 1, ...) float32: by what each output channel of a weight was multiplied."""
    flat = array.astype(np.float32).reshape(len(array), -1)
    largest = np.arange(len(flat)), np.abs(flat).argmax(axis=1)
    before, after = flat[largest], folded.reshape(len(flat), -1)[largest]
    factors = np.where(before == 0, 1, after / np.where(before == 0, 1, before))
    return factors.astype(np.float32).reshape(-1, *[1] * (array.ndim - 1))


def external(name: str, array: np.ndarray, offset: int) -> TensorProto:
    """A graph's tensor that stands at ``offset`` of the weights beside it."""
    kind = helper.np_dtype_to_tensor_dtype(array.dtype)
    tensor = TensorProto(name=name, dims=array.shape, data_type=kind)
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", "weights"), ("offset", offset), ("length", array.nbytes)):
        tensor.external_data.add(key=key, value=str(value))
    return tensor

