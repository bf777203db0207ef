"""From a network's logits on held-out cells to probabilities, doubts, scores and a threshold."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from bccd_d2.masks.cell_types import probabilities, small_chance
from bccd_d2.masks.habits import sigmoid

KNOWN = 20  # held-out cells that annotators marked, and as many not, to learn from what they do
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
    counted: tuple[tuple[float, ...], ...] = ()
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


def fit_marked(
    scores: np.ndarray, logits: np.ndarray, counted: np.ndarray
) -> tuple[float, ...]:
    """Slope and constant of a `masks.habits.Habit` at which what annotators did is likeliest.

    The chance is a factor of the score, and no summand of its logit: among cells that all are
    marked the score alone says which outlines are good.

    Args:
        scores: (N,) of the model.
        logits: (N,) that annotators mark such a cell.
        counted: (N,) 1 they did, 0 they did not, -1 nobody knows.

    Returns:
        (), scores stay, where fewer than `KNOWN` cells of either kind are known.
    """
    known = _known(counted)
    if known is None:
        return ()

    def chance(given: np.ndarray) -> np.ndarray:
        return scores[known] * sigmoid(given[0] * logits[known] + given[1])

    return _likeliest(chance, counted[known], [(0.5, 5), (0.0, 10)])


def fit_small_marked(
    scores: np.ndarray, logits: np.ndarray, counted: np.ndarray
) -> tuple[float, ...]:
    """Weights of `SmallOptions.counted`: logistic regression; see `fit_marked` for the arguments.

    Returns:
        (1, 0, 0), which changes nothing, where fewer than `KNOWN` cells of either kind are known.
    """
    known = _known(counted)
    if known is None:
        return 1.0, 0.0, 0.0

    def chance(given: np.ndarray) -> np.ndarray:
        return small_chance(scores[known], logits[known], given)

    return _likeliest(chance, counted[known], [(0.5, 5), (0.5, 5), (0.0, 10)])


def _known(counted: np.ndarray) -> np.ndarray | None:
    enough = min((counted == 0).sum(), (counted == 1).sum()) >= KNOWN
    return counted >= 0 if enough else None


def _likeliest(
    chance: Callable[[np.ndarray], np.ndarray],
    counted: np.ndarray,
    weights: Sequence[tuple[float, float]],
) -> tuple[float, ...]:
    """Weights that make ``counted`` likeliest; of each its start and its largest size.

    Slopes, all but the last, are not below 0, and held near it.
    """
    starts, largest = np.array(weights).T

    def cost(given: np.ndarray) -> float:
        said = np.clip(chance(given), 1e-6, 1 - 1e-6)
        likely = np.log(np.where(counted == 1, said, 1 - said)).mean()
        return float(1e-4 * (given[:-1] ** 2).sum() - likely)

    bounds = [(0.0 if place < len(starts) - 1 else -size, size)
              for place, size in enumerate(largest)]  # fmt: skip
    return tuple(minimize(cost, starts, bounds=bounds).x.tolist())
