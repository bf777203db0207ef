"""Heat that is poured into a point of each cell and diffuses within it: what flows are made of.

All cells are solved at once, side by side on one canvas: a step is then two passes of compiled code
over it instead of two calls a cell. A wide cell is solved at half its size first, and that at a
quarter, and so on: the heat is nearer to its steady state then.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

_SMALL = 64  # px; cells up to this size are solved at their own resolution
_POLISH = 20  # diffusion steps after going from a coarse grid to the next finer one
_WIDTH = 1024  # px of the canvas

Corners = Sequence[tuple[int, int]]


def pack(sizes: Sequence[tuple[int, int]]) -> tuple[tuple[int, int], list[tuple[int, int]]]:
    """The size of a canvas on which windows lie side by side, and their top left corners.

    Args:
        sizes: height and width of each window.
    """
    width = max([_WIDTH, *(wide for _, wide in sizes)])
    corners = [(0, 0)] * len(sizes)
    top, left, shelf = 0, 0, 0
    for index in sorted(range(len(sizes)), key=lambda i: -sizes[i][0]):
        height, wide = sizes[index]
        if left + wide > width:
            top, left, shelf = top + shelf, 0, 0
        corners[index] = (top, left)
        left, shelf = left + wide, max(shelf, height)
    used = width if top else left
    return (top + shelf, max(used, 1)), corners


def steady_heat(insides: Sequence[np.ndarray], sources: Corners) -> list[np.ndarray]:
    """(h, w) float32 heat in each cell after 2 (h + w) steps, each the mean over 3x3 pixels.

    Args:
        insides: (h, w) float32 each: the share of each pixel that belongs to the cell, 0 on a rim
            of one pixel.
        sources: row and column of the pixel that heat is poured into, once a step.
    """
    steps = [2 * sum(inside.shape) for inside in insides]
    starts = [np.zeros_like(inside) for inside in insides]
    wide = [i for i, inside in enumerate(insides) if max(inside.shape) > _SMALL]
    if wide:
        halves = [_half(insides[i]) for i in wide]
        middles = [(sources[i][0] // 2 + 1, sources[i][1] // 2 + 1) for i in wide]
        for i, coarse in zip(wide, steady_heat(halves, middles), strict=True):
            height, width = insides[i].shape
            size = (width + width % 2, height + height % 2)
            finer = cv2.resize(coarse[1:-1, 1:-1], size, interpolation=cv2.INTER_LINEAR)
            starts[i] = finer[:height, :width] * insides[i]
            steps[i] = _POLISH
    return _diffuse(starts, insides, sources, steps)


def _half(inside: np.ndarray) -> np.ndarray:
    """A cell at half its size; it may reach the edge of its grid, so a cold rim goes round it."""
    height, width = inside.shape
    padded = np.pad(inside, ((0, height % 2), (0, width % 2)))
    coarse = padded.reshape(padded.shape[0] // 2, 2, padded.shape[1] // 2, 2).mean(axis=(1, 3))
    return np.pad(coarse, 1)


def _diffuse(
    starts: Sequence[np.ndarray],
    insides: Sequence[np.ndarray],
    sources: Corners,
    steps: Sequence[int],
) -> list[np.ndarray]:
    """The heat of each cell after its number of steps; cells with few steps are solved together."""
    found: list[np.ndarray] = list(starts)
    order = np.argsort(steps, kind="stable").tolist()
    while order:
        # Those that need at most half as many steps again go onto one canvas.
        group = [i for i in order if steps[i] <= 1.5 * steps[order[0]]]
        order = order[len(group) :]
        shape, corners = pack([insides[i].shape for i in group])
        heat, inside = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
        for i, (y, x) in zip(group, corners, strict=True):
            window = np.s_[y : y + insides[i].shape[0], x : x + insides[i].shape[1]]
            heat[window], inside[window] = starts[i], insides[i]
        rows = np.array([y + sources[i][0] for i, (y, _) in zip(group, corners, strict=True)])
        columns = np.array([x + sources[i][1] for i, (_, x) in zip(group, corners, strict=True)])
        at, mean, done = rows * shape[1] + columns, np.empty_like(heat), 0
        flat = heat.reshape(-1)
        for i, (y, x) in zip(group, corners, strict=True):
            for _ in range(steps[i] - done):
                flat[at] += 1
                cv2.blur(heat, (3, 3), dst=mean, borderType=cv2.BORDER_CONSTANT)
                np.multiply(mean, inside, out=heat)
            done = steps[i]
            found[i] = heat[y : y + insides[i].shape[0], x : x + insides[i].shape[1]].copy()
    return found
