"""Training, validation and fold assignments: stratified, seeded, the same on every machine."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

BINS = 5


def strata(sizes: Sequence[tuple[int, int]], counts: Sequence[int], bins: int = BINS) -> np.ndarray:
    """(N,) int: images of one size and a like number of cells share a stratum.

    Cell counts are cut at their quantiles within each size, so that strata are about equally large;
    strata are numbered by size, then by count.

    Args:
        sizes: height, width of each image.
        counts: its cells.
        bins: strata a size, fewer where a size has few images.
    """
    cells = np.asarray(counts)
    groups: dict[tuple[int, int], list[int]] = defaultdict(list)
    for index, (height, width) in enumerate(sizes):
        groups[height, width].append(index)
    result, first = np.zeros(len(cells), dtype=np.int64), 0
    for size in sorted(groups):
        members = np.array(groups[size])
        order = np.argsort(cells[members], kind="stable")
        used = max(1, min(bins, len(members) // 2))
        result[members[order]] = first + np.arange(len(members)) * used // len(members)
        first += used
    return result


def choose_fraction(groups: np.ndarray, fraction: float, seed: int) -> np.ndarray:
    """(N,) bool: a random share of the images with the same share of every stratum.

    The total is ``fraction * N`` rounded, but at least one image is chosen and one is left where
    N > 1 and the fraction is above 0.

    Args:
        groups: (N,) stratum of each image, from `strata`.
        fraction: in [0, 1).

    Raises:
        ValueError: fraction out of range.
    """
    if not 0 <= fraction < 1:
        raise ValueError(f"fraction must lie in [0, 1), got {fraction}")
    total = len(groups)
    chosen = np.zeros(total, dtype=bool)
    if fraction == 0 or total < 2:
        return chosen
    wanted = min(max(round(fraction * total), 1), total - 1)
    order = _shuffled_by_stratum(groups, seed)
    # Every time the running share passes another whole image, that one is taken.
    steps = np.floor(np.arange(1, total + 1) * wanted / total + 0.5)
    taken = np.diff(steps, prepend=0.0) > 0
    chosen[order[taken]] = True
    return chosen


def choose_folds(groups: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """(N,) int in [0, folds): each image's fold for validation; fold sizes differ by 1 at most.

    Raises:
        ValueError: fewer than 2 folds or fewer images than folds.
    """
    if not 2 <= folds <= len(groups):
        raise ValueError(
            f"folds must lie in [2, {len(groups)}], the number of training images, got {folds}"
        )
    rng = np.random.default_rng(seed)
    order = _shuffled_by_stratum(groups, seed)
    result = np.zeros(len(groups), dtype=np.int64)
    for start in range(0, len(groups), folds):
        members = order[start : start + folds]
        result[members] = rng.permutation(folds)[: len(members)]
    return result


def _shuffled_by_stratum(groups: np.ndarray, seed: int) -> np.ndarray:
    """Indices sorted by stratum, in random order within each."""
    noise = np.random.default_rng(seed).permutation(len(groups))
    return np.lexsort((noise, groups))
