"""From the cells of some fields to the numbers of a slide, each with an interval.

A field is one image. What varies from field to field is sampling; how often the model misses,
invents and confuses cells was measured on other, annotated images (`Miscounts`) and is as uncertain
as those are few. Every interval holds both.

Cells a field: Student's t on the logarithm of the mean over fields, divided by the cells found per
true cell; both variances by the delta method, degrees of freedom after Satterthwaite (1946).

Share of one kind: all shares p for which the share found lies within t standard errors of the
expected one, q(p) = p Se + (1 - p) F. That is the correction of Rogan and Gladen (1978) with the
interval of Wilson (1927), so a count of 0 has an interval too and none leaves [0, 1].

Product of both: recovered from the two intervals (Zou and Donner 2008).

Fields are clusters: the binomial variance of a share is multiplied by a design effect, the
variance between fields over the binomial one (Kish 1965), drawn towards 1 with the weight of
`PRIOR_FIELDS` fields, for five fields alone say little about it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

PRIOR_FIELDS = 6.0
LEVEL = 0.95
LEAST_GAP = 0.1  # of q(1) - q(0), below which a model cannot tell two kinds apart
_GRID = np.linspace(0, 1, 4001) ** 2  # shares, finest near 0


@dataclass(frozen=True)
class Estimate:
    """A number of a slide.

    Attributes:
        value: the best estimate; None where nothing can be said.
        low, high: of the interval; None where there is none.
        note: why not, or what the interval leaves out.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    note: str = ""

    def times(self, factor: float) -> Estimate:
        """The same number in another unit; ``factor`` is above 0."""
        value, low, high = (v if v is None else v * factor
                            for v in (self.value, self.low, self.high))  # fmt: skip
        return Estimate(value, low, high, self.note)


def in_counting_frame(boxes: np.ndarray, image_size: tuple[int, int]) -> np.ndarray:
    """(N,) bool: cells that count, those that touch neither the right nor the bottom edge.

    What touches the left or the top edge counts, so that a field gets as many cut cells as it
    loses (Gundersen 1977, "Notes on the estimation of the numerical density of arbitrary
    profiles"); of fields that lie side by side every cell would count once.

    Args:
        boxes: (N, 4) half-open x0 y0 x1 y1 px.
        image_size: height, width.
    """
    boxes, (height, width) = np.asarray(boxes).reshape(-1, 4), image_size
    return (boxes[:, 2] < width) & (boxes[:, 3] < height)


def mean_per_field(
    counts: np.ndarray, found: np.ndarray | None = None, truth: np.ndarray | None = None
) -> Estimate:
    """Cells a field of the slide.

    Args:
        counts: (F,) cells found in each field.
        found, truth: (I,) of the images that the model was measured on; None = not measured.
    """
    counts = np.asarray(counts, dtype=float)
    if not len(counts) or not counts.sum():
        return Estimate(0.0 if len(counts) else None, note="no cell was found")
    found_per_true, variance, images = 1.0, 0.0, 0
    note = "sampling alone: the model's errors were not measured"
    if found is not None and truth is not None and np.sum(found) and np.sum(truth):
        found_per_true, variance, images = _log_ratio(np.asarray(found), np.asarray(truth))
        note = "" if images > 1 else "the model was measured on one image: sampling alone"
    mean, fields = counts.mean() / found_per_true, len(counts)
    if fields < 2:
        return Estimate(mean, note="one field has no interval: give more")
    sampling = counts.var(ddof=1) / fields / counts.mean() ** 2
    total = sampling + variance
    if total == 0:
        return Estimate(mean, mean, mean, note)
    freedom = total**2 / (sampling**2 / (fields - 1) + variance**2 / max(images - 1, 1))
    width = stats.t.ppf((1 + LEVEL) / 2, freedom) * np.sqrt(total)
    return Estimate(float(mean), float(mean * np.exp(-width)), float(mean * np.exp(width)), note)


def _log_ratio(found: np.ndarray, truth: np.ndarray) -> tuple[float, float, int]:
    """Cells found per true cell, the variance of its logarithm, and the images behind it."""
    ratio, images = float(found.sum() / truth.sum()), len(truth)
    if images < 2:
        return ratio, 0.0, images
    residuals = found - ratio * truth
    return ratio, float(images / (images - 1) * (residuals**2).sum() / found.sum() ** 2), images


