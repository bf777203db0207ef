"""Copies of an image's own cells, laid over each other: crowds, with their labels right.

Cells let light through, so where two overlap each takes its share of it (Beer and Lambert): the
light of a copy is multiplied with that of what lies below, and the overlap is darker than both.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from bccd_d2.data.augment.photometric import turn_and_flip
from bccd_d2.data.ignored import split_ignored
from bccd_d2.masks.labels import cell_boxes, disc_diameter

_RIM = 2  # px around a copied cell that its soft edge needs
_NEAR, _FAR = 0.7, 1.0  # distance of two neighbours, in sums of their radii
_SIZES = (0.5, 2.0)  # a donor's area over the median: neither fragments nor merged clumps


def find_donors(labels: np.ndarray, areas: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Labels (N,) of the cells fit to be copied, and boxes (L, 4) of all labels of the map.

    Fit are cells that lie whole in the map, clear of its border, of common size.

    Args:
        labels: (H, W) uint16; what is `data.ignored` is no cell.
        areas: (>= L + 1,) the area of each whole cell in px; index 0 is not used.
    """
    cells = split_ignored(labels)[0]
    boxes = cell_boxes(cells).reshape(-1, 4)
    seen = np.bincount(cells.ravel(), minlength=len(boxes) + 1)[1:]
    whole = areas[1 : len(boxes) + 1]
    present = np.flatnonzero(seen)
    if not len(present):
        return present, boxes
    middle = np.median(whole[present])
    room = np.array(labels.shape)[::-1] - _RIM
    inside = (boxes[:, :2] >= _RIM).all(axis=1) & (boxes[:, 2:] <= room).all(axis=1)
    common = (whole >= _SIZES[0] * middle) & (whole <= _SIZES[1] * middle)
    return np.flatnonzero((seen > 0) & (seen >= 0.9 * whole) & inside & common) + 1, boxes


@dataclass(frozen=True)
class Stamp:
    """A copied cell.

    Attributes:
        light: (h, w, 3) float32, the share that the cell and a rim around it let through.
        mask: (h, w) bool, the cell.
    """

    light: np.ndarray
    mask: np.ndarray

    def turned(self, quarter_turns: int, mirror: bool) -> Stamp:
        """The same cell after one of the eight symmetries of the square."""
        return Stamp(*(turn_and_flip(a, quarter_turns, mirror) for a in (self.light, self.mask)))


def paste(
    image: np.ndarray, labels: np.ndarray, stamp: Stamp, corner: np.ndarray, label: int
) -> bool:
    """Lay a cell over image and labels in place; whether any of it came to lie inside.

    Args:
        image: (H, W, 3) uint8; labels: (H, W) uint16.
        corner: y, x of the stamp's top left, anywhere; what lies outside is cut off.
        label: what the cell's pixels become.
    """
    corner = np.asarray(corner)
    low = np.maximum(corner, 0)
    high = np.minimum(corner + stamp.mask.shape, labels.shape)
    if (low >= high).any():
        return False
    here = np.s_[low[0] : high[0], low[1] : high[1]]
    start, stop = low - corner, high - corner
    part = np.s_[start[0] : stop[0], start[1] : stop[1]]
    mask = stamp.mask[part]
    soft = cv2.GaussianBlur(stamp.mask.astype(np.float32), (0, 0), 0.7)[part][..., None]
    through = 1 - soft * (1 - stamp.light[part])
    image[here] = np.round(image[here] * through).clip(0, 255)
    labels[here][mask] = label
    return bool(mask.any())


def light_through(image: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(H, W, 3) float32, at most 1: the share of the empty background's light in each pixel.

    Args:
        image: (H, W, 3) uint8; labels: (H, W), 0 outside of cells; a map without any such pixel
            has its brightest colours for a background.
    """
    empty = image[labels == 0]
    background = np.median(empty, axis=0) if len(empty) else image.max(axis=(0, 1))
    return (image / np.maximum(background, 1)).clip(0, 1).astype(np.float32)


def copy_paste(
    image: np.ndarray, labels: np.ndarray, areas: np.ndarray, rng: np.random.Generator, most: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[int]]:
    """A cluster of up to ``most`` copies of cells around one cell of the crop, mirrored or turned.

    A pasted cell owns the pixels it covers: the cells below lose them, and whoever makes the
    ground truth drops those of which too little is left, by their area in ``areas``.

    Args:
        image: (H, W, 3) uint8; labels: (H, W) uint16.
        areas: (L + 1,) area of each whole cell, L at least the largest label.
        most: the number of copies is drawn from 0 to this; 0 = unchanged and nothing drawn.

    Returns:
        image, labels, areas, the latter longer by the cells pasted in sight; the inputs themselves
        when nothing is pasted, as in a crop without a whole cell. Then of each cell pasted in
        sight the label that it is a copy of.
    """
    if most == 0 or image.size == 0:
        return image, labels, areas, []
    count = int(rng.integers(most + 1))
    donors, boxes = find_donors(labels, areas)
    if count == 0 or len(donors) == 0:
        return image, labels, areas, []
    new_image, new_labels, new_areas = image.copy(), labels.copy(), list(areas)
    light = light_through(image, labels)
    radii = disc_diameter(areas) / 2
    first = rng.choice(donors)
    copied: list[int] = []
    cluster = [((boxes[first - 1, :2] + boxes[first - 1, 2:])[::-1] / 2, radii[first])]
    for donor in rng.choice(donors, size=count):
        x0, y0, x1, y1 = boxes[donor - 1] + [-_RIM, -_RIM, _RIM, _RIM]
        here = np.s_[y0:y1, x0:x1]
        stamp = Stamp(light[here], labels[here] == donor)
        stamp = stamp.turned(int(rng.integers(4)), bool(rng.integers(2)))
        centre, radius = cluster[rng.integers(len(cluster))]
        angle, distance = rng.uniform(0, 2 * np.pi), rng.uniform(_NEAR, _FAR)
        step = distance * (radius + radii[donor]) * np.array([np.sin(angle), np.cos(angle)])
        corner = np.round(centre + step - np.array(stamp.mask.shape) / 2).astype(int)
        if paste(new_image, new_labels, stamp, corner, len(new_areas)):
            cluster.append((centre + step, radii[donor]))
            new_areas.append(float(stamp.mask.sum()))
            copied.append(int(donor))
    return new_image, new_labels, np.array(new_areas), copied
