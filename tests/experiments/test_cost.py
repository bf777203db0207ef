"""Times, memory and multiply-adds are those of the model, not of what ran before it."""

from __future__ import annotations

import time

import numpy as np
import pytest

pytest.importorskip("detectron2")

import torch
from torch import nn

from bccd_d2.config.load import finalize, load_config
from bccd_d2.experiments.cost import (
    PeakMemory,
    Timed,
    gflops,
    operations,
    parameters,
    share_of_peak,
)
from bccd_d2.modeling.build import build_model

from ..small import SMALL_DETECTOR


class Sleeper(nn.Module):
    """Waits for 20 ms, the first time for 100."""

    calls = 0

    def forward(self, inputs):
        self.calls += 1
        time.sleep(0.1 if self.calls == 1 else 0.02)
        return inputs


def test_waiting_takes_seconds_but_no_processor_time() -> None:
    timed = Timed(Sleeper())
    assert timed.median() is None
    assert [timed(n) for n in range(4)] == [0, 1, 2, 3]
    assert 0.015 < timed.median() < 0.1 and timed.median(processor=True) < 0.01


def test_peak_memory_forgets_what_was_freed() -> None:
    def peak(megabytes: float) -> float:
        with PeakMemory("cpu") as memory:
            kept = [np.ones(1000) for _ in range(int(megabytes * 125))]  # 8 kB each: from the heap
            del kept
        return memory.megabytes

    before = peak(0)
    if before is None:
        pytest.skip("needs Linux's /proc/self/clear_refs")
    assert peak(200) - before > 150
    assert abs(peak(0) - before) < 50


def test_multiply_adds_by_hand() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 8, 3, padding=1, bias=False)

        def forward(self, inputs):
            return self.conv(inputs[0]["image"])

    model = Model()
    assert parameters(model) == 216
    assert gflops(model, [{"image": torch.zeros(1, 3, 10, 20)}]) == pytest.approx(216 * 200 / 1e9)
    assert gflops(nn.Identity(), []) is None

    class Answer(Model):
        """Leaves torch on the way, as masks do that become RLEs."""

        def forward(self, inputs):
            return [{"cells": int(super().forward(inputs).numpy().sum())}]

    assert gflops(Answer(), [{"image": torch.zeros(1, 3, 10, 20)}]) == gflops(
        model, [{"image": torch.zeros(1, 3, 10, 20)}]
    )


def test_multiply_adds_of_a_detector_that_draws_its_masks_anew() -> None:
    """The outline head is run for the redrawing alone, and counts."""

    def counted(method: str) -> float:
        options = [*SMALL_DETECTOR, "MODEL.ROI_HEADS.SCORE_THRESH_TEST", "0.0"]
        options += ["MODEL.REDRAW.METHOD", method]
        torch.manual_seed(0)  # as many cells from the same weights
        model = build_model(finalize(load_config("cpu_joint", options)))
        image = torch.zeros(3, 64, 96, dtype=torch.uint8)
        return gflops(model, [{"image": image, "height": 128, "width": 192}])

    assert counted("watershed") > counted("") > 0


def test_operations_of_a_training_step_by_hand() -> None:
    layer = nn.Linear(10, 20)
    given = torch.zeros(4, 10)
    assert operations(lambda: layer(given)) == 2 * 4 * 10 * 20
    # The gradient of the weights costs as much again; the input wants none.
    assert operations(lambda: layer(given).sum().backward()) == 2 * 2 * 4 * 10 * 20


def test_the_share_of_a_peak() -> None:
    assert share_of_peak(98.9e12, "bf16", "NVIDIA H100 80GB HBM3") == pytest.approx(0.1)
    assert share_of_peak(6.7e12, "fp32", "NVIDIA H200") == pytest.approx(0.1)
    assert share_of_peak(1e12, "bf16", "some other GPU") is None
