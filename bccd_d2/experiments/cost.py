"""What a model costs: parameters, operations, seconds and memory an image, time a step."""

from __future__ import annotations

import ctypes
import gc
import logging
import math
import os
import time
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from detectron2.utils.analysis import FlopCountAnalysis
from detectron2.utils.events import EventStorage
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from bccd_d2.modeling.build import build_model
from bccd_d2.models.preprocessing import with_reference
from bccd_d2.training import loaders
from bccd_d2.training.build import build_optimizer
from bccd_d2.training.run import prepare
from bccd_d2.training.trainer import CellTrainer

logger = logging.getLogger(__name__)

# TFLOP/s of dense matrix products, by a part of the GPU's name: NVIDIA's data sheets. fp32 without
# TF32, as torch has it unless it is told otherwise.
_PEAKS = {"H100": {"fp32": 67.0, "bf16": 989.0}, "H200": {"fp32": 67.0, "bf16": 989.0},
          "A100": {"fp32": 19.5, "bf16": 312.0}}  # fmt: skip
_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class Timed(nn.Module):
    """A model whose calls are timed; it answers as the model does.

    Attributes:
        seconds: of each call, in order, with what the GPU had to do included.
        processor: seconds of processor time of each call, all threads added up.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.seconds: list[float] = []
        self.processor: list[float] = []

    def forward(self, inputs: Any) -> Any:
        wait_for_gpu()
        start, worked = time.perf_counter(), time.process_time()
        outputs = self.model(inputs)
        wait_for_gpu()
        self.seconds.append(time.perf_counter() - start)
        self.processor.append(time.process_time() - worked)
        return outputs

    def median(self, processor: bool = False) -> float | None:
        """The median call; the first, which warms up, does not count where there are others.

        Args:
            processor: of processor time, which other work on the machine hardly changes.
        """
        times = self.processor if processor else self.seconds
        return float(np.median(times[1:] or times)) if times else None


def parameters(model: nn.Module) -> int:
    """Number of weights; 0 for a model without any."""
    return sum(parameter.numel() for parameter in model.parameters())


@torch.no_grad()
def gflops(model: nn.Module, inputs: Sequence[dict]) -> float | None:
    """Billions of multiply-adds for these inputs, by fvcore; None where it cannot trace the model.

    fvcore leaves out what it has no rule for: pooling of regions, non-maximum suppression, drawing
    of masks. Attention is added here, as two matrix products. A model without weights gets None.
    """
    if not parameters(model):
        return None
    model.eval()
    count = FlopCountAnalysis(_Everything(model), (list(inputs),))
    count.set_op_handle("aten::scaled_dot_product_attention", _attention_flops)
    count.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    count.tracer_warnings("none")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return float(count.total()) / 1e9
    except (RuntimeError, ValueError, TypeError, KeyError, AttributeError) as error:
        logger.warning("GFLOPs unknown: %s: %s", type(error).__name__, str(error).split("\n")[0])
        return None


class _Everything(nn.Module):
    """Answers with what every part of a model gave: a trace leaves out what no answer depends on.

    Masks and label maps leave torch on the way to their RLEs, and so would the layers before them.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: Any) -> list[torch.Tensor]:
        given: list[torch.Tensor] = []

        def keep(_module: nn.Module, _args: Any, output: Any) -> None:
            if torch.is_tensor(output):
                given.append(output)

        handles = [part.register_forward_hook(keep) for part in self.model.modules()]
        try:
            self.model(inputs)
        finally:
            for handle in handles:
                handle.remove()
        return given


def _attention_flops(inputs: list[Any], outputs: list[Any]) -> Counter:
    query, key, value = (list(one.type().sizes()) for one in inputs[:3])
    products = math.prod(query) * key[-2] + math.prod(query[:-1]) * key[-2] * value[-1]
    return Counter({"attention": products})


