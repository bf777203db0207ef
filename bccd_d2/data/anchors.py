"""How large the cells are, and how well a grid of anchors covers them.

Sizes and boxes are in pixels of the detector's frame unless a function takes ``scale``, the
frame's pixels per pixel of the file. Ratios are height / width and anchors lie on detectron2's
grid: with offset 0 a level of stride s has centres at 0, s, 2s, ... Anchors are not clipped to the
image, because the proposal network matches them unclipped.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bccd_d2.io.dataset_file import read_description, split_json
from bccd_d2.masks.coco import read_coco

POSITIVE_IOU = 0.7


@dataclass(frozen=True)
class BoxTable:
    """The boxes of a split, all images in one array.

    Attributes:
        boxes: (N, 4) float64 x0 y0 x1 y1.
        image_sizes: (N, 2) int64 height, width of each box's image.
        image_ids: (N,) int64.
    """

    boxes: np.ndarray
    image_sizes: np.ndarray
    image_ids: np.ndarray

    def __len__(self) -> int:
        return len(self.boxes)

    @property
    def sizes(self) -> np.ndarray:
        """(N, 2) width, height."""
        return self.boxes[:, 2:] - self.boxes[:, :2]

    def scaled(self, scale: float) -> BoxTable:
        """The same boxes in the frame of an image resized by ``scale`` (whole pixels a side)."""
        sizes = np.maximum(1, np.round(self.image_sizes * scale)).astype(np.int64)
        factors = (sizes / self.image_sizes)[:, ::-1]
        return BoxTable(self.boxes * np.tile(factors, 2), sizes, self.image_ids)

    def sample(self, count: int, seed: int = 0) -> BoxTable:
        """At most ``count`` of the boxes, drawn without replacement."""
        if len(self) <= count:
            return self
        chosen = np.random.default_rng(seed).choice(len(self), count, replace=False)
        return BoxTable(self.boxes[chosen], self.image_sizes[chosen], self.image_ids[chosen])


@dataclass(frozen=True)
class Anchors:
    """Anchor sizes a level, ratios common to all levels, and the levels' strides.

    Attributes:
        sizes: one tuple a level; square root of the anchor's area in px.
        ratios: height / width.
        strides: px, one a level.
        offset: of the first centre, in strides, in [0, 1); 0 is the default of detectron2's config.
    """

    sizes: tuple[tuple[float, ...], ...]
    ratios: tuple[float, ...] = (0.5, 1.0, 2.0)
    strides: tuple[int, ...] = (4, 8, 16, 32)
    offset: float = 0.0

    def __post_init__(self) -> None:
        if len(self.sizes) != len(self.strides):
            raise ValueError(
                f"sizes must have one list for each of the {len(self.strides)} strides "
                f"{self.strides}, got {len(self.sizes)}"
            )
        values = [size for level in self.sizes for size in level] + list(self.ratios)
        if not values or min(values) <= 0 or not self.ratios or not all(self.sizes):
            raise ValueError(f"sizes and ratios must be above 0, got {self.sizes}, {self.ratios}")

    def shapes(self, level: int) -> np.ndarray:
        """(A, 2) width, height of one level's anchors, sizes first, ratios within."""
        areas = np.square(np.repeat(self.sizes[level], len(self.ratios)))
        ratios = np.tile(self.ratios, len(self.sizes[level]))
        widths = np.sqrt(areas / ratios)
        return np.stack([widths, widths * ratios], axis=1)


def load_boxes(folder: str | Path, split: str = "train") -> BoxTable:
    """The boxes of one split of a converted dataset, in pixels of the files.

    Raises:
        FileNotFoundError, KeyError: no such dataset or split.
        ValueError: the split has no cell.
    """
    path = split_json(folder, split)
    if read_description(folder).get("annotations") == "points":
        raise ValueError(f"{folder}: this dataset has points, no boxes to fit anchors to")
    listed = [
        (annotation["bbox"], image.size, image.entry["id"])
        for image in read_coco(path, boxes=True)
        for annotation in image.annotations
        if not annotation.get("iscrowd", 0)
    ]
    if not listed:
        raise ValueError(f"{path} has no cells to measure; choose another split")
    found, sizes, ids = (np.array(part) for part in zip(*listed, strict=True))
    boxes = found.astype(np.float64)
    boxes[:, 2:] += boxes[:, :2]
    return BoxTable(boxes, sizes.astype(np.int64), ids.astype(np.int64))


def shape_iou(sizes: np.ndarray, shapes: np.ndarray) -> np.ndarray:
    """(N, K) IoU of boxes (N, 2) with shapes (K, 2) laid centre on centre; width, height each."""
    overlap = np.minimum(sizes[:, None], shapes[None]).prod(axis=2)
    return overlap / (sizes.prod(axis=1)[:, None] + shapes.prod(axis=1)[None] - overlap)


