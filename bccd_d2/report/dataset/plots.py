"""The plots of a dataset's page; each returns a matplotlib figure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure as Canvas

from bccd_d2.report.dataset.files import DatasetFiles, DatasetImage
from bccd_d2.report.page import BLUE, COLOURS, GREEN, GREY, MARKERS, ORANGE, canvas, tidy


def _histogram(
    dataset: DatasetFiles, values: dict[str, np.ndarray], x: str, y: str, *, bins: int = 30
) -> Canvas:
    """Steps a split over common bins, each as a share of the split; its median as a tick."""
    figure = canvas(6.4, 3.8)
    axes = figure.subplots()
    every = np.concatenate([np.zeros(0), *values.values()])
    top = float(np.percentile(every, 99.5)) if every.size else 1.0
    edges = np.linspace(0, max(top, 1e-6), bins + 1)
    styles = ("-", "--", ":")
    for number, split in enumerate(dataset.splits()):
        some = values[split]
        if not some.size:
            continue
        share = np.histogram(np.minimum(some, edges[-1]), edges)[0] / some.size
        axes.stairs(
            100 * share, edges, color=COLOURS[number], linewidth=1.8, linestyle=styles[number],
            label=f"{split}, median {np.median(some):,.0f}",
        )  # fmt: skip
    tidy(axes, x, f"% of {y}").set_ylim(bottom=0)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False)
    return figure


def plot_cells_an_image(dataset: DatasetFiles) -> Canvas:
    """How many cells the images of each split hold."""
    values = {
        split: np.array([image.row["cells"] for image in dataset.in_split(split)])
        for split in dataset.splits()
    }
    return _histogram(dataset, values, "cells an image", "images", bins=20)


def plot_areas(dataset: DatasetFiles) -> Canvas:
    """Areas of the cells of each split; the largest 0.5% are counted in the last bin."""
    values = {
        split: _joined([image.cells.areas for image in dataset.in_split(split)])
        for split in dataset.splits()
    }
    return _histogram(dataset, values, "area of a cell, px", "cells")


def plot_coverage(dataset: DatasetFiles) -> Canvas:
    """The share of each image's pixels that is cell."""
    values = {
        split: np.array([image.row["covered_percent"] for image in dataset.in_split(split)])
        for split in dataset.splits()
    }
    return _histogram(dataset, values, "% of the image covered by cells", "images", bins=20)


def plot_shapes(dataset: DatasetFiles) -> Canvas:
    """Width and height of every cell's box: inner cells, border cells, suspected clumps."""
    figure = canvas(5.6, 4.6)
    axes = figure.subplots()
    images = dataset.images.values()
    each = [image.cells.boxes[:, 2:] - image.cells.boxes[:, :2] for image in images]
    sides = np.concatenate([np.zeros((0, 2)), *each])
    border = _joined([image.border for image in images]).astype(bool)
    clump = _joined([image.clump for image in images]).astype(bool)
    top = 1.05 * float(sides.max(initial=1))
    groups = (("inside", ~border & ~clump, GREY), ("at the border", border & ~clump, BLUE),
              ("suspected clump", clump, ORANGE))  # fmt: skip
    for marker, (name, chosen, colour) in zip(MARKERS, groups, strict=False):
        axes.scatter(
            sides[chosen, 0], sides[chosen, 1], s=9, color=colour, alpha=0.4, linewidths=0,
            marker=marker, label=f"{name}: {int(chosen.sum()):,}", rasterized=True,
        )  # fmt: skip
    axes.plot([0, top], [0, top], color="black", linewidth=0.7)
    tidy(axes, "width of a cell's box, px", "height, px")
    axes.set_xlim(0, top)
    axes.set_ylim(0, top)
    axes.set_aspect("equal")
    axes.legend(frameon=False, markerscale=2.5)
    return figure


def plot_border(dataset: DatasetFiles) -> Canvas:
    """The share of border cells by number of cells, an image a dot."""
    figure = canvas(5.6, 4.6)
    axes = figure.subplots()
    for number, split in enumerate(dataset.splits()):
        rows = [image.row for image in dataset.in_split(split) if image.row["cells"]]
        cells = np.array([row["cells"] for row in rows])
        share = np.array([100 * row["border_cells"] / row["cells"] for row in rows])
        axes.scatter(
            cells, share, s=22, color=COLOURS[number], marker=MARKERS[number], alpha=0.7,
            linewidths=0, label=split,
        )  # fmt: skip
    tidy(axes, "cells an image", "% of them at the border").set_ylim(bottom=0)
    if dataset.images:
        axes.legend(frameon=False)
    return figure


def plot_colours(dataset: DatasetFiles) -> Canvas:
    """Each image's mean colour: red over blue, the dot in that very colour."""
    figure = canvas(10, 4.2)
    left, right = figure.subplots(1, 2)
    for number, split in enumerate(dataset.splits()):
        means = np.array([image.row["mean_rgb"] for image in dataset.in_split(split)])
        left.scatter(
            means[:, 0], means[:, 2], c=np.clip(means / 255, 0, 1), s=55, marker=MARKERS[number],
            edgecolors=COLOURS[number], linewidths=1.2, label=split,
        )  # fmt: skip
    tidy(left, "mean red, 0 to 255", "mean blue, 0 to 255")
    left.set_title("Mean colour of each image")
    if dataset.images:
        left.legend(frameon=False)
    bands = {"red": ORANGE, "green": GREEN, "blue": BLUE}
    spread = _channels(list(dataset.images.values()), "std_rgb")
    for place, colour in enumerate(bands.values()):
        if spread.size:
            right.boxplot(
                spread[:, place], positions=[place], widths=0.5, manage_ticks=False,
                boxprops={"color": colour}, medianprops={"color": "black"},
            )  # fmt: skip
    right.set_xticks(range(3), list(bands))
    tidy(right, "", "spread inside an image, 0 to 255")
    right.set_title("Contrast of the images, by channel")
    return figure


def _channels(images: Sequence[DatasetImage], key: str) -> np.ndarray:
    return np.array([image.row[key] for image in images], dtype=np.float64).reshape(-1, 3)


def _joined(arrays: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate([np.zeros(0), *arrays])
