"""Networks without PyTorch: ONNX graphs, computed by ONNX Runtime or by OpenVINO.

A graph comes from the header of a model file, its weights being the file's tensors, or from an ONNX
file that stands alone. Which of a model's networks it is, and what it says, is the caller's matter.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bccd_d2.io.processes import threads
from bccd_d2.models.file import external_layout

BACKENDS = ("onnx", "openvino")
_Run = Callable[[dict[str, np.ndarray]], list[np.ndarray]]


class Network:
    """Arrays by name in, arrays by name out.

    Args:
        graph: an ONNX model's bytes.
        tensors: its weights by name where the graph has none itself; None = it has them.
        backend: of `BACKENDS`.
        device: "cpu", "cuda", "cuda:1", or "auto", a GPU that the installed ONNX Runtime can use.
        precision: "fp32", "int8" for a graph of 8-bit integers, or with OpenVINO "bf16".

    Attributes:
        outputs: names of what it gives.
        metadata: texts of the graph's own ``metadata_props``; ONNX Runtime only.
        device: where it computes.

    Raises:
        ImportError: the backend is not installed.
        ValueError: no such device, or a graph that is damaged or does not fit its tensors.
    """

    def __init__(
        self,
        graph: bytes,
        tensors: Mapping[str, np.ndarray] | None = None,
        *,
        backend: str = "onnx",
        device: str = "auto",
        precision: str = "fp32",
    ) -> None:
        if backend not in BACKENDS:
            raise ValueError(f"backend must be of {BACKENDS}, got {backend!r}")
        if precision == "bf16" and backend == "onnx":
            raise ValueError("ONNX Runtime computes in fp32: take the backend openvino or torch")
        self.metadata: dict[str, str] = {}
        self.device = "cpu"
        self.outputs: list[str] = []
        self._run: _Run
        self._watchers: list[Callable[[dict[str, np.ndarray]], object]] = []
        if backend == "onnx":
            self._open_onnx(graph, tensors, device)
        else:
            self._open_openvino(graph, tensors, device, precision)

    def __call__(self, **inputs: np.ndarray) -> dict[str, np.ndarray]:
        """What the network says of arrays by the names of its inputs."""
        given = {name: np.ascontiguousarray(array) for name, array in inputs.items()}
        for watcher in self._watchers:
            watcher(given)
        return dict(zip(self.outputs, self._run(given), strict=True))

    def watch(self, watcher: Callable[[dict[str, np.ndarray]], object]) -> None:
        """Have ``watcher`` called with all that goes in from now on."""
        self._watchers.append(watcher)

    def _open_onnx(
        self, graph: bytes, tensors: Mapping[str, np.ndarray] | None, device: str
    ) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads()
        options.log_severity_level = 3
        # Threads that wait must not burn what turns maps into cells could use.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        providers = _providers(device, onnxruntime.get_available_providers())
        try:
            if tensors is not None:
                values = [onnxruntime.OrtValue.ortvalue_from_numpy(x) for x in tensors.values()]
                options.add_external_initializers(list(tensors), values)
            session = onnxruntime.InferenceSession(
                graph, options, providers=providers, enable_fallback=False
            )
        except Exception as error:  # the library has a dozen kinds without a common parent
            raise ValueError(f"its ONNX graph cannot be used ({error!s:.200})") from error
        self.outputs = [output.name for output in session.get_outputs()]
        self.metadata = dict(session.get_modelmeta().custom_metadata_map)
        self.device = "cuda" if "CUDAExecutionProvider" in session.get_providers() else "cpu"
        self._run = lambda given: session.run(None, given)

    def _open_openvino(
        self, graph: bytes, tensors: Mapping[str, np.ndarray] | None, device: str, precision: str
    ) -> None:
        if device not in ("auto", "cpu"):
            raise ValueError(f"device {device!r}: the backend openvino computes on the CPU here")
        import openvino

        options: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16"
                                   else "f32", "PERFORMANCE_HINT": "LATENCY"}  # fmt: skip
        if threads():
            options["INFERENCE_NUM_THREADS"] = threads()
        core = openvino.Core()
        try:
            with tempfile.TemporaryDirectory(prefix="bccd_d2_") as folder:
                file = Path(folder) / "graph.onnx"
                file.write_bytes(graph)
                if tensors is not None:
                    names = external_layout(tensors)
                    content = b"".join(tensors[name].tobytes() for name in names)
                    (Path(folder) / "weights").write_bytes(content)
                compiled = core.compile_model(core.read_model(file), "CPU", options)
        except RuntimeError as error:
            raise ValueError(f"its ONNX graph cannot be used ({error!s:.200})") from error
        self.outputs = [output.get_any_name() for output in compiled.outputs]
        request = compiled.create_infer_request()

        def run(given: dict[str, np.ndarray]) -> list[np.ndarray]:
            found = request.infer(given)
            return [np.array(found[output]) for output in compiled.outputs]

        self._run = run


def _providers(device: str, available: list[str]) -> list[Any]:
    """ONNX Runtime's providers for a device.

    Raises:
        ValueError: a GPU without a runtime for it, or another word.
    """
    cpu, cuda = "CPUExecutionProvider", "CUDAExecutionProvider"
    kind, _, number = device.partition(":")
    if kind not in ("auto", "cpu", "cuda") or (number and not number.isdigit()):
        raise ValueError(f"device {device!r} is none: give auto, cpu, cuda or cuda:0 (--device)")
    if kind == "cuda" and cuda not in available:
        raise ValueError(
            f"device {device!r}: this ONNX Runtime has no CUDA; give cpu, install onnxruntime-gpu, "
            "or bccd_d2[train] for PyTorch"
        )
    if kind == "cpu" or cuda not in available:
        return [cpu]
    return [(cuda, {"device_id": int(number or 0)}), cpu]
