"""A model whose network is an ONNX graph: it needs neither PyTorch nor detectron2."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bccd_d2.masks.cell_types import TypeNetworks, typed
from bccd_d2.masks.cells import Cells
from bccd_d2.masks.classes import Classes
from bccd_d2.modeling.dense.answer import answer_options, to_cells
from bccd_d2.modeling.options import nested, type_options
from bccd_d2.models.file import (
    FINDER,
    HEADER,
    INT8,
    LOOK,
    SMALL,
    checked_description,
    graph_of,
    read_arrays,
    read_description,
)
from bccd_d2.models.model import CellModel
from bccd_d2.models.network import Network
from bccd_d2.models.point import OperatingPoint

SUFFIX = ".onnx"  # of files that stand alone
_NO_INT8 = "it has no graph of 8-bit integers: add one (bccd export int8) or take another precision"


class GraphModel(CellModel):
    """A dense model of a model file; see `CellModel`.

    Args:
        description: of `models.file.read_description`.
        network: "images" (B, h, w, 3) uint8 in, maps (B, channels, h, w) by head out.
        source: the file of both.
        backend: of `models.network.BACKENDS`.
        types: networks for the types of found cells; without any it gives none.

    Attributes:
        description: as given.
        networks: all that compute, by name.

    Raises:
        KeyError, TypeError, ValueError: the description lacks something, or it is out of range.
    """

    def __init__(
        self,
        description: Mapping[str, Any],
        network: Network,
        source: str,
        backend: str = "onnx",
        precision: str = "fp32",
        types: TypeNetworks | None = None,
    ) -> None:
        point = OperatingPoint()
        point.load_state_dict(description["operating_point"])
        config = nested(description["config"])
        super().__init__(description["name"], config, point.score_threshold, source, precision)
        self.description, self.backend, self.device = description, backend, network.device
        self._answers = answer_options(config)
        self._network, self._type_networks = network, types
        self.networks: dict[str, Network] = {FINDER: network}
        self._types = type_options(config)
        self._usual = float(config["INPUT"].get("DIAMETER", 0))
        if not self._types.enabled or types is None:
            self._type_networks = None
            self.classes = Classes() if self._types.enabled else self.classes

    def _portable(self) -> Mapping[str, Any]:
        return self.description["config"]

    def _answer(
        self, images: Sequence[np.ndarray], sizes: Sequence[tuple[int, int]], untyped: bool = False
    ) -> list[Cells]:
        maps = self._network(images=np.stack(images))
        found = []
        for index, size in enumerate(sizes):
            parts = {name: part[index] for name, part in maps.items()}
            cells = to_cells(parts, size, self._answers, images[index])
            if self._type_networks is not None and not untyped:
                cells = typed(images[index], cells, self._type_networks, self._types, self._usual)
                best = np.argsort(-cells.scores, kind="stable")[: self._cap]
                cells = cells[best]
            found.append(cells)
        return found


def has_graph(path: str | Path) -> bool:
    """Whether a model file can be used without PyTorch.

    Raises:
        FileNotFoundError, ValueError: see `models.file.read_description`.
    """
    return Path(path).suffix == SUFFIX or FINDER in read_description(path)["networks"]


def load_graph_model(
    path: str | Path, backend: str = "onnx", device: str = "auto", precision: str = "fp32"
) -> GraphModel:
    """The model of a .safetensors file with a graph, or of an .onnx file of ours.

    Raises:
        FileNotFoundError: no such file.
        ImportError: the backend is not installed.
        ValueError: a file that is damaged, has no graph or no description, or no such device.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"model file {path} does not exist")
    how: dict[str, Any] = {"backend": backend, "device": device, "precision": precision}
    try:
        if path.suffix != SUFFIX:
            return _of_file(path, how)
        description, network = _alone(path, how)
        return GraphModel(description, network, str(path), backend, precision)
    except (KeyError, TypeError, ValueError) as error:
        text = error.args[0] if error.args and isinstance(error, ValueError) else repr(error)
        named = text if str(path) in str(text) else f"model file {path} cannot be used: {text}"
        raise ValueError(named) from error


def _of_file(path: Path, how: dict[str, Any]) -> GraphModel:
    """The model of a .safetensors file, its types too where the file has their graphs."""
    description, arrays = read_description(path), read_arrays(path)
    if graph_of(description) is None:
        raise ValueError("it has no ONNX graph: write it again with bccd export weights")
    kind = INT8 if how["precision"] == "int8" else ""
    if FINDER + kind not in description["networks"]:
        raise ValueError(_NO_INT8)
    graphs = {
        name: graph_of(description, name + kind) or graph_of(description, name)
        for name in (FINDER, LOOK, SMALL)
    }
    networks = {
        name: Network(graph[0], {one: arrays[one] for one in graph[1]}, **how)
        for name, graph in graphs.items()
        if graph is not None
    }
    types = _type_networks(networks, description) if LOOK in networks else None
    model = GraphModel(
        description, networks[FINDER], str(path), how["backend"], how["precision"], types
    )
    model.networks = networks
    return model


def _type_networks(
    networks: Mapping[str, Network], description: Mapping[str, Any]
) -> TypeNetworks:
    """The networks of types as functions of arrays."""

    def look(crops: np.ndarray, measures: np.ndarray) -> np.ndarray:
        if not len(crops):
            return np.zeros((0, len(description["config"]["MODEL.CLASSES.NAMES"]) + 1), np.float32)
        return networks[LOOK](crops=crops, measures=measures)["logits"]

    def small(image: np.ndarray) -> np.ndarray:
        return networks[SMALL](images=image[None])["small"][0, 0]

    return TypeNetworks(look, small if SMALL in networks else None)


def _alone(path: Path, how: dict[str, Any]) -> tuple[dict[str, Any], Network]:
    if how["precision"] == "int8":
        raise ValueError(_NO_INT8)
    content = path.read_bytes()
    network = Network(content, **how)
    said = network.metadata or Network(content).metadata  # OpenVINO tells none
    if HEADER not in said:
        raise ValueError("it does not say how its maps become cells: give one of bccd export")
    return checked_description(said[HEADER], path), network

