"""What a person does to outlines: cells in, cells out; nothing here knows a page or a file.

Points are x, y in pixels of the image. Cells stay disjoint: what is drawn or added takes no pixel
that another cell has. Every function answers with new `PredictedCells`, in the same order, new
cells last, and raises ValueError with a sentence for the person where it cannot be done.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np

from bccd_d2.api import PredictedCells
from bccd_d2.masks.cells import Cells
from bccd_d2.masks.classes import Classes
from bccd_d2.masks.rle import decode_crop, encode_crop
from bccd_d2.masks.stain import stain_map

LEAST_AREA = 16  # px of a cell
LEAST_PIECE = 0.04  # of a cell, that a stroke may cut off
NEAR = 9  # px between two cells that can still be merged
Points = Sequence[Sequence[float]]


def delete(cells: PredictedCells, numbers: Sequence[int]) -> PredictedCells:
    """Without the cells of these numbers, from 1."""
    gone = _places(cells, numbers)
    return cells[np.setdiff1d(np.arange(len(cells)), gone)]


def add_at(
    cells: PredictedCells,
    point: Sequence[float],
    image: np.ndarray,
    candidates: Cells,
    diameter: float,
) -> PredictedCells:
    """With a cell at a point: the model's own outline there, else the stain, else a circle.

    Args:
        image: (H, W, 3) uint8 RGB.
        candidates: what the model found at any score.
        diameter: px of a typical cell.
    """
    x, y = _inside(point, cells.image_size)
    free = ~cells.union()
    if not free[y, x]:
        raise ValueError("there is a cell already: delete it, split it or draw it anew")
    for index in np.argsort(-candidates.scores, kind="stable"):
        mask = _mask(candidates, int(index))
        if mask[y, x] and (mask & free).sum() > 0.6 * mask.sum():
            return _with(cells, mask & free)
    circle = np.zeros(cells.image_size, np.uint8)
    cv2.circle(circle, (x, y), round(0.7 * diameter), 1, -1)
    stain = stain_map(image).stained & free & (circle > 0)
    _, parts = cv2.connectedComponents(stain.astype(np.uint8))
    area, usual = int((parts == parts[y, x]).sum()), np.pi / 4 * diameter**2
    if parts[y, x] and 0.3 * usual < area < 1.5 * usual:
        return _with(cells, parts == parts[y, x])
    circle[:] = 0
    cv2.circle(circle, (x, y), round(diameter / 2), 1, -1)
    return _with(cells, (circle > 0) & free)


def draw(cells: PredictedCells, points: Points) -> PredictedCells:
    """With a cell inside a closed line."""
    return _with(cells, filled(points, cells.image_size) & ~cells.union())


def box(cells: PredictedCells, corners: Points) -> PredictedCells:
    """With the ellipse that fits a box of two opposite corners."""
    (x0, y0), (x1, y1) = corners
    middle, half = ((x0 + x1) / 2, (y0 + y1) / 2), (abs(x1 - x0) / 2, abs(y1 - y0) / 2)
    turn = np.linspace(0, 2 * np.pi, 90)
    ellipse = np.stack([middle[0] + half[0] * np.cos(turn), middle[1] + half[1] * np.sin(turn)], 1)
    return draw(cells, ellipse.tolist())


def redraw(cells: PredictedCells, numbers: Sequence[int], points: Points) -> PredictedCells:
    """With another outline of one cell."""
    place = _one(cells, numbers, "redraw")
    others = cells[np.arange(len(cells)) != place].union()
    mask = _checked(filled(points, cells.image_size) & ~others)
    return _put(cells, {place: mask})


def merge(cells: PredictedCells, numbers: Sequence[int]) -> PredictedCells:
    """With several cells as one, which keeps the first one's place, score and type."""
    places = _places(cells, numbers)
    if len(places) < 2:
        raise ValueError("select two cells or more to merge")
    union = cells[places].union().astype(np.uint8)
    others = cells[np.setdiff1d(np.arange(len(cells)), places)].union()
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (NEAR, NEAR))
    closed = (cv2.morphologyEx(union, cv2.MORPH_CLOSE, disc) > 0) & ~others
    if cv2.connectedComponents(closed.astype(np.uint8))[0] != 2:
        raise ValueError(f"these cells are more than {NEAR} px apart: draw one outline instead")
    merged = _put(cells, {int(places[0]): closed})
    return merged[np.setdiff1d(np.arange(len(cells)), places[1:])]


def split(cells: PredictedCells, numbers: Sequence[int], points: Points) -> PredictedCells:
    """With a cell cut along a stroke, or with no number every cell that the stroke crosses.

    The largest part keeps the cell's place, the others come last. No pixel is lost: those under the
    stroke go to the part that is nearest.
    """
    stroke = np.zeros(cells.image_size, np.uint8)
    cv2.polylines(stroke, [_pixels(points)], False, 1, 2)
    places = _places(cells, numbers) if len(numbers) else np.arange(len(cells))
    kept: dict[int, np.ndarray] = {}
    new: list[tuple[int, np.ndarray]] = []
    for place in places.tolist():
        crop, y0, x0 = decode_crop(cells.rles[place])
        cut = stroke[y0 : y0 + crop.shape[0], x0 : x0 + crop.shape[1]] > 0
        parts = _parts(crop, cut)
        for number, part in enumerate(parts if len(parts) > 1 else []):
            mask = np.zeros(cells.image_size, dtype=bool)
            mask[y0 : y0 + crop.shape[0], x0 : x0 + crop.shape[1]] = part
            if number:
                new.append((place, mask))
            else:
                kept[place] = mask
    if not kept:
        raise ValueError("the stroke cuts no cell in two: draw it right across one")
    whole = _put(cells, kept)
    for place, mask in new:
        whole = _with(whole, mask, class_id=int(cells.class_ids[place]))
    return whole


