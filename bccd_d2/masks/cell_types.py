"""From found cells and what a type network says of them to cells that have types.

Pure numpy, whatever runs the networks: they are handed in as functions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from bccd_d2.masks.cell_crops import CropOptions, look_at
from bccd_d2.masks.cells import Cells
from bccd_d2.masks.clumps import cut_at_necks
from bccd_d2.masks.habits import Habit, Look, carried, colours, habit_of, sigmoid
from bccd_d2.masks.labels import disc_diameter
from bccd_d2.masks.rle import Rle, encode_crop

# In place of `SmallOptions.counted` on images of laboratories that it was not chosen on.
ELSEWHERE = (0.0, 1.0, -0.5)
_AGAIN = "a model of an earlier version learns its types again by bccd types"


@dataclass(frozen=True)
class SmallOptions:
    """Cells that the model leaves out because they are small, such as platelets.

    Attributes:
        channels: of a second, small U-Net whose one map shows them; () = there is none.
        threshold: of that map, in (0, 1).
        least: share of the usual cell's area; smaller pieces are dropped.
        counted: weights of the logit of a cell's score, the map's mean, of the logit that
            annotators mark such a cell, and a constant; their sum is the logit of the chance that
            they do. () = the map's mean is that chance.
        where: rows of `masks.habits.Look`, of the laboratories whose annotators those are; images
            unlike all of them have `ELSEWHERE` for weights. () = all images are like them.
        reported_from: the threshold of the model, which is the score of a small cell where the
            chance is even, and of a found one at its habit's threshold; 0 = scores are chances.
    """

    channels: tuple[int, ...] = ()
    threshold: float = 0.5
    least: float = 0.015
    counted: tuple[float, ...] = ()
    where: tuple[tuple[float, ...], ...] = ()
    reported_from: float = 0.0

    def __post_init__(self) -> None:
        for row in self.where:
            Look.of(row)
        if len(self.counted) not in (0, 3):
            raise ValueError(
                f"MODEL.TYPES.SMALL.COUNTED wants 3 numbers or none, got {self.counted}; {_AGAIN}"
            )
        if not 0 <= self.reported_from < 1:
            raise ValueError(
                f"MODEL.TYPES.SMALL.REPORTED_FROM must lie in [0, 1), got {self.reported_from}"
            )

    def on(self, seen: np.ndarray) -> SmallOptions:
        """The same with the weights for an image of these `masks.habits.colours`."""
        known = not self.where or any(Look.of(row).holds(seen) for row in self.where)
        return self if known else replace(self, counted=ELSEWHERE)


@dataclass(frozen=True)
class TypeOptions:
    """How found cells get types; the keys of ``MODEL.TYPES``.

    Attributes:
        enabled: they get any.
        crop: what the network sees of each.
        channels: of the network's levels.
        small: a second source of cells.
        temperature: logits are divided by it before they become probabilities; chosen on cells
            that the network did not learn from, as all that follows.
        biases: added to the divided logits, one a class; () = none.
        counted: a row of `masks.habits.Habit` for each laboratory whose annotators' habit is
            followed on images that look like its own. () = the scores of found cells stay.

    Raises:
        ValueError: a number out of its range.
    """

    enabled: bool = False
    crop: CropOptions = field(default_factory=CropOptions)
    channels: tuple[int, ...] = (16, 32, 64, 96)
    small: SmallOptions = field(default_factory=SmallOptions)
    temperature: float = 1.0
    biases: tuple[float, ...] = ()
    counted: tuple[tuple[float, ...], ...] = ()

    def __post_init__(self) -> None:
        if self.temperature <= 0:
            raise ValueError(f"MODEL.TYPES.TEMPERATURE must be above 0, got {self.temperature}")
        if not all(isinstance(row, Sequence) for row in self.counted):
            raise ValueError(f"MODEL.TYPES.COUNTED wants rows, got {self.counted}; {_AGAIN}")
        if self.habits and not self.small.reported_from:
            raise ValueError("MODEL.TYPES.COUNTED wants MODEL.TYPES.SMALL.REPORTED_FROM above 0")

    @property
    def habits(self) -> tuple[Habit, ...]:
        """The rows of ``counted``."""
        return tuple(Habit.of(row) for row in self.counted)


@dataclass(frozen=True)
class TypeNetworks:
    """What runs the networks.

    Attributes:
        look: crops (N, 4, S, S) uint8 and measures (N, M) float32 to logits (N, K + 1), of K
            classes and last that annotators mark such a cell.
        small: an image (h, w, 3) uint8 RGB to a map (h, w) float32, the probability of each pixel
            to belong to a small cell; None = there is no such network.
    """

    look: Callable[[np.ndarray, np.ndarray], np.ndarray]
    small: Callable[[np.ndarray], np.ndarray] | None = None


def typed(
    image: np.ndarray,
    found: Cells,
    networks: TypeNetworks,
    options: TypeOptions,
    diameter: float = 0.0,
) -> Cells:
    """The found cells and small ones that the model left out, all with class probabilities.

    Args:
        image: (h, w, 3) uint8 RGB, as the model looked at it.
        found: in a frame that may be of another resolution than the image.
        diameter: px of the image across a usual cell; 0 = that of the median outline.
    """
    coarser, count = found.image_size[0] / image.shape[0], len(found)
    usual = diameter * coarser or usual_diameter(found)
    habit = None
    if options.counted or options.small.where:
        # Anew: the finder's own look came before what annotators leave out lost score, and habits
        # were learned from the scores as they are now.
        seen = colours(image, found)
        habit = habit_of(seen, options.habits)
        options = replace(options, small=options.small.on(seen))
    if networks.small is not None:
        least = options.small.least * np.pi / 4 * (usual / coarser) ** 2
        small = small_cells(networks.small(image), found.image_size, least, options.small)
        found, small = without_copies(found, small, options.small.reported_from)
        found, count = together(found, small), len(found)
    crops, measures = look_at(image, found, usual, options.crop)
    added = np.arange(len(found)) >= count
    return with_types(found, networks.look(crops, measures), options, habit, added)


def usual_diameter(cells: Cells) -> float:
    """px: the disc of the median area of the cells that the image's edge does not cut.

    All cells are asked where the edge cuts each; 1 without any cell.
    """
    areas, whole = cells.areas, ~cells.touches_border()
    areas = areas[whole] if whole.any() else areas
    return float(max(disc_diameter(np.median(areas)), 1.0)) if len(areas) else 1.0


def together(first: Cells, second: Cells) -> Cells:
    """The cells of both, without types."""
    scores = np.concatenate([first.scores, second.scores])
    return Cells.from_rles([*first.rles, *second.rles], first.image_size, scores)


def with_types(
    cells: Cells,
    logits: np.ndarray,
    options: TypeOptions,
    habit: Habit | None = None,
    added: np.ndarray | None = None,
) -> Cells:
    """The cells with class probabilities and scores that follow what annotators mark.

    Args:
        logits: (N, K + 1) of the type network: K classes, and that annotators mark the cell.
        habit: that holds of the image; None = the scores of found cells stay.
        added: (N,) bool, small cells that the model did not find itself; None = none are.

    Raises:
        ValueError: biases of another number of classes.
    """
    known = cells.with_classes(probabilities(logits[:, :-1], options.temperature, options.biases))
    scores = rescored(cells.scores, logits[:, -1], options.small, habit, added)
    return replace(known, scores=scores)


def rescored(
    scores: np.ndarray,
    logits: np.ndarray,
    small: SmallOptions,
    habit: Habit | None = None,
    added: np.ndarray | None = None,
) -> np.ndarray:
    """(N,) in [0, 1]: scores that follow what annotators mark.

    Args:
        logits: (N,) that annotators mark such a cell.
        habit, added: see `with_types`.
    """
    found = np.asarray(scores, dtype=np.float64)
    if habit is not None:
        found = habit.rescored(found, logits, small.reported_from)
    if added is None or not added.any():
        return found
    alone = small_chance(scores, logits, small.counted)
    if small.reported_from:
        alone = carried(alone, 0.5, small.reported_from)
    return np.where(added, alone, found)


def small_chance(
    scores: np.ndarray, logits: np.ndarray, weights: Sequence[float] | np.ndarray
) -> np.ndarray:
    """(N,) in [0, 1], that annotators mark a small cell; see `SmallOptions.counted`."""
    if not len(weights):
        return np.asarray(scores, dtype=np.float64)
    return sigmoid(weights[0] * _logit(scores) + weights[1] * logits + weights[2])


def probabilities(
    logits: np.ndarray, temperature: float = 1.0, biases: Sequence[float] = ()
) -> np.ndarray:
    """(N, K) float32, rows that sum to 1: softmax of logits / temperature + biases.

    Raises:
        ValueError: biases of another number of classes.
    """
    scaled = np.asarray(logits, dtype=np.float64) / temperature
    if len(biases):
        if len(biases) != scaled.shape[1]:
            raise ValueError(f"{scaled.shape[1]} classes need as many biases, got {len(biases)}")
        scaled = scaled + np.asarray(biases)
    raised = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return (raised / raised.sum(axis=1, keepdims=True)).astype(np.float32)


def _logit(scores: np.ndarray) -> np.ndarray:
    kept = np.clip(np.asarray(scores, dtype=np.float64), 1e-4, 1 - 1e-4)
    return np.log(kept / (1 - kept))


def small_cells(
    shown: np.ndarray, image_size: tuple[int, int], least: float, options: SmallOptions
) -> Cells:
    """The connected pieces of a map of small cells, cut at their necks, in the image's frame.

    Args:
        shown: (h, w) float, probability of each pixel to belong to one.
        image_size: height and width of the image that the map shows.
        least: px of the map; smaller pieces are dropped.

    Returns:
        Cells scored by the mean of the map inside them.
    """
    count, labels, statistics, _ = cv2.connectedComponentsWithStats(
        (shown >= options.threshold).astype(np.uint8), connectivity=8
    )
    rles, scores = [], []
    for number in range(1, count):
        x, y, width, height, area = (int(n) for n in statistics[number])
        if area < least:
            continue
        y0, x0 = max(y - 1, 0), max(x - 1, 0)  # a rim that the finer outline may need
        here = np.s_[y0 : y + height + 1, x0 : x + width + 1]
        whole, likely = labels[here] == number, shown[here]
        pieces = cut_at_necks(whole, max(least, 1.0)) if area >= 2 * least else None
        for piece in _masks(whole if pieces is None else pieces):
            scores.append(float(likely[piece].mean()))
            near = cv2.dilate(piece.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
            part = np.where(near & (piece | ~whole), likely, 0)
            size = shown.shape[0], shown.shape[1]
            rles.append(_drawn(part, (y0, x0), size, image_size, options.threshold))
    return Cells.from_rles(rles, image_size, scores)


def _masks(pieces: np.ndarray) -> list[np.ndarray]:
    """(h, w) bool of each number above 0."""
    return [pieces == number for number in range(1, int(pieces.max()) + 1)]


def _drawn(
    likely: np.ndarray,
    corner: tuple[int, int],
    size: tuple[int, int],
    image_size: tuple[int, int],
    threshold: float,
) -> Rle:
    """The RLE, in the image's frame, of a part of a map where it reaches a threshold.

    Args:
        likely: (a, b) float.
        corner: y, x of the part in the map.
        size: height and width of the map.
    """
    spans = []
    for axis in (0, 1):
        factor = image_size[axis] / size[axis]
        start = min(round(corner[axis] * factor), image_size[axis] - 1)
        end = round((corner[axis] + likely.shape[axis]) * factor)
        spans.append((start, min(max(end, start + 1), image_size[axis])))
    (y0, y1), (x0, x1) = spans
    fine = cv2.resize(likely.astype(np.float32), (x1 - x0, y1 - y0)) >= threshold
    return encode_crop(fine if fine.any() else np.ones_like(fine), y0, x0, image_size)


def without_copies(
    found: Cells, small: Cells, reported_from: float = 0.0, overlap: float = 0.5
) -> tuple[Cells, Cells]:
    """Both, without those of the same cell: one that lies by ``overlap`` in one of its size.

    The found one stays where its score reports it, else the small one. A platelet on a red cell is
    no copy: the red cell is four times as large or more.
    """
    if not len(found) or not len(small):
        return found, small
    # With "crowd" the overlap is the share of the small cell's own area.
    share = np.asarray(coco_mask.iou(small.rles, found.rles, [1] * len(found)))
    alike = (share >= overlap) & (found.areas[None] < 4 * small.areas[:, None])
    reported = found.scores >= reported_from
    kept = ~alike[:, reported].any(axis=1)
    return found[reported | ~alike[kept].any(axis=0)], small[kept]
