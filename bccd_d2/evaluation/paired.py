"""Is one method better than another on the same images? Paired differences with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bccd_d2.evaluation.entries import LESS_IS_BETTER, PER_IMAGE, Entry


@dataclass(frozen=True)
class Difference:
    """How much better ``name`` does than ``reference``, an image, on the mean.

    Attributes:
        gain: of the score; positive where ``name`` is better, for errors too.
        low, high: ends of the confidence interval.
        better: images on which ``name`` is better.
        images: number of images.
    """

    name: str
    reference: str
    score: str
    gain: float
    low: float
    high: float
    better: int
    images: int


def resamples(images: int, draws: int, seed: int = 0) -> np.ndarray:
    """(draws, images) int64: for each draw the places of images drawn with replacement."""
    return np.random.default_rng(seed).integers(0, images, (draws, images))


def bootstrap_interval(
    values: npt.ArrayLike, *, level: float = 0.95, draws: int = 10_000, seed: int = 0
) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean (Efron and Tibshirani 1993, chapter 13).

    Images are drawn with replacement. With few images (below about 20) such intervals are somewhat
    too narrow. One value gives an interval of no width.

    Raises:
        ValueError: no values, or ``level`` outside (0, 1).
    """
    given = np.asarray(values, dtype=np.float64).reshape(-1)
    if not given.size or not 0 < level < 1:
        raise ValueError(f"needs values and a level in (0, 1), got {given.size} and {level}")
    chosen = resamples(given.size, draws, seed)
    tail = (1 - level) / 2
    low, high = np.quantile(given[chosen].mean(axis=1), (tail, 1 - tail))
    return float(low), float(high)


def paired_differences(
    entries: Sequence[Entry], reference: str | None = None, *, seed: int = 0
) -> list[Difference]:
    """Each entry against the reference on the same images, for each score of `PER_IMAGE`.

    All intervals rest on the same draws of images.

    Args:
        reference: the name of an entry; None takes the first.

    Raises:
        ValueError: no such entry, or entries were not scored on the same images.
    """
    by_name = {entry.name: entry for entry in entries}
    reference = next(iter(by_name), None) if reference is None else reference
    if reference not in by_name:
        raise ValueError(f"reference {reference!r} is none of the entries {list(by_name)}")
    base = by_name[reference].per_image
    found = []
    for entry in entries:
        if set(entry.per_image) != set(base):
            raise ValueError(f"{entry.name} and {reference} were not scored on the same images")
        for score in PER_IMAGE if entry.name != reference else ():
            sign = -1 if score in LESS_IS_BETTER else 1
            gains = np.array([sign * (entry.per_image[f][score] - base[f][score]) for f in base])
            low, high = bootstrap_interval(gains, seed=seed)
            mean, better = float(gains.mean()), int((gains > 0).sum())
            found.append(
                Difference(entry.name, reference, score, mean, low, high, better, gains.size)
            )
    return found
