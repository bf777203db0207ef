"""One cell: its outline as a radius a direction, and how thick each stain lies inside.

Shapes: a cell is drawn on a patch of h x w pixels round its centre; only the patch's own pixels are
computed. Lengths are in pixels, angles in radians.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

DIRECTIONS = 1024
_EDGE = 2.2  # px over which an outline fades

KINDS = ("disc", "dense", "crenated", "folded", "oval", "spindle", "teardrop")
"""Red cells: with pallor, without, with spikes, with a pale fold, long, two points, one point."""


@dataclass(frozen=True)
class CellPatch:
    """A cell on its patch.

    Attributes:
        y0: image row of the patch's first row; negative when it begins above the image.
        x0: the same for columns.
        depth: (h, w) float32, px inside the outline; positive exactly on the cell's pixels.
        red: (h, w) float32 thickness of the cell stain, 1 = a typical rim.
        purple: (h, w) float32 thickness of the nucleus stain.
    """

    y0: int
    x0: int
    depth: np.ndarray
    red: np.ndarray
    purple: np.ndarray

    @property
    def cover(self) -> np.ndarray:
        """(h, w) float32 in [0, 1]: 1 inside, fading to 0 over the edge."""
        return np.clip(self.depth / _EDGE + 0.5, 0, 1)


@dataclass(frozen=True)
class Look:
    """What the cells of one image have in common.

    Attributes:
        texture: (T, T) float32 noise of mean 0 and deviation 1; patches take windows of it.
        pallor: mean pallor of the discs, 0 flat to 1 empty.
        mottle: how strongly crenated cells are mottled.
    """

    texture: np.ndarray
    pallor: float
    mottle: float


@dataclass(frozen=True)
class _Grid:
    y0: int
    x0: int
    x: np.ndarray
    y: np.ndarray
    depth: np.ndarray
    inner: np.ndarray  # 0 in the centre, 1 on the outline
    noise: np.ndarray


def outline(kind: str, radius: float, rng: np.random.Generator) -> np.ndarray:
    """(DIRECTIONS,) float32 distances from centre to outline, covering as much as a disc would.

    Raises:
        ValueError: ``kind`` is none of `KINDS` nor "white".
    """
    angle = np.arange(DIRECTIONS, dtype=np.float32) * (2 * np.pi / DIRECTIONS)
    stretch = {"oval": rng.uniform(1.3, 1.9), "spindle": rng.uniform(1.5, 2.3)}.get(
        kind, 1 + abs(rng.normal(0, 0.1))
    )
    shape = 1 / np.sqrt(np.cos(angle) ** 2 / stretch + np.sin(angle) ** 2 * stretch)
    for wave in range(2, 6):
        shape *= 1 + rng.normal(0, 0.035 / wave) * np.cos(wave * angle + rng.uniform(0, 6.3))
    if kind == "crenated":
        shape *= _spikes(angle, rng)
    elif kind == "teardrop":
        shape *= 1 + _bump(angle, 0, rng.uniform(0.16, 0.3)) * rng.uniform(0.5, 1.0)
    elif kind == "spindle":
        for tip in (0, np.pi):
            shape *= 1 + _bump(angle, tip, rng.uniform(0.1, 0.2)) * rng.uniform(0.1, 0.35)
    elif kind not in (*KINDS, "white"):
        raise ValueError(f"kind must be one of {', '.join(KINDS)} or white, got {kind!r}")
    shape *= radius / np.sqrt(np.mean(shape**2))
    return np.roll(shape, rng.integers(DIRECTIONS)).astype(np.float32)


def _bump(angle: np.ndarray, centre: float | np.ndarray, width: float | np.ndarray) -> np.ndarray:
    away = np.abs(np.angle(np.exp(1j * (angle - centre))))
    return np.exp(-((away / width) ** 1.5))


def _spikes(angle: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    count = int(rng.integers(9, 22))
    centres = (np.arange(count) + rng.uniform(-0.35, 0.35, count)) * (2 * np.pi / count)
    heights = rng.uniform(0.02, 0.14, count)[:, None]
    widths = rng.uniform(0.05, 0.11, count)[:, None]
    return 1 + (_bump(angle[None], centres[:, None], widths) * heights).sum(axis=0)


def _grid(
    radii: np.ndarray, centre: tuple[float, float], look: Look, rng: np.random.Generator
) -> _Grid:
    reach = int(np.ceil(radii.max())) + 3
    y0, x0 = int(np.floor(centre[0])) - reach, int(np.floor(centre[1])) - reach
    rows = np.arange(2 * reach + 1, dtype=np.float32) + np.float32(y0 - centre[0])
    columns = np.arange(2 * reach + 1, dtype=np.float32) + np.float32(x0 - centre[1])
    x, y = (np.ascontiguousarray(a) for a in np.meshgrid(columns, rows))
    distance, angle = cv2.cartToPolar(x, y)
    rim = radii[(angle * (DIRECTIONS / (2 * np.pi)) + 0.5).astype(np.int32) % DIRECTIONS]
    side = 2 * reach + 1
    top, left = rng.integers(0, max(1, look.texture.shape[0] - side), 2)
    noise = look.texture[top : top + side, left : left + side]
    if noise.shape != x.shape:
        noise = cv2.resize(look.texture, x.shape[::-1])
    return _Grid(y0, x0, x, y, rim - distance, distance / rim, noise)


def _blob(
    grid: _Grid, centre: tuple[float, float], axes: tuple[float, float], turn: float, power: float
) -> np.ndarray:
    """(h, w) float32 hump of height 1, elliptic, flat-topped for ``power`` above 1."""
    cos, sin = np.float32(np.cos(turn)), np.float32(np.sin(turn))
    x, y = grid.x - np.float32(centre[1]), grid.y - np.float32(centre[0])
    along, across = (cos * x + sin * y) / axes[0], (cos * y - sin * x) / axes[1]
    squared = along * along + across * across
    return cv2.exp(-(squared if power == 1 else squared**power).astype(np.float32))


def draw_red_cell(
    kind: str, centre: tuple[float, float], radius: float, look: Look, rng: np.random.Generator
) -> CellPatch:
    """A red cell of one of `KINDS` at ``centre`` (row, column), covering pi * radius^2 pixels."""
    grid = _grid(outline(kind, radius, rng), centre, look, rng)
    turn = rng.uniform(0, np.pi)
    offset = tuple(rng.normal(0, 0.1 * radius, 2))
    rim = cv2.exp((-(((grid.inner - 0.82) / 0.16) ** 2)).astype(np.float32))
    red = 0.9 + rng.uniform(0, 0.4) * rim + 0.05 * grid.noise
    tilt = rng.normal(0, 0.12, 2).astype(np.float32) / np.float32(radius)
    red += tilt[0] * grid.x + tilt[1] * grid.y
    if kind == "folded":
        axes = (rng.uniform(0.6, 1.0) * radius, rng.uniform(0.1, 0.35) * radius)
        red -= rng.uniform(0.3, 0.7) * _blob(grid, offset, axes, turn, 1)
        red += rng.normal(0, 0.15) * np.tanh((np.cos(turn) * grid.y - np.sin(turn) * grid.x) / 8)
    elif kind == "crenated":
        red += look.mottle * grid.noise * (grid.inner < 0.85)
        red -= rng.uniform(0, 0.4) * look.pallor * _blob(grid, offset, (radius / 2,) * 2, 0, 1)
    else:
        flat = {"disc": 1.0, "teardrop": 0.8, "oval": 0.7}.get(kind, 0.15)
        pallor = np.clip(flat * look.pallor * rng.uniform(0.75, 1.15), 0, 0.97)
        axes = tuple(rng.uniform(0.42, 0.72) * radius * rng.uniform(0.85, 1.15, 2))
        red -= pallor * _blob(grid, offset, axes, turn, rng.choice([1.0, 1.5, 2.2]))
        if kind == "disc" and rng.random() < 0.08:
            red += 0.7 * pallor * _blob(grid, offset, (0.2 * radius,) * 2, 0, 1)
    purple = _inclusions(grid, radius, rng)
    return _finish(grid, red * rng.lognormal(0, 0.12), purple)


def _inclusions(grid: _Grid, radius: float, rng: np.random.Generator) -> np.ndarray:
    """Purple in a red cell: mostly none, sometimes dots or a parasite's ring."""
    purple = np.zeros_like(grid.depth)
    if rng.random() > 0.06:
        return purple
    for _ in range(rng.integers(1, 4)):
        spot = tuple(rng.uniform(-0.45, 0.45, 2) * radius)
        size = rng.uniform(0.04, 0.1) * radius
        purple += rng.uniform(0.2, 0.7) * _blob(grid, spot, (size, size), 0, 1)
    if rng.random() < 0.5:
        spot, size = tuple(rng.uniform(-0.3, 0.3, 2) * radius), rng.uniform(0.18, 0.3) * radius
        outer = _blob(grid, spot, (size, size), 0, 2)
        purple += 0.5 * (outer - _blob(grid, spot, (0.7 * size, 0.7 * size), 0, 2))
    return purple


