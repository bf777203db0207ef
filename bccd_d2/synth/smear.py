"""Draw one blood smear from a seed: image, exact label map, and mask as annotators draw it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bccd_d2.masks.labels import relabel
from bccd_d2.synth import optics
from bccd_d2.synth.annotate import annotate
from bccd_d2.synth.cell import (
    KINDS,
    CellPatch,
    Look,
    draw_platelet,
    draw_red_cell,
    draw_white_cell,
)
from bccd_d2.synth.layout import Layout, place
from bccd_d2.synth.stains import Stain, absorb, pick_stain

MAX_CELLS = 190  # the densest image of the dataset
_DIAMETER = 107.0  # px, the dataset's mean cell
_COVER = 0.55  # cells shrink rather than cover more of the image than this
_AREA = 1600 * 1200
_MIN_SIDE = 32


@dataclass(frozen=True)
class Smear:
    """One synthetic image with its truth.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        label_map: (H, W) int32, every cell drawn, uncut; where cells overlap the upper one wins.
        annotation: (H, W) int32, the cells that the mask shows; overlaps are halved, touching cells
            parted, some border cells missing. Its numbering is its own.
        mask: (H, W) uint8, 255 where ``annotation`` has a cell, else 0.
        style: name of the stain.
    """

    image: np.ndarray
    label_map: np.ndarray
    annotation: np.ndarray
    mask: np.ndarray
    style: str


class _Film:
    """The glass: thickness of both stains, and which cell owns a pixel."""

    def __init__(self, size: tuple[int, int], opacity: float) -> None:
        self.red = np.zeros(size, dtype=np.float32)
        self.purple = np.zeros(size, dtype=np.float32)
        self.upper = np.zeros(size, dtype=np.int32)
        self.deepest = np.zeros(size, dtype=np.int32)
        self.depth = np.zeros(size, dtype=np.float32)
        self.opacity = np.float32(opacity)
        self.full_areas: list[int] = []

    def lay(self, patch: CellPatch, is_cell: bool = True) -> None:
        """Put a patch on top; the part outside the image falls away."""
        height, width = self.red.shape
        top, left = max(0, -patch.y0), max(0, -patch.x0)
        rows = slice(top, max(top, min(patch.depth.shape[0], height - patch.y0)))
        columns = slice(left, max(left, min(patch.depth.shape[1], width - patch.x0)))
        there = (
            slice(rows.start + patch.y0, rows.stop + patch.y0),
            slice(columns.start + patch.x0, columns.stop + patch.x0),
        )
        here = (rows, columns)
        through = 1 - self.opacity * patch.cover[here]
        self.red[there] = self.red[there] * through + patch.red[here]
        self.purple[there] = self.purple[there] * through + patch.purple[here]
        if is_cell:
            self.full_areas.append(int(np.count_nonzero(patch.depth > 0)))
            depth = patch.depth[here]
            self.upper[there][depth > 0] = len(self.full_areas)
            wins = depth > self.depth[there]
            self.deepest[there][wins] = len(self.full_areas)
            self.depth[there][wins] = depth[wins]


def draw_smear(
    seed: int | list[int],
    *,
    size: tuple[int, int] = (1200, 1600),
    n_cells: int | None = None,
    style: str | None = None,
) -> Smear:
    """A smear that depends on nothing but the arguments.

    Cells are about 107 px across, as in the dataset; where so many would cover more than 55% of the
    image they are drawn smaller, so any count fits any size.

    Args:
        seed: whole number, or a list of them, not negative.
        size: height and width, at least 32 px.
        n_cells: 0 to 190 cells to draw; the mask shows fewer (border cells are left out). None
            draws a count of 10 to 190, median 66 on 1600x1200 and fewer on smaller images.
        style: a name in `bccd_d2.synth.stains.STAINS`; None picks one.

    Raises:
        ValueError: an argument out of range.
    """
    size = check_arguments(size, n_cells)
    rng = np.random.default_rng(seed)
    name, stain = pick_stain(rng, style)
    count = _cell_count(rng, size, n_cells)
    film = _lay_film(rng, size, count, stain)
    thickness = np.float32(rng.uniform(*stain.thickness))
    red = optics.halo(film.red, rng) * thickness
    purple = film.purple * thickness
    optics.add_dirt(red, purple, rng)
    image = absorb(red, purple, optics.illumination(rng, size), stain)
    image = optics.add_noise(optics.defocus(image, rng), rng)
    if rng.random() < 0.6:
        image = optics.through_jpeg(image, int(rng.integers(70, 96)))
    if rng.random() < 0.12:
        optics.draw_scale_bar(image, rng)
    annotation = annotate(film.deepest, np.array(film.full_areas, dtype=np.int64), rng)
    mask = np.where(annotation > 0, 255, 0).astype(np.uint8)
    return Smear(image, relabel(film.upper), annotation, mask, name)


def check_arguments(size: tuple[int, int], n_cells: int | None) -> tuple[int, int]:
    """The size as two ints.

    Raises:
        ValueError: a side under 32 px, or ``n_cells`` neither None nor in 0..190.
    """
    if len(size) != 2 or any(int(n) != n or n < _MIN_SIDE for n in size):
        raise ValueError(f"size must be (height, width) of at least {_MIN_SIDE} px, got {size}")
    if n_cells is not None and (int(n_cells) != n_cells or not 0 <= n_cells <= MAX_CELLS):
        raise ValueError(f"n_cells must be a whole number from 0 to {MAX_CELLS}, got {n_cells}")
    return int(size[0]), int(size[1])


def _cell_count(rng: np.random.Generator, size: tuple[int, int], n_cells: int | None) -> int:
    median = 66 * np.clip(size[0] * size[1] / _AREA, 0.2, 1)
    drawn = int(np.clip(round(median * rng.lognormal(0, 0.45)), 14, MAX_CELLS))
    return drawn if n_cells is None else int(n_cells)


def _lay_film(
    rng: np.random.Generator, size: tuple[int, int], count: int, stain: Stain
) -> _Film:
    """All cells and platelets of an image, laid out and drawn."""
    fitting = np.sqrt(_COVER * size[0] * size[1] / max(1, count) / (np.pi / 4))
    diameter = min(_DIAMETER * rng.lognormal(0, 0.08), fitting)
    mixture = rng.dirichlet([3.0, 1.2, 1.3, 0.7, 0.5, 0.25, 0.2])
    kinds = rng.choice(KINDS, size=count, p=mixture)
    is_white = rng.random(count) < min(0.15, rng.poisson(1.3) / max(1, count))
    radii = diameter / 2 * rng.lognormal(0, 0.08, count)
    radii *= np.where(kinds == "crenated", 0.9, 1) * np.where(is_white, rng.uniform(1.1, 1.6), 1)
    layout = place(rng, size, radii, clumped=0.9 * rng.beta(1.6, 2.2))
    look = Look(optics.noise_field(rng), rng.uniform(*stain.pallor), rng.uniform(0.05, 0.3))
    film = _Film(size, opacity=rng.choice([0.0, 0.3, 0.7, 0.9]))
    platelets = rng.poisson(4 * min(1.0, size[0] * size[1] / _AREA))
    for _ in range(platelets):
        spot = tuple(rng.uniform(0, size))
        film.lay(draw_platelet(spot, diameter * rng.uniform(0.05, 0.14), look, rng), is_cell=False)
    for index in range(count):
        film.lay(_draw_cell(layout, index, kinds[index], bool(is_white[index]), look, rng))
    return film


def _draw_cell(
    layout: Layout, index: int, kind: str, white: bool, look: Look, rng: np.random.Generator
) -> CellPatch:
    centre, radius = tuple(layout.centres[index]), float(layout.radii[index])
    if white:
        return draw_white_cell(centre, radius, look, rng)
    return draw_red_cell(kind, centre, radius, look, rng)
