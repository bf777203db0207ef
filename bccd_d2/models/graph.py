"""A dense model's network as an ONNX graph that says maps for images of any size and number.

A graph takes "images", (B, H, W, 3) uint8 RGB at the model's scale, and gives one output a head,
(B, channels, H, W) float32: normalising, padding and cutting are in it. Turning maps into cells is
not; that is numpy (`modeling.dense.answer`).

`weightless` graphs have the tensors of a model file for weights, by name, as ONNX's external data:
PyTorch and ONNX Runtime then read one copy. `with_weights` makes a file that stands alone.
"""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from onnx_ir.passes.common import RemoveUnusedNodesPass
from onnxscript import optimizer
from torch import nn

from bccd_d2.io.atomic import write_bytes_atomic
from bccd_d2.masks.cell_crops import MEASURES
from bccd_d2.modeling.backbones.vit import TimmViT
from bccd_d2.modeling.dense.heads import answers
from bccd_d2.modeling.dense.segmentor import DenseSegmentor
from bccd_d2.modeling.types.head import CellTypes
from bccd_d2.modeling.types.network import TypeNetwork
from bccd_d2.modeling.types.small import SmallCellNetwork
from bccd_d2.models.file import FORMAT, HEADER, LOOK, SMALL, describe, external_layout
from bccd_d2.models.int8 import external
from bccd_d2.models.load import TrainedModel
from bccd_d2.models.network import Network
from bccd_d2.models.preprocessing import Preprocessing

INPUT = "images"
TOLERANCE = 1e-3  # of an export's maps to the model's
_ROOT = "net."  # what the exporter puts before the names of a model's tensors


class _Maps(nn.Module):
    """(B, H, W, 3) uint8 to a tuple of the heads' answers."""

    def __init__(self, net: DenseSegmentor) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        net = self.net
        pixels = (images.permute(0, 3, 1, 2).float() - net.pixel_mean) / net.pixel_std
        found = answers(net._logits(pixels))
        return tuple(found[name] for name in net.heads.names)


class _Types(nn.Module):
    """Crops (N, 4, S, S) uint8 and measures (N, M) to logits (N, K + 1)."""

    def __init__(self, net: TypeNetwork) -> None:
        super().__init__()
        self.net = net

    def forward(self, crops: torch.Tensor, measures: torch.Tensor) -> torch.Tensor:
        return self.net(crops.float(), measures)


class _Small(nn.Module):
    """(B, H, W, 3) uint8 to (B, 1, H, W), the probability to lie in a small cell."""

    def __init__(self, net: SmallCellNetwork) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.net(images.permute(0, 3, 1, 2).float()).sigmoid()


def type_graphs(types: CellTypes) -> dict[str, onnx.ModelProto]:
    """The graphs of what gives types to found cells, by the names that their tensors begin with."""
    free, side = any_size(), types.options.crop.size
    crops = torch.zeros(2, 4, side, side, dtype=torch.uint8), torch.zeros(2, len(MEASURES))
    found = {
        LOOK: export_module(
            _Types(types.network), crops, ({0: free}, {0: free}),
            inputs=["crops", "measures"], outputs=["logits"],
        )
    }  # fmt: skip
    if types.small is not None:
        image = torch.zeros(2, 96, 160, 3, dtype=torch.uint8)
        found[SMALL] = export_module(
            _Small(types.small), (image,), ({0: free, 1: free, 2: free},),
            inputs=[INPUT], outputs=["small"],
        )  # fmt: skip
    return found


def can_be_a_graph(net: nn.Module) -> bool:
    """Whether `finder_graph` takes a model: a dense one that looks at whole images.

    One with a ViT is not taken: its position embedding is resampled for each size of image.
    """
    if any(isinstance(part, TimmViT) for part in net.modules()):
        return False
    return isinstance(net, DenseSegmentor) and not net.tiles.size


def any_size() -> Any:
    """What stands for a side of an input of a graph that may have any length.

    Raises:
        ValueError: this PyTorch is too old to write graphs.
    """
    if not hasattr(torch.export.Dim, "DYNAMIC"):
        raise ValueError(
            f"PyTorch {torch.__version__} trains and predicts but cannot write a model's graph: "
            "export with 2.6 or newer"
        )
    return torch.export.Dim.DYNAMIC


def finder_graph(net: Any) -> onnx.ModelProto:
    """The graph of a dense model, its weights those of the model, named as in its state dict."""
    example = torch.zeros(2, 96, 160, 3, dtype=torch.uint8)
    free = any_size()
    return export_module(
        _Maps(net), (example,), ({0: free, 1: free, 2: free},),
        inputs=[INPUT], outputs=list(net.heads.names),
    )  # fmt: skip


def export_module(
    module: Any,
    examples: tuple[torch.Tensor, ...],
    dynamic: tuple[dict[int, Any], ...],
    *,
    inputs: list[str],
    outputs: list[str],
) -> onnx.ModelProto:
    """A module whose model is its attribute ``net`` as a graph, constants folded, nothing fused.

    It is exported as it predicts, not as it trains, whatever its mode.

    Args:
        dynamic: which sides of which input may differ from those of the examples: `any_size`.
    """
    loud, before = logging.getLogger("torch.onnx").level, module.net.training
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    module.eval()
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                module.cpu(), examples, dynamo=True, dynamic_shapes=dynamic, input_names=inputs,
                output_names=outputs, optimize=False, verbose=False,
            )  # fmt: skip
    finally:
        logging.getLogger("torch.onnx").setLevel(loud)
        module.net.train(before)
    assert program is not None  # only an export to a file answers with nothing
    optimizer.fold_constants(program.model)
    RemoveUnusedNodesPass()(program.model)
    return _plain(program.model_proto)


