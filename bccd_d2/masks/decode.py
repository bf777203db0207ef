"""Dense maps back to a label map: four ways from pixels to cells.

| method | needs | touching cells come apart by |
| --- | --- | --- |
| threshold | cell | nothing: connected components of the foreground |
| boundary | cell, boundary | taking the boundary away, labelling, growing back |
| watershed | cell, centre (or distance) | one basin a seed |
| flow | cell, flow | following the flows to their sinks |

Example:
    label_map = decode({"cell": cell, "centre": centre}, DecodeOptions(method="watershed"))
    scores = cell_scores(label_map, cell)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import cv2
import numpy as np
from skimage.feature import peak_local_max
from skimage.segmentation import watershed

from bccd_d2.masks.clean import clean_labels
from bccd_d2.masks.flows import FlowOptions, cells_from_flow, flow_errors
from bccd_d2.masks.labels import cell_areas, check_label_map

NEEDS = {
    "threshold": ("cell",),
    "boundary": ("cell", "boundary"),
    "watershed": ("cell",),
    "flow": ("cell", "flow"),
}
SEED_MAPS = ("centre", "distance")
LANDSCAPES = ("shape", "distance", "boundary", "centre")


@dataclass(frozen=True)
class DecodeOptions:
    """How maps become cells; lengths in pixels of the maps, thresholds in probability.

    Attributes:
        method: of `NEEDS`.
        cell_threshold: foreground is where the cell map is at least this.
        cell_high: hysteresis: a connected piece of foreground counts only if it reaches this
            somewhere; None = no such condition.
        boundary_threshold: boundary is where the boundary map is at least this.
        seed_map: "centre" or "distance", where watershed seeds come from.
        seed_threshold: a seed is where that map is at least this.
        seed_distance: 0: each connected piece of that is a seed; else its peaks, so far apart.
        min_seed_area: smaller seeds, and smaller pieces of "boundary", are no seeds.
        keep_unseeded: whether foreground without a seed is a cell of its own.
        landscape: what the watershed floods: "shape", distance to the background; "distance" or
            "centre", those maps, deepest where highest; "boundary", that map, its ridges.
        flow: how flows are followed.
        max_flow_error: cells above this in `flow_errors` are dropped; None = none are.
        min_area: smaller cells are dropped.
        fill_holes: give background that one cell encloses to it.

    Raises:
        ValueError: an unknown word or a number out of its range.
    """

    method: str = "threshold"
    cell_threshold: float = 0.5
    cell_high: float | None = None
    boundary_threshold: float = 0.5
    seed_map: str = "centre"
    seed_threshold: float = 0.5
    seed_distance: float = 0.0
    min_seed_area: int = 1
    keep_unseeded: bool = True
    landscape: str = "shape"
    flow: FlowOptions = field(default_factory=FlowOptions)
    max_flow_error: float | None = None
    min_area: int = 16
    fill_holes: bool = True

    def __post_init__(self) -> None:
        words = (("method", tuple(NEEDS)), ("seed_map", SEED_MAPS), ("landscape", LANDSCAPES))
        for name, known in words:
            if getattr(self, name) not in known:
                raise ValueError(f"{name} must be one of {known}, got {getattr(self, name)!r}")
        for name in ("cell_threshold", "boundary_threshold", "seed_threshold"):
            if not 0 < getattr(self, name) < 1:
                raise ValueError(f"{name} must lie between 0 and 1, got {getattr(self, name)}")
        if self.cell_high is not None and not self.cell_threshold <= self.cell_high <= 1:
            raise ValueError(
                f"cell_high must be in [cell_threshold = {self.cell_threshold}, 1], "
                f"got {self.cell_high}"
            )
        for name in ("seed_distance", "min_seed_area", "min_area"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be at least 0, got {getattr(self, name)}")
        if self.max_flow_error is not None and self.max_flow_error <= 0:
            raise ValueError(f"max_flow_error must be above 0, got {self.max_flow_error}")

    @property
    def needs(self) -> tuple[str, ...]:
        """Names of the maps that `decode` reads."""
        names = NEEDS[self.method]
        if self.method == "watershed":
            extra = (self.seed_map, *(() if self.landscape == "shape" else (self.landscape,)))
            names = (*names, *dict.fromkeys(extra))
        return names


def decode(maps: Mapping[str, np.ndarray], options: DecodeOptions | None = None) -> np.ndarray:
    """Label map (H, W) int32 of cells 1..N without gaps; all 0 where no pixel is foreground.

    Every cell is one 8-connected piece, the largest where the method left several.

    Args:
        maps: by name; (H, W) float in [0, 1], "flow" (2, H, W) float (dy, dx). Only those that
            ``options.needs`` names are read.
        options: see `DecodeOptions`.

    Raises:
        KeyError: a map that the method needs is missing.
        ValueError: maps are not of one size, or hold NaN or infinity.
    """
    options = options or DecodeOptions()
    maps = _checked(maps, options)
    foreground = _foreground(maps["cell"], options)
    if not foreground.any():
        return np.zeros(foreground.shape, dtype=np.int32)
    if options.method == "flow":
        cells = cells_from_flow(maps["flow"], foreground, options.flow)
    elif options.method == "threshold":
        cells = _components(foreground)
    elif options.method == "boundary":
        inner = foreground & (maps["boundary"] < options.boundary_threshold)
        # By edges only: a boundary that is one pixel wide leaks at its corners.
        seeds = _large(_components(inner, connectivity=4), options.min_seed_area)
        cells = grow(foreground, seeds, maps["boundary"], keep_unseeded=options.keep_unseeded)
    else:
        seeds = find_seeds(maps[options.seed_map], foreground, options)
        landscape = _landscape(maps, foreground, options.landscape)
        cells = grow(foreground, seeds, landscape, keep_unseeded=options.keep_unseeded)
    cells = clean_labels(cells, min_area=options.min_area, fill_holes=options.fill_holes)
    if options.method == "flow" and options.max_flow_error is not None:
        wrong = flow_errors(cells, maps["flow"]) > options.max_flow_error
        cells = clean_labels(np.where(np.concatenate(([False], wrong))[cells], 0, cells))
    return cells


def cell_scores(label_map: np.ndarray, probability: np.ndarray) -> np.ndarray:
    """(N,) float32 mean probability inside each cell, N the largest label; 0 where it is absent.

    Raises:
        ValueError: the two are not of one size.
    """
    label_map, probability = check_label_map(label_map), np.asarray(probability)
    if label_map.shape != probability.shape:
        raise ValueError(
            f"probability must be of the label map's size {label_map.shape}, "
            f"got {probability.shape}"
        )
    areas = cell_areas(label_map)
    sums = np.bincount(label_map.ravel(), probability.ravel(), minlength=len(areas) + 1)[1:]
    return (sums / np.maximum(areas, 1)).astype(np.float32)


def find_seeds(
    seed_map: np.ndarray, foreground: np.ndarray, options: DecodeOptions | None = None
) -> np.ndarray:
    """(H, W) int32 seeds 1..M within the foreground; options as in `DecodeOptions`.

    With ``seed_distance`` the highest peak of any two that are nearer to each other is kept, and
    ``min_seed_area`` says nothing. A flat top, as a disc's, has several peaks: take its piece.
    """
    options = options or DecodeOptions()
    high = foreground & (seed_map >= options.seed_threshold)
    if options.seed_distance <= 0:
        return _large(_components(high), options.min_seed_area)
    peaks = peak_local_max(
        np.where(high, seed_map, 0),
        min_distance=max(1, round(options.seed_distance)),
        threshold_abs=options.seed_threshold / 2,
        exclude_border=False,
    )
    seeds = np.zeros(foreground.shape, dtype=np.int32)
    seeds[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    return seeds


def grow(
    foreground: np.ndarray,
    seeds: np.ndarray,
    landscape: np.ndarray,
    *,
    keep_unseeded: bool = True,
) -> np.ndarray:
    """Label map (H, W) int32: seeds grown over the foreground, meeting on the landscape's ridges.

    A marker-controlled watershed (Meyer and Beucher 1990) that is run only where a connected
    piece of foreground holds more than one seed; with one seed the piece is the cell.

    Args:
        foreground: (H, W) bool.
        seeds: (H, W) int32, 0 = none; those outside the foreground are ignored.
        landscape: (H, W) float, low within cells and high between them.
        keep_unseeded: pieces without a seed become cells instead of background.
    """
    pieces = _components(foreground)
    count = int(pieces.max(initial=0))
    seeds = np.where(foreground, seeds, 0).astype(np.int32)
    at = np.flatnonzero(seeds)
    pairs = np.unique(np.stack([pieces.ravel()[at], seeds.ravel()[at]], axis=1), axis=0)
    number = np.bincount(pairs[:, 0], minlength=count + 1)
    only = np.zeros(count + 1, dtype=np.int32)
    single = pairs[number[pairs[:, 0]] == 1]
    only[single[:, 0]] = single[:, 1]
    if keep_unseeded:
        alone = np.flatnonzero(number == 0)
        alone = alone[alone > 0]
        only[alone] = int(seeds.max(initial=0)) + 1 + np.arange(len(alone))
    cells = only[pieces]
    contested = (number > 1)[pieces]
    if contested.any():
        flooded = watershed(landscape, np.where(contested, seeds, 0), mask=contested)
        cells[contested] = flooded[contested]
    return cells


def _checked(maps: Mapping[str, np.ndarray], options: DecodeOptions) -> dict[str, np.ndarray]:
    """The maps that are needed, as float32 arrays of one size."""
    missing = [name for name in options.needs if name not in maps]
    if missing:
        raise KeyError(
            f"method {options.method!r} needs the maps {options.needs}; "
            f"{missing} missing among {sorted(maps)}"
        )
    chosen = {name: np.asarray(maps[name], dtype=np.float32) for name in options.needs}
    size = chosen["cell"].shape
    for name, array in chosen.items():
        wanted = (2, *size) if name == "flow" else size
        if len(size) != 2 or array.shape != wanted:
            raise ValueError(f"map {name!r} must be {wanted} with cell (H, W), got {array.shape}")
        if not np.isfinite(array).all():
            raise ValueError(f"map {name!r} holds NaN or infinity; the model has diverged")
    return chosen


def _foreground(cell: np.ndarray, options: DecodeOptions) -> np.ndarray:
    mask = cell >= options.cell_threshold
    if options.cell_high is None:
        return mask
    pieces = _components(mask)
    reached = np.zeros(int(pieces.max(initial=0)) + 1, dtype=bool)
    reached[pieces[cell >= options.cell_high]] = True
    reached[0] = False
    return reached[pieces]


def _landscape(maps: Mapping[str, np.ndarray], foreground: np.ndarray, name: str) -> np.ndarray:
    if name == "shape":
        # The image's edge is not background: a cell that it cuts is deepest there.
        return -cv2.distanceTransform(foreground.astype(np.uint8), cv2.DIST_L2, 5)
    return maps[name] if name == "boundary" else -maps[name]


def _components(mask: np.ndarray, connectivity: int = 8) -> np.ndarray:
    if not mask.any():
        return np.zeros(mask.shape, dtype=np.int32)
    mask = np.ascontiguousarray(mask).view(np.uint8)
    return cv2.connectedComponents(mask, connectivity=connectivity, ltype=cv2.CV_32S)[1]


def _large(pieces: np.ndarray, min_area: int) -> np.ndarray:
    small = np.bincount(pieces.ravel()) < min_area
    return np.where(small[pieces], 0, pieces)
