"""Gradient flows: from each pixel of a cell the way to its centre, and back from flows to cells.

Cellpose's idea (Stringer et al., Nature Methods 2021): heat is poured into a cell's centre and
diffuses within the cell; the flow of a pixel is the direction in which it gets warmer. Pixels that
follow the flows to one sink are one cell, whatever its shape and whoever touches it. Here a large
cell is solved on a coarser grid first, and the way to the sink is doubled instead of walked.

Arrays: flows are (2, H, W) float32 (dy, dx), positions are rows y and columns x in pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from bccd_d2.masks.heat import steady_heat
from bccd_d2.masks.labels import cell_boxes, check_label_map


@dataclass(frozen=True)
class FlowOptions:
    """How flows are followed; lengths in pixels of the map.

    Attributes:
        step_size: length of a step along a flow vector of length 1.
        steps: steps that are walked with bilinear interpolation.
        leaps: how often the way is then doubled: the whole is ``steps * 2**leaps`` steps long.
        sink_count: pixels that must end within one 3x3 square for it to be a sink.
        sink_radius: sinks closer than twice this are one cell.

    Raises:
        ValueError: a number out of its range.
    """

    step_size: float = 1.0
    steps: int = 16
    leaps: int = 5
    sink_count: int = 8
    sink_radius: int = 1

    def __post_init__(self) -> None:
        if self.step_size <= 0:
            raise ValueError(f"step_size must be above 0 px, got {self.step_size}")
        for name, least in (("steps", 1), ("leaps", 0), ("sink_count", 1), ("sink_radius", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")


def cell_centres(label_map: np.ndarray) -> np.ndarray:
    """(N, 2) int64 y and x of each cell's own pixel that is nearest to its centroid.

    N is the largest label; a label that is not there has -1, -1. The first in reading order of
    pixels equally near is taken. Unlike the centroid it lies inside a crescent or a ring.
    """
    label_map = check_label_map(label_map)
    count = int(label_map.max(initial=0))
    rows, columns = np.nonzero(label_map)
    owner = label_map[rows, columns]
    areas = np.maximum(np.bincount(owner, minlength=count + 1), 1)
    middle_y = np.bincount(owner, rows, minlength=count + 1) / areas
    middle_x = np.bincount(owner, columns, minlength=count + 1) / areas
    distance = (rows - middle_y[owner]) ** 2 + (columns - middle_x[owner]) ** 2
    least = np.full(count + 1, np.inf)
    np.minimum.at(least, owner, distance)
    nearest = np.flatnonzero(distance == least[owner])[::-1]
    centres = np.full((count + 1, 2), -1, dtype=np.int64)
    centres[owner[nearest]] = np.stack([rows[nearest], columns[nearest]], axis=1)
    return centres[1:]


def encode_flow(label_map: np.ndarray) -> np.ndarray:
    """(2, H, W) float32 unit vectors (dy, dx) towards each cell's centre; 0 on the background.

    The direction in which log(1 + heat) grows, after heat has been poured into the pixel that
    `cell_centres` gives for 2 (height + width) steps, each the mean over 3x3 pixels of the cell;
    other cells, background and what is outside the map are cold (Stringer et al. 2021, Methods).
    Cells wider than 62 px are solved at half their size, that at a quarter, and so on; see
    `heat.steady_heat`. The centre itself has 0.
    """
    label_map = check_label_map(label_map)
    flow = np.zeros((2, *label_map.shape), dtype=np.float32)
    centres = cell_centres(label_map)
    boxes = cell_boxes(label_map)
    there = np.flatnonzero(boxes[:, 2] > boxes[:, 0])
    insides, sources = [], []
    for index in there.tolist():
        x0, y0, x1, y1 = boxes[index].tolist()
        padded = np.zeros((y1 - y0 + 2, x1 - x0 + 2), np.float32)
        padded[1:-1, 1:-1] = label_map[y0:y1, x0:x1] == index + 1
        insides.append(padded)
        sources.append((int(centres[index, 0]) - y0 + 1, int(centres[index, 1]) - x0 + 1))
    heats = steady_heat(insides, sources)
    for index, heat, padded in zip(there.tolist(), heats, insides, strict=True):
        x0, y0, x1, y1 = boxes[index].tolist()
        inside = padded[1:-1, 1:-1] > 0
        y, x = int(centres[index, 0]) - y0, int(centres[index, 1]) - x0
        flow[:, y0:y1, x0:x1][:, inside] = _uphill(heat, inside, y, x)
    return flow


def _uphill(heat: np.ndarray, inside: np.ndarray, y: int, x: int) -> np.ndarray:
    """(2, K) unit vectors of the K pixels of one cell, whose centre is at ``y``, ``x``."""
    level = np.log1p(heat)
    along_y = (level[2:, 1:-1] - level[:-2, 1:-1])[inside]
    along_x = (level[1:-1, 2:] - level[1:-1, :-2])[inside]
    vectors = np.stack([along_y, along_x])
    length = np.sqrt((vectors**2).sum(axis=0))
    flat = length == 0
    if flat.any():  # no warmer side that a float32 can tell: straight to the centre
        rows, columns = np.nonzero(inside)
        straight = np.stack([y - rows[flat], x - columns[flat]]).astype(np.float32)
        vectors[:, flat] = straight
        length[flat] = np.sqrt((straight**2).sum(axis=0))
    vectors /= np.maximum(length, np.finfo(np.float32).tiny)
    own = np.count_nonzero(inside.ravel()[: y * inside.shape[1] + x])
    vectors[:, own] = 0
    return vectors


def follow_flows(
    flow: np.ndarray, foreground: np.ndarray, options: FlowOptions | None = None
) -> np.ndarray:
    """(K,) int64 flat index of the pixel in which each of the K foreground pixels ends.

    Flows outside the foreground count as 0 and vectors longer than 1 are cut to 1. Pixels come in
    reading order. After ``steps`` steps of bilinear interpolation a pixel's way is continued by
    that of the pixel it has reached, which doubles the way at each leap.

    Args:
        flow: (2, H, W) float, (dy, dx).
        foreground: (H, W) bool.
        options: see `FlowOptions`.
    """
    options = options or FlowOptions()
    height, width = foreground.shape
    start = np.flatnonzero(foreground)
    if not start.size:
        return start
    vectors = np.moveaxis(np.asarray(flow, dtype=np.float32), 0, -1) * foreground[..., None]
    length = np.sqrt((vectors**2).sum(axis=-1, keepdims=True))
    vectors = np.ascontiguousarray(vectors * (options.step_size / np.maximum(length, 1)))
    across = 1024  # OpenCV wants a picture of positions; its last row is filled up with the first
    rows, columns = np.divmod(np.resize(start, -(-start.size // across) * across), width)
    y, x = (part.reshape(-1, across).astype(np.float32) for part in (rows, columns))
    for _ in range(options.steps):
        move = cv2.remap(vectors, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        for at, along, last in ((y, move[..., 0], height - 1), (x, move[..., 1], width - 1)):
            at += along
            np.clip(at, 0, last, out=at)
    end = np.rint(y).astype(np.int64) * width + np.rint(x).astype(np.int64)
    jump = np.arange(height * width)
    jump[start] = end.ravel()[: start.size]
    for _ in range(options.leaps):
        jump[start] = jump[jump[start]]
    return jump[start]


def cells_from_flow(
    flow: np.ndarray, foreground: np.ndarray, options: FlowOptions | None = None
) -> np.ndarray:
    """Label map (H, W) int32: foreground pixels that follow the flows to one sink are one cell.

    A sink is where at least ``sink_count`` pixels end within a 3x3 square; sinks that touch after
    growing by ``sink_radius`` are one. Pixels that end elsewhere become background. No foreground
    gives no cells.

    Args:
        flow: (2, H, W) float, (dy, dx), about unit length.
        foreground: (H, W) bool.
        options: see `FlowOptions`.
    """
    options = options or FlowOptions()
    cells = np.zeros(foreground.shape, dtype=np.int32)
    end = follow_flows(flow, foreground, options)
    if not end.size:
        return cells
    counts = np.bincount(end, minlength=cells.size).reshape(cells.shape).astype(np.float32)
    near = cv2.boxFilter(counts, -1, (3, 3), normalize=False, borderType=cv2.BORDER_CONSTANT)
    sinks: np.ndarray = ((near >= options.sink_count) & (counts > 0)).astype(np.uint8)
    if options.sink_radius:
        side = 2 * options.sink_radius + 1
        sinks = cv2.dilate(sinks, np.ones((side, side), np.uint8))
    _, basins = cv2.connectedComponents(sinks, connectivity=8, ltype=cv2.CV_32S)
    cells[foreground] = basins.ravel()[end]
    return cells


def flow_errors(label_map: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """(N,) float32 mean squared length of the difference between a cell's own flows and ``flow``.

    0 where the map of vectors is just what the cell's outline asks for, about 2 where it has
    nothing to do with it; 0 for a label that is not there. Cellpose drops cells above .4 (its
    "flow_threshold"), which is half of this figure's scale: it averages over the two components.
    """
    label_map = check_label_map(label_map)
    own = encode_flow(label_map)
    inside = label_map > 0
    wrong = ((own - flow) ** 2).sum(axis=0)[inside]
    areas = np.bincount(label_map[inside], minlength=int(label_map.max(initial=0)) + 1)
    sums = np.bincount(label_map[inside], wrong, minlength=len(areas))
    return (sums / np.maximum(areas, 1))[1:].astype(np.float32)
