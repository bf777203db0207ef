"""From a network's logits on held-out cells to probabilities, doubts, scores and a threshold."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from bccd_d2.masks.cell_types import probabilities

FEW = 8  # held-out cells of a class from which its own bias is believed
DOUBTS = np.arange(0.0, 0.91, 0.05)


@dataclass(frozen=True)
class Calibration:
    """What held-out cells say.

    Attributes:
        temperature, biases, counted: of `masks.cell_types.TypeOptions`.
        unsure_below: of `masks.classes.Classes`.
    """

    temperature: float = 1.0
    biases: tuple[float, ...] = ()
    counted: tuple[float, ...] = ()
    unsure_below: float = 0.0


def fit_temperature(logits: np.ndarray, allowed: np.ndarray) -> tuple[float, tuple[float, ...]]:
    """The temperature and biases at which the labels are likeliest (Guo et al., ICML 2017).

    A coarse label counts by the sum over its classes. A class with fewer than `FEW` labels of its
    own keeps the bias 0; all biases are held near 0.

    Args:
        logits: (N, K).
        allowed: (N, K) bool.

    Returns:
        1 and () where nothing is known.
    """
    known = allowed.any(axis=1) & ~allowed.all(axis=1)
    logits, allowed = logits[known].astype(float), allowed[known]
    if not len(logits):
        return 1.0, ()
    own = allowed[allowed.sum(axis=1) == 1].sum(axis=0) >= FEW

    def cost(given: np.ndarray) -> float:
        said = probabilities(logits, float(np.exp(given[0])), given[1:] * own)
        likely = np.log(np.maximum((said * allowed).sum(axis=1), 1e-9))
        return float(-likely.mean() + 1e-3 * (given[1:] ** 2).sum() + 1e-3 * given[0] ** 2)

    found = minimize(cost, np.zeros(1 + logits.shape[1]), method="Powell").x
    temperature = float(np.clip(np.exp(found[0]), 0.2, 10))
    return temperature, tuple(float(value) for value in found[1:] * own)


def doubt(said: np.ndarray, allowed: np.ndarray) -> float:
    """The probability below which a cell's best class is wrong more often than right, in [0, .9].

    The greatest that makes wrong less right answers below it the most; 0 where none does.

    Args:
        said: (N, K) probabilities.
        allowed: (N, K) bool.
    """
    known = allowed.any(axis=1) & ~allowed.all(axis=1)
    said, allowed = said[known], allowed[known]
    if not len(said):
        return 0.0
    best, sure = said.argmax(axis=1), said.max(axis=1)
    right = allowed[np.arange(len(said)), best]
    gains = [float((~right & (sure < at)).sum() - (right & (sure < at)).sum()) for at in DOUBTS]
    return float(DOUBTS[int(np.argmax(gains))]) if max(gains) > 0 else 0.0


def fit_counted(
    scores: np.ndarray, logits: np.ndarray, counted: np.ndarray
) -> tuple[float, float, float]:
    """Weights of a score's logit and of the network's, and a constant: logistic regression.

    Args:
        scores: (N,) of the model.
        logits: (N,) that annotators mark such a cell.
        counted: (N,) 1 they did, 0 they did not, -1 nobody knows.

    Returns:
        (1, 0, 0), which changes nothing, where fewer than 20 cells of either kind are known.
    """
    known = counted >= 0
    if min((counted == 0).sum(), (counted == 1).sum()) < 20:
        return 1.0, 0.0, 0.0
    kept = np.clip(scores[known].astype(float), 1e-4, 1 - 1e-4)
    inputs = np.stack([np.log(kept / (1 - kept)), logits[known]], axis=1)
    signs = 2.0 * counted[known] - 1

    def cost(given: np.ndarray) -> float:
        margin = signs * (inputs @ given[:2] + given[2])
        return float(np.logaddexp(0, -margin).mean() + 1e-4 * (given[:2] ** 2).sum())

    found = minimize(cost, np.array([0.5, 0.5, 0.0]), bounds=[(0, 5), (0, 5), (-10, 10)]).x
    return float(found[0]), float(found[1]), float(found[2])
