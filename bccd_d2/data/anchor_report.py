"""What `bccd anchors` says and shows: a table of clusters and recalls, a crowded image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from bccd_d2.data.anchors import (
    Anchors,
    BoxTable,
    anchor_recall,
    best_anchor_iou,
    cluster_sizes,
)
from bccd_d2.data.catalog import load_split
from bccd_d2.data.preprocess import resize_image, scaled_size
from bccd_d2.io.images import read_image


def anchors_of_config(config: Any) -> Anchors:
    """The anchors that a detectron2 config describes; a level's stride follows from its name.

    Raises:
        ValueError: the levels are not called p2 (stride 4), p3 (stride 8), ...
    """
    levels = config.MODEL.RPN.IN_FEATURES
    if not all(name[:1] == "p" and name[1:].isdigit() for name in levels):
        raise ValueError(f"MODEL.RPN.IN_FEATURES must be p2, p3, ..., got {levels}")
    given = config.MODEL.ANCHOR_GENERATOR
    sizes = tuple(tuple(level) for level in given.SIZES)
    if len(sizes) == 1:
        sizes = sizes * len(levels)
    strides = tuple(2 ** int(name[1:]) for name in levels)
    return Anchors(sizes, tuple(given.ASPECT_RATIOS[0]), strides, given.OFFSET)


def describe(
    table: BoxTable, proposed: Anchors, current: Anchors | None = None, clusters: int = 6
) -> str:
    """Clusters of the boxes, the proposed anchors as config lines, and the recalls, as text.

    Args:
        table: boxes in the detector's frame.
        proposed: anchors to print as config lines.
        current: anchors to judge beside them.
        clusters: at most this many (fewer where there are fewer boxes).
    """
    middles, shares, fit = cluster_sizes(table.sizes, min(clusters, len(table)))
    images = len(np.unique(table.image_ids))
    lines = [f"{len(table)} boxes in {images} images, px of the detector's frame"]
    lines += [
        f"  cluster {width:6.1f} x {height:6.1f}   {share:6.1%}"
        for (width, height), share in zip(middles, shares, strict=True)
    ]
    lines.append(f"  mean IoU of a box with its cluster: {fit:.3f}")
    ratios = table.sizes[:, 1] / table.sizes[:, 0]
    low, middle, high = np.percentile(ratios, [5, 50, 95])
    lines.append(f"  height / width: 5% {low:.2f}, median {middle:.2f}, 95% {high:.2f}")
    sizes = [[int(size) if size == int(size) else size for size in s] for s in proposed.sizes]
    lines += [
        "proposed:",
        f"  ANCHOR_GENERATOR.SIZES: {sizes}",
        f"  ANCHOR_GENERATOR.ASPECT_RATIOS: [{list(proposed.ratios)}]",
        f"  strides {list(proposed.strides)}, ANCHOR_GENERATOR.OFFSET: {proposed.offset}",
        _recall_line("proposed", table, proposed),
    ]
    if current is not None:
        lines.append(_recall_line("current", table, current))
    return "\n".join(lines)


def densest_image(folder: str | Path, split: str, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """The image with the most cells, resized, as RGB uint8, and its boxes (N, 4) x0 y0 x1 y1."""
    record = max(load_split(folder, split), key=lambda r: len(r["annotations"]))
    image = read_image(record["file_name"], max_value=record.get("max_value"))
    resized = resize_image(image, scaled_size(image.shape[:2], scale))
    boxes = np.array([a["bbox"] for a in record["annotations"]], dtype=np.float64).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    factors = np.divide(resized.shape[1::-1], image.shape[1::-1])
    return resized, boxes * np.tile(factors, 2)


def _recall_line(name: str, table: BoxTable, anchors: Anchors) -> str:
    recall = anchor_recall(table, anchors)
    mean = best_anchor_iou(table, anchors).mean()
    return (
        f"  {name}: {len(anchors.sizes[0]) * len(anchors.ratios)} anchors a place, recall "
        f"{recall[0.5]:.3f} at IoU .5, {recall[0.7]:.3f} at IoU .7, mean best IoU {mean:.3f}"
    )
