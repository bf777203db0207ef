"""Drawing detected cells again, pixel by pixel: the box's mask and the dense maps together.

For every cell and pixel there is evidence, in logits: what the mask head says about the pixel in
the cell's box, whether the dense head sees a cell there, and how far from this cell's centre the
pixel itself believes its centre to be (the offsets of Panoptic-DeepLab, arXiv 1911.10194). Their
weighted sum decides; a pixel wanted by two cells goes to the one that has more evidence.

Shapes: N cells; the detector's frame is h x w px, the image H x W px. NumPy only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from skimage.segmentation import watershed

from bccd_d2.masks.cells import Cells
from bccd_d2.masks.cleanup import CleanupOptions, suppress, whole_mask
from bccd_d2.masks.rle import Rle, encode_crop
from bccd_d2.modeling.rcnn.outline import OFFSET_UNIT
from bccd_d2.modeling.rcnn.paste import interpolation, pixel_range

METHODS = ("", "blend", "assign", "watershed")
_LIMIT = 6.0  # logits beyond this say no more


@dataclass(frozen=True)
class RedrawOptions:
    """How the evidence is weighed.

    Attributes:
        method: "" = masks as the mask head draws them; "blend" = each cell for itself;
            "assign" = and each pixel to one cell; "watershed" = pixels go to the cell whose
            confident part they are connected to along the valleys of the boundary map.
        foreground: where the foreground logit comes from: "dense" = the outline head; "otsu" =
            `masks.otsu.foreground_logit`, which needs no training and has no votes and boundaries.
        mask: weight of the mask head's logit.
        cell: weight of the dense foreground logit.
        bias: added to these two: their sum says whether a pixel is within a cell. The next two only
            say whose it is, so that they part neighbours and never make a cell larger.
        boundary: weight of the dense boundary logit (negative keeps off boundaries).
        centre: weight of 1 - d, d the distance from the pixel's vote to the cell's centre in
            equivalent radii, cut off at 2.
        rival: cells scored below it are drawn each for itself and take no pixel from others.

    Raises:
        ValueError: no such method or foreground, or weights for maps that "otsu" does not have.
    """

    method: str = ""
    foreground: str = "dense"
    mask: float = 1.0
    cell: float = 1.0
    boundary: float = 0.0
    centre: float = 0.0
    bias: float = 0.0
    rival: float = 0.3

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ValueError(f"MODEL.REDRAW.METHOD must be one of {METHODS}, got {self.method!r}")
        if self.foreground not in ("dense", "otsu"):
            raise ValueError(f"MODEL.REDRAW.FOREGROUND: dense or otsu, got {self.foreground!r}")
        if self.method and self.foreground == "otsu" and (self.boundary or self.centre):
            raise ValueError("MODEL.REDRAW.FOREGROUND otsu needs BOUNDARY 0 and CENTRE 0")


@dataclass(frozen=True, eq=False)
class Drawing:
    """What the model found in one image, in the detector's frame.

    Attributes:
        masks: (N, M, M) float probabilities inside ``mask_boxes``.
        mask_boxes: (N, 4) x0 y0 x1 y1, maybe reaching out of the frame.
        boxes: (N, 4) the cells' own boxes.
        scores: (N,) in [0, 1].
        maps: (4, h, w) as `OutlineHead` gives them, or None.
        frame: (h, w).
    """

    masks: np.ndarray
    mask_boxes: np.ndarray
    boxes: np.ndarray
    scores: np.ndarray
    maps: np.ndarray | None
    frame: tuple[int, int]


@dataclass(frozen=True, eq=False)
class Window:
    """Evidence (float32 logits, 0 = undecided) about one cell in a part of an image.

    Attributes:
        values: that a pixel is this cell's and no other's.
        inside: that a pixel is within a cell here at all.
        top, left: where the part begins.
    """

    values: np.ndarray
    inside: np.ndarray
    top: int
    left: int

    @property
    def where(self) -> tuple[slice, slice]:
        """The part as an index."""
        height, width = self.values.shape
        return np.s_[self.top : self.top + height, self.left : self.left + width]

    def mask(self) -> np.ndarray:
        """(h, w) bool: the cell drawn for itself."""
        return (self.values > 0) & (self.inside > 0)


def redraw(
    drawing: Drawing,
    image_size: tuple[int, int],
    options: RedrawOptions,
    cleanup: CleanupOptions,
) -> tuple[np.ndarray, Cells]:
    """Which of the N cells stay, and those cells in the image's frame.

    Suppression (``cleanup``) acts on each cell drawn for itself in the detector's frame, before
    pixels are shared out, so that a second mask of a cell takes none of its pixels;
    `masks.cleanup.clean` does the rest.

    Raises:
        ValueError: the method needs dense maps and there are none.
    """
    if options.method and drawing.maps is None:
        raise ValueError(f"MODEL.REDRAW.METHOD {options.method} needs MODEL.OUTLINE.ENABLED")
    windows = evidence(drawing, options)
    rles = [_encode(w.mask(), w, drawing.frame) for w in windows]
    kept, scores = suppress(Cells.from_rles(rles, drawing.frame, drawing.scores), cleanup)
    windows = [windows[i] for i in kept]
    if options.method == "watershed":
        assert drawing.maps is not None  # as checked above
        windows = flood(windows, scores, drawing.maps, options.rival)
    windows = [enlarge(w, drawing.frame, image_size) for w in windows]
    if options.method in ("assign", "watershed"):
        rles = share_out(windows, scores, image_size, options.rival)
    else:
        rles = [_encode(w.mask(), w, image_size) for w in windows]
    return kept, Cells.from_rles(rles, image_size, scores)


def evidence(drawing: Drawing, options: RedrawOptions) -> list[Window]:
    """A window in the detector's frame for each cell: weighted evidence inside its mask box."""
    return [_evidence(drawing, index, options) for index in range(len(drawing.masks))]


