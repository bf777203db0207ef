"""Where the cells of a smear lie: alone, touching in rows, overlapping, cut by the border."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_TRIES = 48  # places tried for a cell; the least crowded is taken when none suits


@dataclass(frozen=True)
class Layout:
    """Discs to be filled with cells, in drawing order: a later one lies on an earlier one.

    Attributes:
        centres: (N, 2) float64 rows and columns; up to half a radius outside the image.
        radii: (N,) float64 px.
    """

    centres: np.ndarray
    radii: np.ndarray


def place(
    rng: np.random.Generator, size: tuple[int, int], radii: np.ndarray, clumped: float
) -> Layout:
    """Put discs of the given radii into an image of ``size`` (height, width).

    Args:
        clumped: share of the cells, 0 to 1, that are put beside or onto another one. Half of
            those carry on in the direction of the previous link, which makes rows.
    """
    radii = np.asarray(radii, dtype=np.float64)
    centres = np.zeros((len(radii), 2))
    links = rng.uniform(0, 2 * np.pi, len(radii))
    overlapping = rng.uniform(0.2, 0.8)
    for index, radius in enumerate(radii):
        linked = index > 0 and rng.random() < clumped
        if linked:
            least = rng.uniform(0.62, 0.97) if rng.random() < overlapping else 0.99
            spots, turns = _beside(rng, centres[:index], radii[: index + 1], links, least)
        else:
            least, turns = 1.05, rng.uniform(0, 2 * np.pi, _TRIES)
            low, high = -0.5 * radius, np.array(size) + 0.5 * radius
            spots = rng.uniform(low, high, (_TRIES, 2))
        room = _room(spots, radius, centres[:index], radii[:index])
        outside = np.any((spots < -0.5 * radius) | (spots > np.array(size) + 0.5 * radius), axis=1)
        room[outside] = -1
        fits = np.flatnonzero(room >= least * 0.995)
        chosen = fits[0] if fits.size else int(np.argmax(room))
        if room[chosen] < 0:
            spots = rng.uniform(0, size, (_TRIES, 2))
            chosen = int(np.argmax(_room(spots, radius, centres[:index], radii[:index])))
        centres[index], links[index] = spots[chosen], turns[chosen]
    return Layout(centres, radii)


def _beside(
    rng: np.random.Generator,
    centres: np.ndarray,
    radii: np.ndarray,
    links: np.ndarray,
    closeness: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Spots for the last of ``radii``, ``closeness`` * (sum of radii) from another; directions."""
    hosts = rng.integers(0, len(centres), _TRIES)
    in_row = rng.random(_TRIES) < 0.5
    turns = np.where(
        in_row, links[hosts] + rng.normal(0, 0.25, _TRIES), rng.uniform(0, 2 * np.pi, _TRIES)
    )
    away = closeness * (radii[hosts] + radii[-1]) * rng.uniform(1, 1.03, _TRIES)
    step = np.stack([np.sin(turns), np.cos(turns)], axis=1) * away[:, None]
    return centres[hosts] + step, turns


def _room(
    spots: np.ndarray, radius: float, centres: np.ndarray, radii: np.ndarray
) -> np.ndarray:
    """(K,) smallest distance over sum of radii from each spot to the discs; large for no discs."""
    if len(centres) == 0:
        return np.full(len(spots), 9.0)
    apart = np.linalg.norm(spots[:, None] - centres[None], axis=2)
    return (apart / (radii + radius)).min(axis=1)