def _plain(model: onnx.ModelProto) -> onnx.ModelProto:
    """Without the exporter's notes, among them paths of this machine; tensors by own names."""
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.input, *graph.output, *graph.initializer):
        del part.metadata_props[:]
        if hasattr(part, "doc_string"):
            part.ClearField("doc_string")
    del graph.value_info[:]
    renamed = {t.name: t.name.removeprefix(_ROOT) for t in graph.initializer}
    for tensor in graph.initializer:
        tensor.name = renamed[tensor.name]
    for node in graph.node:
        node.input[:] = [renamed.get(name, name) for name in node.input]
    for output in graph.output:  # its sides are formulas of the input's
        for side, name in zip(output.type.tensor_type.shape.dim, ("batch", "", "height", "width"),
                              strict=False):  # fmt: skip
            if side.dim_param:
                side.dim_param = name
    return model


def weightless(
    model: onnx.ModelProto, tensors: Mapping[str, np.ndarray], prefix: str = ""
) -> tuple[bytes, list[str]]:
    """The graph with the arrays of a model file in place of its weights, and their names.

    Args:
        tensors: those of the file; float16 is widened within the graph.
        prefix: before the names of the network's tensors in the file.

    Raises:
        ValueError: a weight of the graph is none of the tensors.
    """
    slim = onnx.ModelProto()
    slim.CopyFrom(model)
    names = [prefix + tensor.name for tensor in model.graph.initializer]
    names = [name for name in names if name in tensors]
    layout = external_layout({name: tensors[name] for name in names})
    kept, casts = [], []
    for given in slim.graph.initializer:
        name = prefix + given.name
        if name not in layout:
            if len(given.raw_data) > 4096:
                raise ValueError(f"weight {name} of the graph is no tensor of the model file")
            kept.append(given)
            continue
        array = tensors[name]
        if array.shape != tuple(given.dims):
            raise ValueError(f"weight {name} of the graph is {tuple(given.dims)}, the tensor of "
                             f"the model file {array.shape}")  # fmt: skip
        kept.append(external(name, array, layout[name]))
        wide = f"{name}:wide"
        casts.append(helper.make_node("Cast", [name], [wide], to=given.data_type))
        for node in slim.graph.node:
            node.input[:] = [wide if one == given.name else one for one in node.input]
    nodes = [*casts, *slim.graph.node]
    del slim.graph.initializer[:], slim.graph.node[:]
    slim.graph.initializer.extend(kept)
    slim.graph.node.extend(nodes)
    return slim.SerializeToString(), names


def export_network(model: TrainedModel, path: str | Path, *, half: bool = False) -> Path:
    """Write a dense model as one ONNX file that stands alone; see `with_weights`.

    Args:
        half: weights as float16; the network computes in float32 all the same.

    Raises:
        ValueError: a detector or a ViT, whose proposals, windows and positions no graph of free
            size can follow, a model in tiles or one without a network.
    """
    if not can_be_a_graph(model.net):
        kind = type(model.net).__name__
        raise ValueError(
            f"{model.name} ({kind}) is no dense model of whole images without a ViT, and others "
            "stay with PyTorch: their windows, proposals and tokens depend on the image's size"
        )
    tensors = {name: x.detach().cpu().numpy() for name, x in model.net.state_dict().items()}
    if half:
        tensors = {n: x.astype(np.float16) if x.dtype == np.float32 else x
                   for n, x in tensors.items()}  # fmt: skip
    point = {"score_threshold": model.score_threshold, "origin": "the model it was exported from"}
    looks = Preprocessing.of(model.config).state_dict()
    says = describe(model.name, model.config, point, looks)
    return with_weights(path, finder_graph(model.net), tensors, says)


def largest_difference(
    path: str | Path, model: TrainedModel, images: Sequence[np.ndarray]
) -> float:
    """How far the maps of an exported network and of the model differ, over all pixels.

    Args:
        images: (H, W, 3) uint8 RGB, looked at as they are.
    """
    net: Any = model.net
    network, worst = Network(Path(path).read_bytes()), 0.0
    for image in images:
        exported = network(images=image[None])
        with torch.no_grad():
            maps = net.maps(torch.from_numpy(image.transpose(2, 0, 1).copy()))
        gaps = [float(np.abs(exported[name][0] - maps[name].numpy()).max()) for name in maps]
        worst = max(worst, *gaps)
    return worst


def with_weights(
    path: str | Path, graph: onnx.ModelProto, tensors: Mapping[str, np.ndarray],
    description: Mapping[str, Any],
) -> Path:  # fmt: skip
    """Write a graph with these weights as one ONNX file; its metadata_props say what it is.

    ``bccd_d2`` there holds the description of a model file, so `load_pretrained` takes the file.

    Raises:
        ValueError: see `weightless`.
    """
    model = onnx.load_from_string(weightless(graph, tensors)[0])
    for tensor in model.graph.initializer:
        if tensor.data_location == TensorProto.EXTERNAL:
            tensor.CopyFrom(numpy_helper.from_array(tensors[tensor.name], tensor.name))
    says = {"format": FORMAT, **{k: v for k, v in description.items() if k != "networks"}}
    helper.set_model_props(model, {HEADER: json.dumps(says, allow_nan=False)})
    model.producer_name = "bccd_d2"
    return write_bytes_atomic(path, model.SerializeToString())