class _Apart(TorchDispatchMode):
    """Takes composite operators apart: without autograd a convolution arrives whole, and the
    counter of torch before 2.6 does not know it."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = kwargs or {}
        with self:
            parts = func.decompose(*args, **given)
        return func(*args, **given) if parts is NotImplemented else parts


def operations(function: Callable[[], Any]) -> float:
    """Floating-point operations of one call, a multiply-add as two, gradients with it.

    Matrix products, convolutions and attention as torch runs them; nothing that is compiled, and no
    pooling or suppression. Unlike `gflops` it needs no trace, so a training step has one too.
    """
    with FlopCounterMode(display=False) as counter, _Apart():
        function()
    return float(counter.get_total_flops())


def share_of_peak(operations_a_second: float, precision: str, gpu: str = "") -> float | None:
    """The part of what a GPU can do at most, in [0, 1]; None for a machine whose peak is unknown.

    Args:
        precision: "fp32" or "bf16".
        gpu: its name as torch gives it; "" = the one in use.
    """
    if not gpu:
        if not torch.cuda.is_available():
            return None
        gpu = torch.cuda.get_device_name()
    peak = next((rates.get(precision) for part, rates in _PEAKS.items() if part in gpu), None)
    return operations_a_second / (peak * 1e12) if peak else None


class PeakMemory:
    """The largest memory in use between ``with`` and its end.

    What earlier work in this process left behind is given back first, as far as it can be.

    Attributes:
        megabytes: of the GPU where the device is one, else the process's resident memory, libraries
            and all; None where the system does not tell (only Linux does).
    """

    def __init__(self, device: str = "cpu") -> None:
        self._on_gpu = str(device).startswith("cuda")
        self.megabytes: float | None = None

    def __enter__(self) -> PeakMemory:
        if self._on_gpu:
            torch.cuda.reset_peak_memory_stats()
        else:
            _give_back_memory()
            try:
                _CLEAR.write_text("5")  # the mark of the highest resident memory starts anew
            except OSError:
                logger.warning("peak memory unknown: %s cannot be written", _CLEAR)
                return self
            self.megabytes = math.nan
        return self

    def __exit__(self, *_: object) -> None:
        if self._on_gpu:
            self.megabytes = torch.cuda.max_memory_allocated() / 2**20
        elif self.megabytes is not None:
            lines = _STATUS.read_text().splitlines()
            peak = next((line.split()[1] for line in lines if line.startswith("VmHWM")), None)
            self.megabytes = None if peak is None else int(peak) / 1024


def _give_back_memory() -> None:
    """Let the system have what is free inside this process; glibc keeps it otherwise."""
    gc.collect()
    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    except (OSError, AttributeError):  # another C library
        logger.debug("no malloc_trim here")


def seconds_per_step(
    config: Any,
    processes: int = 1,
    steps: int = 4,
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """Seconds that one of several processes needs for its share of a step, measured here.

    The median of real steps (images, losses, gradients, optimizer) on a model that is thrown away.

    Args:
        config: not yet prepared; it is not changed.
        clock: gives the time in seconds.
    """
    ready = with_reference(prepare(config.clone())).clone()
    ready.defrost()
    solver = ready.SOLVER
    solver.IMS_PER_BATCH = max(1, solver.IMS_PER_BATCH // processes)
    solver.ACCUMULATE = min(solver.ACCUMULATE, solver.IMS_PER_BATCH)
    model = build_model(ready)
    trainer = CellTrainer(
        model,
        loaders.train_loader(ready, loaders.records(ready.DATASETS.TRAIN)),
        build_optimizer(ready, model),
        accumulate=solver.ACCUMULATE,
        precision=solver.PRECISION,
        clip=solver.CLIP_GRADIENTS.CLIP_VALUE if solver.CLIP_GRADIENTS.ENABLED else 0,
    )
    times = []
    threads = torch.get_num_threads()
    if processes > 1:
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // processes))
    with EventStorage() as trainer.storage:
        for trainer.iter in range(steps):
            start = clock()
            trainer.run_step()
            wait_for_gpu()
            times.append(clock() - start)
    torch.set_num_threads(threads)
    return float(np.median(times[1:] or times))


def wait_for_gpu() -> None:
    """Return when the GPU, if there is one, has done all that it was told."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
