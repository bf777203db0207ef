"""Which library computes a model's network: the one place that decides."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

from bccd_d2._detectron2 import require_detectron2
from bccd_d2.models.file import find_pretrained
from bccd_d2.models.graph_model import SUFFIX, has_graph, load_graph_model
from bccd_d2.models.model import CellModel

AUTO = "auto"
LIBRARIES = {"onnx": "onnxruntime", "openvino": "openvino", "torch": "detectron2"}  # by backend
CHOICES = (AUTO, *LIBRARIES)


def load_with(
    name_or_path: str = "",
    config_file: str = "",
    device: str = "auto",
    precision: str = "fp32",
    backend: str = AUTO,
) -> CellModel:
    """A model of a name, a folder or a file; see `segmenter.load_pretrained`.

    Raises:
        ImportError: the backend is not installed, or PyTorch is needed and is not.
        FileNotFoundError, KeyError, ValueError: see `models.load.load_model` and
            `models.graph_model.load_graph_model`.
    """
    if backend not in CHOICES:
        raise ValueError(f"backend must be of {', '.join(CHOICES)}, got {backend!r}")
    file = None if config_file or backend == "torch" else _graph_file(name_or_path)
    if file is None and backend not in (AUTO, "torch"):
        raise ValueError(
            f"backend {backend!r} takes a model file with a network, as bccd export weights "
            f"writes it, got {name_or_path or config_file}: give the backend torch"
        )
    if backend == AUTO:
        backend = "torch" if file is None else _best(device, precision)
    if precision == "int8" and (file is None or backend == "torch"):
        raise ValueError(
            "precision int8 is for model files with a graph of 8-bit integers, computed by ONNX "
            "Runtime or OpenVINO: give such a file, or precision fp32 or bf16"
        )
    if file is not None and backend != "torch":
        return load_graph_model(file, backend, device, precision)
    require_detectron2()
    from bccd_d2.models.load import load_model

    return load_model(name_or_path, config_file, device, precision)


def installed() -> list[str]:
    """The backends whose library is there."""
    return [backend for backend, library in LIBRARIES.items() if _installed(library)]


def model_path(given: str) -> Path:
    """The file that is given, or that of the shipped model of this name.

    Raises:
        FileNotFoundError, KeyError, ValueError: see `find_pretrained`.
    """
    path = Path(given)
    return path if path.is_file() else find_pretrained(given)


def _graph_file(name_or_path: str) -> Path | None:
    """The model file that is meant, where it can be used without PyTorch."""
    path = Path(name_or_path)
    if name_or_path and (path.is_dir() or path.suffix.lower() in (".pth", ".pt", ".bin")):
        return None
    if path.suffix.lower() not in (".safetensors", SUFFIX) and not path.is_file():
        path = find_pretrained(name_or_path)
    return path if path.suffix.lower() in (".safetensors", SUFFIX) and has_graph(path) else None


def _best(device: str, precision: str) -> str:
    """PyTorch for a GPU where it is installed; else OpenVINO for bfloat16, else ONNX Runtime."""
    if precision == "int8":
        return "onnx"
    gpu = device.startswith("cuda") or (device == "auto" and shutil.which("nvidia-smi") is not None)
    if gpu and _installed("torch") and _installed("detectron2"):
        return "torch"
    if precision == "bf16":
        torch = _installed("torch") and _installed("detectron2")
        return "torch" if torch and not _installed("openvino") else "openvino"
    return "onnx"


def _installed(library: str) -> bool:
    return importlib.util.find_spec(library) is not None
