"""Training of the type network on examples, for a given processor time."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from bccd_d2.experiments.budget import threads_for
from bccd_d2.experiments.types.augment import recoloured, turned
from bccd_d2.experiments.types.examples import Examples
from bccd_d2.modeling.types.network import TypeNetwork, type_loss

logger = logging.getLogger(__name__)

LARGER = 1.5  # training crops are this many times as wide, for turning and zooming
SIZE_NOISE = 0.12  # in log2: the usual diameter of an image is an estimate


@dataclass(frozen=True)
class FitOptions:
    """How a network is trained.

    Attributes:
        minutes: of processor time.
        batch: examples a step.
        rate: the highest learning rate, of AdamW, after a short warm-up; cosine to 0.
        weight_decay: AdamW's.
        balance: a kind of label is drawn by its number to the power of 1 less this.
        hue: see `augment.recoloured`.
        seed: of the weights and of all that is random.
    """

    minutes: float = 5.0
    batch: int = 64
    rate: float = 2e-3
    weight_decay: float = 0.02
    balance: float = 0.5
    hue: float = 0.06
    seed: int = 0


def fit_types(
    network: TypeNetwork, examples: Examples, allowed: np.ndarray, side: int, options: FitOptions
) -> TypeNetwork:
    """The network, trained in place and in eval mode.

    Args:
        examples: with crops of `LARGER` times ``side`` px.
        allowed: (N, K) bool, the classes that each example's label leaves possible.
        side: px of the crops that the network will see.

    Raises:
        ValueError: no example teaches anything.
    """
    weights = sampling_weights(allowed, examples.counted, options.balance)
    if not weights.any():
        raise ValueError("no found cell matches an annotation: is this the model for such images?")
    share = (allowed / np.maximum(allowed.sum(axis=1, keepdims=True), 1)) * weights[:, None]
    frequencies = torch.from_numpy(share.sum(axis=0) / max(share.sum(), 1e-9)).float()
    random, generator = np.random.default_rng(options.seed), torch.Generator()
    generator.manual_seed(options.seed)

    def loss() -> torch.Tensor:
        index = random.choice(len(weights), options.batch, p=weights / weights.sum())
        planes = torch.from_numpy(examples.crops[index]).float()
        planes = turned(planes, side, generator, (0.85, 1.18))
        pixels = recoloured(planes[:, :3], generator, options.hue)
        mask = (planes[:, 3:] >= 128).float() * 255
        measures = torch.from_numpy(examples.measures[index]).clone()
        measures[:, 0] += SIZE_NOISE * torch.randn(len(measures), generator=generator)
        logits = network(torch.cat([pixels, mask], dim=1), measures)
        known = torch.from_numpy(allowed[index]), torch.from_numpy(examples.counted[index])
        return type_loss(logits, *known, frequencies)

    fit(network, loss, options)
    return network


def sampling_weights(allowed: np.ndarray, counted: np.ndarray, balance: float) -> np.ndarray:
    """(N,) float64: how often an example is drawn, 0 for one that teaches nothing.

    Examples whose labels leave the same classes possible are one kind, and so are those without a
    label that annotators did not mark.
    """
    known = allowed.any(axis=1) & ~allowed.all(axis=1)
    kinds = np.where(known, allowed @ (2.0 ** np.arange(allowed.shape[1])), -1.0)
    kinds[~known & (counted < 0)] = -2.0
    _, kind, number = np.unique(kinds, return_inverse=True, return_counts=True)
    weights = (number.astype(float) ** -balance)[kind]
    return np.where(kinds == -2, 0.0, weights)


@threads_for("processor")
def fit(network: nn.Module, loss: Callable[[], torch.Tensor], options: FitOptions) -> int:
    """Steps on ``loss`` until the time is spent, at least one; how many it were."""
    optimizer = torch.optim.AdamW(
        network.parameters(), options.rate, weight_decay=options.weight_decay
    )
    begin, steps, mean = time.process_time(), 0, 0.0
    network.train()
    while True:
        done = (time.process_time() - begin) / max(60 * options.minutes, 1e-9)
        if done >= 1 and steps:
            break
        rate = options.rate * (1 + math.cos(math.pi * min(done, 1))) / 2
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1, (steps + 1) / 50)
        value = loss()
        optimizer.zero_grad()
        value.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()
        steps += 1
        mean = value.item() if steps == 1 else 0.98 * mean + 0.02 * value.item()
        if steps % 100 == 0:
            logger.info("step %d, %.0f%% of the time, loss %.3f", steps, 100 * done, mean)
    network.eval()
    return steps
