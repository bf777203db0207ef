"""A moving average of the weights, which is evaluated and kept in place of the last weights.

Polyak and Juditsky, "Acceleration of stochastic approximation by averaging", 1992; with the decay
in exponential form, as Tarvainen and Valpola use it for "Mean teachers", arXiv 1703.01780.
"""

from __future__ import annotations

import torch
from detectron2.engine import HookBase
from torch import nn
from torch.optim.swa_utils import AveragedModel

Tensors = tuple[torch.Tensor, ...] | list[torch.Tensor]


def decay_at(step: float, decay: float, warmup: float) -> float:
    """Share of the old average kept at update ``step`` (0 for the first).

    ``(1 + step) / (warmup + step)`` until that reaches ``decay``: a young average would otherwise
    hold on to the random weights it began with.
    """
    return min(decay, (1 + step) / (warmup + step))


def averaged_model(model: nn.Module, decay: float, warmup: float) -> AveragedModel:
    """A copy of the model whose parameters follow the model's; see `decay_at`.

    Buffers are copied, not averaged. Its ``module`` is the model to evaluate; its ``state_dict``
    holds the average and the number of updates, which is all that a resumed run needs.
    """

    def average(kept: Tensors, given: Tensors, count: torch.Tensor | int) -> None:
        torch._foreach_lerp_(kept, given, 1 - decay_at(float(count), decay, warmup))

    return AveragedModel(model, multi_avg_fn=average)


class AverageWeights(HookBase):
    """Moves the average after every step; it must come before the hooks that evaluate.

    Args:
        average: as `averaged_model` makes it.
        model: the model in training, without a DistributedDataParallel around it.
    """

    def __init__(self, average: AveragedModel, model: nn.Module) -> None:
        self._average = average
        self._model = model

    def after_step(self) -> None:
        self._average.update_parameters(self._model)
