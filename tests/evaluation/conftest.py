"""Discs of known overlap, and dense random images."""

from __future__ import annotations

import numpy as np
import pytest

from bccd_d2.masks.cells import Cells
from bccd_d2.masks.rle import encode_crop


def disc_cells(
    discs: list[tuple[float, float, float]],
    size: tuple[int, int],
    scores: list[float] | None = None,
) -> Cells:
    """Discs by row, column and radius, each with its own mask; they may overlap."""
    rows, columns = np.mgrid[: size[0], : size[1]]
    rles = []
    for y, x, radius in discs:
        rles.append(encode_crop((rows - y) ** 2 + (columns - x) ** 2 <= radius**2, 0, 0, size))
    return Cells.from_rles(rles, size, scores)


def dense_image(seed: int, cells: int = 130) -> tuple[Cells, Cells]:
    """Truth of about ``cells`` discs on a jittered grid, and moved, doubled, missed predictions.

    Scores have many ties, masks overlap, and there are about as many predictions as true cells.
    """
    rng = np.random.default_rng(seed)
    size, step = (260, 330), 20
    grid = [(y, x) for y in range(10, size[0], step) for x in range(10, size[1], step)]
    chosen = [grid[i] for i in rng.permutation(len(grid))[:cells]]
    discs = [(y, x, rng.uniform(6, 11)) for y, x in chosen]
    label_map = disc_cells(discs, size).to_label_map()
    truth = Cells.from_label_map(label_map)
    moved = [(y + rng.normal(), x + rng.normal(), r * rng.uniform(0.9, 1.2)) for y, x, r in discs]
    kept = [c for c in moved if rng.random() > 0.1]
    doubled = [(y + rng.normal(0, 3), x, r) for y, x, r in kept if rng.random() < 0.2]
    found = kept + doubled
    scores = np.round(rng.uniform(0.05, 1, len(found)), 2).tolist()
    return truth, disc_cells(found, size, scores)


@pytest.fixture(scope="session")
def dense() -> tuple[list[Cells], list[Cells]]:
    """Truth and predictions of four images of more than 100 cells, and an empty image."""
    pairs = [dense_image(seed, cells=cells) for seed, cells in enumerate((130, 180, 110, 150))]
    pairs.append((Cells.empty((260, 330)), pairs[0][1][:3]))
    pairs.append((pairs[1][0][:5], Cells.empty((260, 330))))
    return [truth for truth, _ in pairs], [found for _, found in pairs]