def draw_white_cell(
    centre: tuple[float, float], radius: float, look: Look, rng: np.random.Generator
) -> CellPatch:
    """A white cell, or a large parasitised one: pale plasm, one nucleus of one to five lobes."""
    grid = _grid(outline("white", radius, rng), centre, look, rng)
    lobes = int(rng.choice([1, 1, 2, 3, 4, 5]))
    size = radius * (rng.uniform(0.6, 0.85) if lobes == 1 else rng.uniform(0.3, 0.42))
    start, step = rng.uniform(0, 6.3), rng.uniform(0.9, 1.4)
    nucleus = np.zeros_like(grid.depth)
    for lobe in range(lobes):
        away = 0 if lobes == 1 else rng.uniform(0.35, 0.5) * radius
        spot = (away * np.sin(start + lobe * step), away * np.cos(start + lobe * step))
        axes = (size * rng.uniform(0.9, 1.25), size * rng.uniform(0.8, 1))
        nucleus = np.maximum(nucleus, _blob(grid, spot, axes, rng.uniform(0, 3.1), 4))
    plasm = rng.uniform(0.12, 0.4) + rng.uniform(0.02, 0.12) * grid.noise
    chromatin = rng.uniform(0.7, 1.1) + rng.uniform(0.05, 0.25) * grid.noise
    red = np.full_like(grid.depth, rng.uniform(0.05, 0.35))
    return _finish(grid, red, np.where(nucleus > 0.5, 0, plasm) + nucleus * chromatin)


def draw_platelet(
    centre: tuple[float, float], radius: float, look: Look, rng: np.random.Generator
) -> CellPatch:
    """A platelet or a speck of stain: small, ragged, purple. The dataset's masks leave them out."""
    grid = _grid(outline("crenated", radius, rng), centre, look, rng)
    purple = rng.uniform(0.15, 0.7) + 0.25 * grid.noise
    return _finish(grid, np.full_like(purple, rng.uniform(0, 0.2)), purple)


def _finish(grid: _Grid, red: np.ndarray, purple: np.ndarray) -> CellPatch:
    """Stains kept to positive thickness and faded out over the outline."""
    cover = np.clip(grid.depth / _EDGE + 0.5, 0, 1)
    red = (np.maximum(red, 0.03) * cover).astype(np.float32)
    purple = (np.maximum(purple, 0) * cover).astype(np.float32)
    return CellPatch(grid.y0, grid.x0, grid.depth.astype(np.float32), red, purple)