def retype(cells: PredictedCells, numbers: Sequence[int], name: str) -> PredictedCells:
    """With another type of some cells, which may be a new one."""
    name, places = " ".join(name.split()), _places(cells, numbers)
    if not name or "/" in name or len(name) > 40:
        raise ValueError("give a type of 1 to 40 letters, without a slash")
    if not len(places):
        raise ValueError("select the cells whose type it is")
    classes = cells.classes
    if name not in classes.names:
        parents = (*classes.parents, "") if classes.parents else ()
        colours = classes.colours and (*classes.colours, "#3c3c3c")
        classes = replace(classes, names=(*classes.names, name), parents=parents, colours=colours)
    ids = cells.class_ids.copy()
    ids[places] = classes.index(name)
    return replace(cells, classes=classes, class_ids=ids)


def settled(cells: PredictedCells) -> PredictedCells:
    """The cells as a person takes them over: types as they were shown, nothing in doubt."""
    ids = cells.classes.shown(cells.class_ids, cells.class_confidence)
    classes = replace(cells.classes, unsure_below=0.0)
    if (ids < 0).any():
        classes = _with_unsure(classes)
        ids[ids < 0] = len(classes) - 1
    return replace(
        cells, class_ids=ids, classes=classes, class_probabilities=None, uncertainty=None,
        detected_boxes=None,
    )  # fmt: skip


def _with_unsure(classes: Classes) -> Classes:
    parents = (*classes.parents, "") if classes.parents else ()
    colours = classes.colours and (*classes.colours, "#969696")
    return replace(classes, names=(*classes.names, "unsure"), parents=parents, colours=colours)


def filled(points: Points, image_size: tuple[int, int]) -> np.ndarray:
    """(H, W) bool, the inside of a closed line; the line itself is inside."""
    if len(points) < 3:
        raise ValueError("draw a closed line around the cell")
    mask = np.zeros(image_size, np.uint8)
    cv2.fillPoly(mask, [_pixels(points)], 1)
    return mask > 0


def _parts(crop: np.ndarray, cut: np.ndarray) -> list[np.ndarray]:
    """The pieces of a mask without the pixels of a stroke, which then go to the nearest."""
    _, labels = cv2.connectedComponents((crop & ~cut).astype(np.uint8), connectivity=4)
    areas = np.bincount(labels.ravel())
    areas[0] = 0
    large = np.flatnonzero(areas > max(LEAST_AREA, LEAST_PIECE * crop.sum()))
    if len(large) < 2:
        return [crop]
    seeds = np.isin(labels, large)
    _, nearest = cv2.distanceTransformWithLabels(
        (~seeds).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    owner = np.zeros(int(nearest.max()) + 1, dtype=np.int64)
    owner[nearest[seeds]] = labels[seeds]
    spread = np.where(crop, owner[nearest], 0)
    return [spread == n for n in sorted(large, key=lambda n: -areas[n])]


def _with(cells: PredictedCells, mask: np.ndarray, class_id: int = 0) -> PredictedCells:
    """With one more cell, which a person vouches for: its largest part, holes filled."""
    mask = _checked(mask)
    return replace(
        cells,
        rles=[*cells.rles, encode_crop(mask, 0, 0, cells.image_size)],
        scores=np.append(cells.scores, 1.0),
        class_ids=np.append(cells.class_ids, class_id),
    )


def _put(cells: PredictedCells, masks: dict[int, np.ndarray]) -> PredictedCells:
    rles, scores = list(cells.rles), cells.scores.copy()
    for place, mask in masks.items():
        rles[place], scores[place] = encode_crop(mask, 0, 0, cells.image_size), 1.0
    return replace(cells, rles=rles, scores=scores)


def _checked(mask: np.ndarray) -> np.ndarray:
    """Its largest part."""
    _, labels, found, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    areas = found[1:, cv2.CC_STAT_AREA]
    if not len(areas) or areas.max() < LEAST_AREA:
        raise ValueError("that leaves no cell: it lies in others, or is too small")
    return labels == 1 + int(areas.argmax())


def _mask(cells: Cells, place: int) -> np.ndarray:
    return cells[np.array([place])].union()


def _places(cells: Cells, numbers: Sequence[int]) -> np.ndarray:
    """Indices of cell numbers, each once, in their order."""
    places = np.array(list(dict.fromkeys(int(n) - 1 for n in numbers)), dtype=np.int64)
    if ((places < 0) | (places >= len(cells))).any():
        raise ValueError("that cell is not there any more: select it again")
    return places


def _one(cells: Cells, numbers: Sequence[int], what: str) -> int:
    places = _places(cells, numbers)
    if len(places) != 1:
        raise ValueError(f"select one cell to {what}")
    return int(places[0])


def _pixels(points: Points) -> np.ndarray:
    """(N, 2) int32 pixels that points lie in."""
    array = np.asarray(points, dtype=float)
    if array.ndim != 2 or array.shape[1] != 2 or not np.isfinite(array).all():
        raise ValueError("points must be pairs of numbers")
    return np.floor(array).clip(-10_000, 100_000).astype(np.int32)


def _inside(point: Sequence[float], size: tuple[int, int]) -> tuple[int, int]:
    (x, y), (height, width) = _pixels([point])[0].tolist(), size
    if not (0 <= x < width and 0 <= y < height):
        raise ValueError("that lies outside the image")
    return x, y
