"""The plots of a dataset's page; each returns a chart."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bccd_d2.report.chart import Chart, Plot
from bccd_d2.report.dataset.files import DatasetFiles, DatasetImage
from bccd_d2.report.drawing import MARKERS, Style
from bccd_d2.report.page import BLUE, COLOURS, GREEN, GREY, ORANGE


def _histogram(
    dataset: DatasetFiles, values: dict[str, np.ndarray], x: str, y: str, *, bins: int = 30
) -> Chart:
    """Steps a split over common bins, each as a share of the split; its median as a tick."""
    plot = Plot(x, f"% of {y}", y_range=(0, None))
    every = np.concatenate([np.zeros(0), *values.values()])
    top = float(np.percentile(every, 99.5)) if every.size else 1.0
    edges = np.linspace(0, max(top, 1e-6), bins + 1)
    dashes = ("-", "--", ":")
    for number, split in enumerate(dataset.splits()):
        some = values[split]
        if not some.size:
            continue
        share = np.histogram(np.minimum(some, edges[-1]), edges)[0] / some.size
        style = Style(COLOURS[number], 2, dashes[number])
        steps = np.concatenate([[0], np.repeat(100 * share, 2), [0]])
        plot.line(np.repeat(edges, 2), steps, style, f"{split}, median {np.median(some):,.0f}")
    return Chart([plot], 615, 365)


def plot_cells_an_image(dataset: DatasetFiles) -> Chart:
    """How many cells the images of each split hold."""
    return _histogram(dataset, _by_split(dataset, "cells"), "cells per image", "images", bins=20)


def plot_areas(dataset: DatasetFiles) -> Chart:
    """Areas of the cells of each split; the largest 0.5% are counted in the last bin."""
    values = {
        split: _joined([image.cells.areas for image in dataset.in_split(split)])
        for split in dataset.splits()
    }
    return _histogram(dataset, values, "area of a cell, px", "cells")


def plot_coverage(dataset: DatasetFiles) -> Chart:
    """The share of each image's pixels that is cell."""
    values = _by_split(dataset, "covered_percent")
    return _histogram(dataset, values, "% of the image covered by cells", "images", bins=20)


def _by_split(dataset: DatasetFiles, column: str) -> dict[str, np.ndarray]:
    return {
        split: np.array([image.row[column] for image in dataset.in_split(split)])
        for split in dataset.splits()
    }


def plot_shapes(dataset: DatasetFiles) -> Chart:
    """Width and height of every cell's box: inner cells, border cells, suspected clumps."""
    images = dataset.images.values()
    each = [image.cells.boxes[:, 2:] - image.cells.boxes[:, :2] for image in images]
    sides = np.concatenate([np.zeros((0, 2)), *each])
    border = _joined([image.border for image in images]).astype(bool)
    clump = _joined([image.clump for image in images]).astype(bool)
    top = 1.05 * float(sides.max(initial=1))
    groups = (("inside", ~border & ~clump, GREY), ("at the border", border & ~clump, BLUE),
              ("suspected clump", clump, ORANGE))  # fmt: skip
    plot = Plot("width of a cell's box, px", "height, px", x_range=(0, top), y_range=(0, top),
                equal=True)  # fmt: skip
    for marker, (name, chosen, colour) in zip(MARKERS, groups, strict=False):
        style = Style(colour, marker=marker, size=4.5, alpha=0.55)
        label = f"{name}: {int(chosen.sum()):,}"
        plot.dots(sides[chosen, 0], sides[chosen, 1], style, label)
    plot.line([0, top], [0, top], Style("#000000", 0.8))
    return Chart([plot], 540, 440)


def plot_border(dataset: DatasetFiles) -> Chart:
    """The share of border cells by number of cells, an image a dot."""
    plot = Plot("cells per image", "% of them at the border", y_range=(0, None))
    for number, split in enumerate(dataset.splits()):
        rows = [image.row for image in dataset.in_split(split) if image.row["cells"]]
        cells = np.array([row["cells"] for row in rows])
        share = np.array([100 * row["border_cells"] / row["cells"] for row in rows])
        plot.dots(cells, share, Style(COLOURS[number], marker=MARKERS[number], alpha=0.7), split)
    return Chart([plot], 540, 440)


def plot_colours(dataset: DatasetFiles) -> Chart:
    """Each image's mean colour: red over blue, the dot in that very colour."""
    left = Plot("mean red, 0 to 255", "mean blue, 0 to 255", "Mean colour of each image")
    for number, split in enumerate(dataset.splits()):
        means = np.array([image.row["mean_rgb"] for image in dataset.in_split(split)])
        own = ["#" + "".join(f"{round(band):02x}" for band in mean) for mean in means]
        style = Style("#ffffff", 1.2, marker=MARKERS[number], size=9, edge=COLOURS[number])
        left.dots(means[:, 0], means[:, 2], style, split, own)
    bands = {"red": ORANGE, "green": GREEN, "blue": BLUE}
    right = Plot("", "spread inside an image, 0 to 255", "Contrast of the images, by channel",
                 x_names=tuple(bands))  # fmt: skip
    spread = _channels(list(dataset.images.values()), "std_rgb")
    for place, colour in enumerate(bands.values()):
        if spread.size:
            low, first, median, third, high = np.percentile(spread[:, place], (0, 25, 50, 75, 100))
            right.line([place, place], [low, high], Style(colour, 1))
            right.boxes(place - 0.25, place + 0.25, first, third, Style("#ffffff", 1, edge=colour))
            right.line([place - 0.25, place + 0.25], [median, median], Style("#000000"))
    return Chart([left, right], 960, 405)


def _channels(images: Sequence[DatasetImage], key: str) -> np.ndarray:
    return np.array([image.row[key] for image in images], dtype=np.float64).reshape(-1, 3)


def _joined(arrays: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate([np.zeros(0), *arrays])