@dataclass(frozen=True)
class Share:
    """How many of two kinds were found: k of n, with the design effect of their clusters.

    Attributes:
        k, n: cells of the one kind, of both.
        design: by which the binomial variance is multiplied.
        freedom: degrees of freedom of that.
    """

    k: float
    n: float
    design: float
    freedom: float

    @classmethod
    def of(cls, inside: np.ndarray, outside: np.ndarray) -> Share:
        """Of the counts in each cluster, (F,) each."""
        inside = np.asarray(inside, dtype=float)
        sizes = inside + np.asarray(outside, dtype=float)
        k, n, clusters = inside.sum(), sizes.sum(), len(sizes)
        freedom = PRIOR_FIELDS + max(clusters - 1, 0)
        if not 0 < k < n or clusters < 2:
            return cls(float(k), float(n), 1.0, freedom)
        q = k / n
        between = clusters / (clusters - 1) * ((inside - q * sizes) ** 2).sum()
        design = between / (n * q * (1 - q))
        drawn = (PRIOR_FIELDS + (clusters - 1) * design) / freedom
        return cls(float(k), float(n), float(drawn), freedom)

    @property
    def rate(self) -> float:
        """k / n; 0 of nothing."""
        return self.k / self.n if self.n else 0.0

    @property
    def variance(self) -> float:
        """Of the rate, with one more of each kind (Agresti and Coull 1998): above 0 at 0 of n."""
        rate = (self.k + 1) / (self.n + 2)
        return self.design * rate * (1 - rate) / (self.n + 2)


@dataclass(frozen=True)
class Channel:
    """What a model makes of two kinds: how often it calls the one and the other the one.

    Attributes:
        hits: of true cells of the one kind, those found as it among those found as either.
        alarms: of true cells of the other kind, those found as the one.
        found: share of the one kind and of the other that is found as either at all.
        strangers: cells of third kinds that are found as the one and as the other, for each cell
            of the two.
    """

    hits: Share
    alarms: Share
    found: tuple[float, float] = (1.0, 1.0)
    strangers: tuple[float, float] = (0.0, 0.0)

    def expected(self, p: np.ndarray) -> np.ndarray:
        """The share found where the true one is p."""
        one, other = p * self.found[0], (1 - p) * self.found[1]
        called = one * self.hits.rate + other * self.alarms.rate + self.strangers[0]
        return called / np.maximum(one + other + sum(self.strangers), 1e-12)

    def variance(self, p: np.ndarray) -> np.ndarray:
        """Of that, since the model was measured on so many cells only."""
        one, other = p * self.found[0], (1 - p) * self.found[1]
        total = np.maximum(one + other + sum(self.strangers), 1e-12)
        return (one**2 * self.hits.variance + other**2 * self.alarms.variance) / total**2


def share_of(
    inside: np.ndarray, outside: np.ndarray, channel: Channel | None = None
) -> Estimate:
    """The true share of one kind among two, in [0, 1].

    Args:
        inside, outside: (F,) cells found in each field as the one and as the other kind.
        channel: what the model makes of them; None = not measured, so nothing is corrected.
    """
    seen = Share.of(inside, outside)
    if not seen.n:
        return Estimate(None, note="no cell of either kind was found")
    note = ""
    if channel is None:
        note = "sampling alone: the model's errors were not measured"
        expected, known = _GRID, np.zeros_like(_GRID)
    else:
        if float(np.diff(channel.expected(np.array([0.0, 1.0])))[0]) < LEAST_GAP:
            return Estimate(None, note="the model cannot tell the two apart")
        expected, known = channel.expected(_GRID), channel.variance(_GRID)
    distance = np.abs(seen.rate - expected)
    value = float(np.interp(seen.rate, expected, _GRID))
    sampling = seen.design * expected * (1 - expected) / seen.n
    t = stats.t.ppf((1 + LEVEL) / 2, seen.freedom)
    inside_it = _GRID[distance**2 <= t**2 * (sampling + known)]
    low, high = (inside_it.min(), inside_it.max()) if len(inside_it) else (value, value)
    return Estimate(value, float(min(low, value)), float(max(high, value)), note)


def odds_of(share: Estimate) -> Estimate:
    """Cells of the one kind for each of the other, of the share of the one among both."""
    if any(v == 1 for v in (share.value, share.low, share.high)):
        return Estimate(None, note="no cell of the other kind was found")
    value, low, high = (v if v is None else v / (1 - v)
                        for v in (share.value, share.low, share.high))  # fmt: skip
    return Estimate(value, low, high, share.note)


def product(first: Estimate, second: Estimate) -> Estimate:
    """Two independent numbers multiplied (Zou and Donner 2008, on the logarithm)."""
    note = first.note or second.note
    if first.value is None or second.value is None:
        return Estimate(None, note=note)
    value = first.value * second.value
    bounds = (first.low, first.high, second.low, second.high)
    if any(bound is None for bound in bounds):
        return Estimate(value, note=note)
    low1, high1, low2, high2 = (float(bound or 0.0) for bound in bounds)
    if not value:
        return Estimate(value, 0.0, high1 * high2, note)
    if not low1 or not low2:
        low = 0.0
    else:
        low = value / np.exp(np.hypot(np.log(first.value / low1), np.log(second.value / low2)))
    up = np.hypot(np.log(high1 / first.value), np.log(high2 / second.value))
    return Estimate(value, float(low), float(value * np.exp(up)), note)