def _evidence(drawing: Drawing, index: int, options: RedrawOptions) -> Window:
    features, window = pixel_features(drawing, index)
    if not options.method:
        return Window(features[0], features[0], *window)
    logit, cell, boundary, centre = features
    inside = np.float32(options.mask) * logit + np.float32(options.cell) * cell
    inside += np.float32(options.bias)
    votes = np.float32(options.boundary) * boundary + np.float32(options.centre) * centre
    return Window(inside + votes, inside, *window)


def pixel_features(drawing: Drawing, index: int) -> tuple[list[np.ndarray], tuple[int, int]]:
    """What is known of each pixel of one cell's mask box: float32 maps, and its top and left.

    The maps are the mask head's logit and, where there are dense maps, the foreground logit, the
    boundary logit and 1 - d (see `RedrawOptions.centre`).
    """
    x0, y0, x1, y1 = drawing.mask_boxes[index].astype(np.float64)
    top, bottom = pixel_range(y0, y1, drawing.frame[0])
    left, right = pixel_range(x0, x1, drawing.frame[1])
    mask = drawing.masks[index].astype(np.float32)
    rows = interpolation(top, bottom, y0, y1, mask.shape[0])
    columns = interpolation(left, right, x0, x1, mask.shape[1])
    logit = _logit(rows @ mask @ columns.T)
    if drawing.maps is None:
        return [logit], (top, left)
    cell, boundary, dx, dy = drawing.maps[:, top:bottom, left:right]
    bx0, by0, bx1, by1 = drawing.boxes[index]
    radius = max(float((bx1 - bx0) * (by1 - by0)) ** 0.5 / 2, 1.0)
    across = np.arange(left, right) + np.float32(0.5 - (bx0 + bx1) / 2) + dx * OFFSET_UNIT
    down = np.arange(top, bottom)[:, None] + np.float32(0.5 - (by0 + by1) / 2) + dy * OFFSET_UNIT
    centre = 1 - np.minimum(np.hypot(across, down) / radius, 2.0)
    maps = [np.clip(cell, -_LIMIT, _LIMIT), np.clip(boundary, -_LIMIT, _LIMIT), centre]
    return [logit, *(m.astype(np.float32) for m in maps)], (top, left)


