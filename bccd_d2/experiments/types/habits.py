"""Which laboratory's annotators have a habit worth following, and on which images."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from bccd_d2.experiments.types.calibration import fit_marked
from bccd_d2.masks.habits import Habit, Look, sigmoid

GAIN = 0.01  # of F1 on held-out images, below which the scores stay as they are
ALIKE = 0.02  # share of other datasets' images that may look like one of the laboratory
LEAST = 3.0  # grey levels
_TRIED = np.linspace(0.02, 0.98, 97)


def look_of(own: np.ndarray, others: np.ndarray) -> Look | None:
    """What tells images of a laboratory from those of others.

    The middle 98% of each colour, widened by half its width, or `LEAST`, to both sides.

    Args:
        own, others: (I, 6) and (J, 6) of `masks.habits.colours`; rows with NaN are left out.

    Returns:
        None where no image shows its colours, or more than `ALIKE` of the others look like one.
    """
    own = own[np.isfinite(own).all(axis=1)]
    if not len(own):
        return None
    low, high = np.quantile(own, [0.01, 0.99], axis=0)
    wider = np.maximum((high - low) / 2, LEAST)
    look = Look(tuple((low - wider).tolist()), tuple((high + wider).tolist()))
    alike = sum(look.holds(seen) for seen in others)
    return None if alike > ALIKE * max(len(others), 1) else look


def fit_habit(
    scores: np.ndarray,
    logits: np.ndarray,
    counted: np.ndarray,
    f1: Callable[[np.ndarray], float],
    reported_from: float,
    look: Look,
) -> Habit | None:
    """A laboratory's habit from its held-out cells.

    Args:
        scores, logits, counted: (N,) of the found cells; see `calibration.fit_marked`.
        f1: of the cells where (N,) bool tells which are reported.
        reported_from: the model's threshold.
        look: see `look_of`.

    Returns:
        None where too little is known, or the gain in F1 is below `GAIN`.
    """
    weights = fit_marked(scores, logits, counted)
    if not weights:
        return None
    slope, constant = weights
    likely = scores * sigmoid(slope * logits + constant)
    gains = np.array([f1(likely >= at) for at in _TRIED])
    if gains.max() < f1(scores >= reported_from) + GAIN:
        return None
    best = _TRIED[gains == gains.max()]
    return Habit(slope, constant, float(best[len(best) // 2]), look)