def cluster_sizes(
    sizes: np.ndarray, count: int, seed: int = 0, rounds: int = 100
) -> tuple[np.ndarray, np.ndarray, float]:
    """Typical box shapes by k-means with the distance 1 - IoU (Redmon and Farhadi 2017, section 2).

    The middle of a cluster is the median width and height of its boxes. Ours starts from k-means++
    seeding instead of random boxes, and keeps a middle that loses all its boxes.

    Args:
        sizes: (N, 2) width, height, above 0.
        count: clusters; not more than there are boxes.

    Returns:
        (count, 2) middles by growing area, (count,) share of the boxes in each, and the mean IoU of
        the boxes with their middle.

    Raises:
        ValueError: fewer boxes than clusters.
    """
    if not 1 <= count <= len(sizes):
        raise ValueError(f"count must lie in [1, {len(sizes)}], the number of boxes, got {count}")
    rng = np.random.default_rng(seed)
    middles = sizes[rng.integers(len(sizes))][None].astype(np.float64)
    while len(middles) < count:
        distance = np.square(1 - shape_iou(sizes, middles).max(axis=1)) + 1e-12
        chosen = rng.choice(len(sizes), p=distance / distance.sum())
        middles = np.vstack([middles, sizes[chosen]])
    nearest = np.full(len(sizes), -1)
    for _ in range(rounds):
        previous, nearest = nearest, shape_iou(sizes, middles).argmax(axis=1)
        if np.array_equal(previous, nearest):
            break
        for index in np.unique(nearest):
            middles[index] = np.median(sizes[nearest == index], axis=0)
    middles = middles[np.argsort(middles.prod(axis=1))]
    overlap = shape_iou(sizes, middles)
    shares = np.bincount(overlap.argmax(axis=1), minlength=count) / len(sizes)
    return middles, shares, float(overlap.max(axis=1).mean())


def best_anchor_iou(table: BoxTable, anchors: Anchors, divisor: int = 32) -> np.ndarray:
    """(N,) IoU of each box with the best anchor on the grid; exact, without making the anchors.

    For one anchor shape the overlap is a product of one factor in x and one in y, each largest at
    the grid position nearest to the box's centre. So one position a shape and level is enough.

    Args:
        table: boxes in the detector's frame.
        anchors: sizes, ratios and strides.
        divisor: images are padded to a multiple of it at the right and bottom, and the grid
            reaches over the padding.
    """
    centres = (table.boxes[:, :2] + table.boxes[:, 2:]) / 2
    padded = -(-table.image_sizes[:, ::-1] // divisor) * divisor
    areas = table.sizes.prod(axis=1)
    best = np.zeros(len(table))
    for level, stride in enumerate(anchors.strides):
        last = -(-padded // stride) - 1
        step = np.clip(np.round(centres / stride - anchors.offset), 0, last)
        position = (step + anchors.offset) * stride
        for width, height in anchors.shapes(level):
            half = np.array([width, height]) / 2
            low = np.maximum(table.boxes[:, :2], position - half)
            high = np.minimum(table.boxes[:, 2:], position + half)
            overlap = np.clip(high - low, 0, None).prod(axis=1)
            best = np.maximum(best, overlap / (areas + width * height - overlap))
    return best


def anchor_recall(
    table: BoxTable, anchors: Anchors, thresholds: Sequence[float] = (0.5, 0.7), divisor: int = 32
) -> dict[float, float]:
    """Share of the boxes that some anchor on the grid meets with at least each IoU, in [0, 1].

    0.7 is the default IoU from which detectron2's proposal network calls an anchor positive. A box
    below it still has its best anchor as the one positive.
    """
    best = best_anchor_iou(table, anchors, divisor)
    return {float(t): float((best >= t).mean()) if len(best) else 0.0 for t in thresholds}


def propose_anchors(
    table: BoxTable,
    strides: Sequence[int] = (4, 8, 16, 32),
    *,
    sizes_per_level: int = 1,
    ratio_count: int = 3,
    growth: float = 2**0.5,
    offset: float = 0.0,
    seed: int = 0,
) -> Anchors:
    """The anchors that meet the boxes best, their sizes growing by one factor a level.

    Best is the largest mean over the boxes of min(best IoU, 0.7): beyond the IoU from which
    detectron2 calls an anchor positive a better fit earns nothing, so rare shapes are served too.
    The smallest size is searched from 4 to 32 strides of the first level (32 steps), the ratios
    1/r, 1, r for r from 1.2 to 2 (17 steps); symmetric, as a crop may be turned by 90 degrees.

    Args:
        table: boxes in the detector's frame; 4,000 of them are used when there are more.
        strides: px, one a level, ascending.
        sizes_per_level: anchor sizes on each level; they divide the step to the next one.
        ratio_count: 1 (squares only) or 3.
        growth: from the sizes of one level to those of the next. Cells differ little in size, so
            the usual 2 wastes most levels on sizes that no cell has.
        offset: see `Anchors`.

    Returns:
        Sizes in whole px, ratios to 0.01.

    Raises:
        ValueError: no boxes, or another ``ratio_count``.
    """
    if len(table) == 0:
        raise ValueError("table must hold at least one box")
    if ratio_count not in (1, 3):
        raise ValueError(f"ratio_count must be 1 or 3, got {ratio_count}")
    table = table.sample(4000, seed)
    steps = growth ** (np.arange(sizes_per_level) / sizes_per_level)
    levels = strides[0] * growth ** np.arange(len(strides))
    best, best_score = None, -1.0
    for sizes, ratios in _grids(steps, levels, ratio_count):
        anchors = Anchors(sizes, ratios, tuple(strides), offset)
        score = float(np.minimum(best_anchor_iou(table, anchors), POSITIVE_IOU).mean())
        if score > best_score + 1e-9:
            best, best_score = anchors, score
    assert best is not None  # an IoU is never below 0
    return best


def _grids(
    steps: np.ndarray, levels: np.ndarray, ratio_count: int
) -> Iterator[tuple[tuple[tuple[float, ...], ...], tuple[float, ...]]]:
    """All sizes by level and ratios that `propose_anchors` tries, small ones first."""
    spread = np.arange(1.2, 2.01, 0.05).round(2) if ratio_count == 3 else [1.0]
    for base in np.geomspace(4, 32, 32):
        sizes = tuple(tuple((base * level * steps).round().tolist()) for level in levels)
        for r in spread:
            yield sizes, (round(float(1 / r), 2), 1.0, float(r)) if ratio_count == 3 else (1.0,)