def _logit(chance: np.ndarray) -> np.ndarray:
    chance = np.clip(chance, 0.0025, 0.9975)
    return np.log(chance / (1 - chance))


def enlarge(window: Window, frame: tuple[int, int], image_size: tuple[int, int]) -> Window:
    """The window in the image's frame, by linear interpolation between pixel centres."""
    (height, width), parts = window.values.shape, []
    for start, count, size, limit in zip(
        (window.top, window.left), (height, width), frame, image_size, strict=True
    ):
        scale = limit / size
        low, high = start * scale, (start + count) * scale
        first, last = pixel_range(low, high, limit)
        parts.append((first, interpolation(first, last, low, high, count)))
    (top, rows), (left, columns) = parts
    values, inside = (rows @ v @ columns.T for v in (window.values, window.inside))
    return Window(values, inside, top, left)


def share_out(
    windows: Sequence[Window], scores: np.ndarray, image_size: tuple[int, int], rival: float
) -> list[Rle]:
    """An RLE a cell; of those scored from ``rival`` on, none shares a pixel with another.

    A pixel goes to the one with more evidence. The others are drawn each for itself: they are
    mostly second thoughts about the same cells, of use only where the first ones are dropped. Of
    each cell only the largest part stays, without holes that are nobody's.
    """
    best = np.zeros(image_size, dtype=np.float32)
    owner = np.full(image_size, -1, dtype=np.int32)
    strong = np.asarray(scores) >= rival
    for index in np.flatnonzero(strong).tolist():
        window = windows[index]
        better = window.mask() & (window.values > best[window.where])
        best[window.where][better] = window.values[better]
        owner[window.where][better] = index
    rles = []
    for index, window in enumerate(windows):
        if strong[index]:
            holder = owner[window.where]
            mask = whole_mask(holder == index) & ((holder == index) | (holder < 0))
        else:
            mask = whole_mask(window.mask())
        rles.append(_encode(mask, window, image_size))
    return rles


def flood(
    windows: Sequence[Window], scores: np.ndarray, maps: np.ndarray, rival: float
) -> list[Window]:
    """The windows of strong cells with the pixels that the watershed gives them.

    Markers are the pixels of strong evidence (logit above 2, or the best fifth of a smaller cell's)
    of the cells scored from ``rival`` on; they grow along the valleys of the boundary map over all
    that the dense head or a marker calls cell. Where a cell ends against the background, the dense
    foreground's own zero crossing draws it, finer than a pixel.
    """
    frame = maps.shape[1:]
    best = np.full(frame, 0.0, dtype=np.float32)
    markers = np.zeros(frame, dtype=np.int32)
    for index in np.flatnonzero(np.asarray(scores) >= rival).tolist():
        values = windows[index].values
        if not values.size or values.max() <= 0:
            continue
        sure = values > min(2.0, float(np.quantile(values[values > 0], 0.8)))
        here = windows[index].where
        sure &= values > best[here]
        best[here][sure] = values[sure]
        markers[here][sure] = index + 1
    given = watershed(maps[1], markers, mask=(maps[0] > 0) | (markers > 0))
    answers = []
    for index, window in enumerate(windows):
        if scores[index] >= rival:
            cell, owner = maps[0][window.where], given[window.where]
            mine, other = owner == index + 1, (owner > 0) & (owner != index + 1)
            values = np.where(mine, np.maximum(cell, 0.5), np.minimum(cell, -0.05))
            values = np.where(other, -np.maximum(np.abs(cell), 0.5), values).astype(np.float32)
            window = Window(values, values, window.top, window.left)
        answers.append(window)
    return answers


def _encode(mask: np.ndarray, window: Window, image_size: tuple[int, int]) -> Rle:
    return encode_crop(mask, window.top, window.left, image_size)
