"""What a model costs: parameters, multiply-adds, seconds and memory an image."""

from __future__ import annotations

import logging
import math
import time
import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from detectron2.utils.analysis import FlopCountAnalysis
from torch import nn

logger = logging.getLogger(__name__)

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class Timed(nn.Module):
    """A model whose calls are timed; it answers as the model does.

    Attributes:
        seconds: of each call, in order, with what the GPU had to do included.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.seconds: list[float] = []

    def forward(self, inputs):
        _wait()
        start = time.perf_counter()
        outputs = self.model(inputs)
        _wait()
        self.seconds.append(time.perf_counter() - start)
        return outputs

    def median(self) -> float | None:
        """The median call; the first, which warms up, does not count where there are others."""
        return float(np.median(self.seconds[1:] or self.seconds)) if self.seconds else None


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
    counted = _Maps(model) if hasattr(model, "maps") else model
    count = FlopCountAnalysis(counted, list(inputs))
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


class _Maps(nn.Module):
    """A dense model up to its maps: what is decoded from them is outside of torch's graph."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs):
        return [self.model.maps(given["image"]) for given in inputs]


def _attention_flops(inputs: list[Any], outputs: list[Any]) -> Counter:
    query, key, value = (list(one.type().sizes()) for one in inputs[:3])
    products = math.prod(query) * key[-2] + math.prod(query[:-1]) * key[-2] * value[-1]
    return Counter({"attention": products})


class PeakMemory:
    """The largest memory in use between ``with`` and its end.

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


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
