"""Weights of several tasks' losses: fixed, or learned from their uncertainty.

Both modules turn {task: loss} into {task: term}; the sum of the terms is what is trained.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import nn


class FixedWeights(nn.Module):
    """Each task's loss times its constant.

    Args:
        weights: by task, >= 0; 0 switches a task off.

    Raises:
        ValueError: no task, or a weight that is negative or not finite.
    """

    def __init__(self, weights: Mapping[str, float]) -> None:
        super().__init__()
        wrong = {k: v for k, v in weights.items() if not (math.isfinite(v) and v >= 0)}
        if not weights or wrong:
            raise ValueError(f"weights: wanted one a task, finite and >= 0, got {wrong or weights}")
        self._weights = {task: float(weight) for task, weight in weights.items()}

    def weights(self) -> dict[str, float]:
        """The constants by task."""
        return dict(self._weights)

    def forward(self, losses: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """The weighted terms; KeyError if the tasks are not those of the weights."""
        _check_tasks(losses, self._weights)
        return {task: self._weights[task] * loss for task, loss in losses.items()}


class UncertaintyWeights(nn.Module):
    """Learned weights exp(-s), each paid for by s / 2, with s = log variance of the task.

    A task whose loss stays high gets a small weight. The optimizer must see this module's
    parameters, without weight decay (which would pull every weight towards 1). A term may be
    negative. Where a task's loss goes to 0, as with empty targets throughout, its s would sink
    without end: it is held within +-``limit``.
    Source: Kendall et al., CVPR 2018 (arXiv 1705.07115), eq. 10; we take the form of their
    classification terms for all tasks, regression has exp(-s) / 2 there.

    Args:
        tasks: their names.
        start: first weight of each, > 0; one number or one a task.
        limit: bound of |s|, > 0; 5 bounds the weights to .0067..148.

    Raises:
        ValueError: no task, or a number out of its range.
    """

    def __init__(
        self,
        tasks: Sequence[str],
        start: float | Mapping[str, float] = 1.0,
        limit: float = 5.0,
    ) -> None:
        super().__init__()
        self._tasks = tuple(tasks)
        first = dict(start) if isinstance(start, Mapping) else dict.fromkeys(tasks, start)
        if not self._tasks or len(set(self._tasks)) != len(self._tasks):
            raise ValueError(f"tasks: wanted different names, at least one, got {self._tasks}")
        if set(first) != set(self._tasks) or min(first.values()) <= 0 or limit <= 0:
            raise ValueError(
                f"start, limit: wanted > 0 for each of {self._tasks} and > 0, got {first}, {limit}"
            )
        self.limit = limit
        values = [-math.log(first[task]) for task in self._tasks]
        self.log_variances = nn.Parameter(torch.tensor(values, dtype=torch.float32))

    def weights(self) -> dict[str, float]:
        """The weights exp(-s) by task, as they are now."""
        values = (-self._bounded()).exp().detach().tolist()
        return dict(zip(self._tasks, values, strict=True))

    def forward(self, losses: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """The terms exp(-s) loss + s / 2; KeyError if the tasks are not those of the module."""
        _check_tasks(losses, self._tasks)
        bounded = self._bounded()
        place = {task: index for index, task in enumerate(self._tasks)}
        return {
            task: (-bounded[place[task]]).exp() * loss + bounded[place[task]] / 2
            for task, loss in losses.items()
        }

    def _bounded(self) -> torch.Tensor:
        return self.log_variances.clamp(-self.limit, self.limit)


def _check_tasks(losses: Mapping[str, torch.Tensor], tasks: Iterable[str]) -> None:
    if set(losses) != set(tasks):
        raise KeyError(f"losses: wanted those of {sorted(tasks)}, got {sorted(losses)}")
