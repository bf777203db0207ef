"""Where an image is stained: what stands out from its background, within its field of view.

The background is a smooth surface, not one colour, so that a vignette or light from one side is no
stain. It runs along the lightest part of each block of the field; blocks that cells fill lie below
it and count little (an expectile regression, Newey and Powell, Econometrica 1987). What is no field
of view, the black round an eyepiece's circle or the paper round a figure's panels, holds no stain.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

LEAST_CONTRAST = 12.0  # grey levels between stain and background, below which there is no stain
_LOOK, _SMOOTH = 512, 256  # px of the longer side at which the field is looked for, the background
_BLACK = 48  # grey level of the lightest channel, below which a surround is dark
_SURROUND = 0.02  # of the image, at least, for one piece of what surrounds the field
_FLAT = 2  # grey levels within 5 x 5 px of paper or a window's frame
_PANEL, _FILLED = 0.04, 0.9  # of the image for one panel, and of its bounding box that it fills
_MOST = 0.7  # of a panel's longest row or column, that a row or column of it has
_THICK = 25  # px at `_LOOK` of a panel; letters and scales beside it are thinner
_BLOCKS = 12  # a side, of which the lightest part shows the background
_LIGHT = 90  # percentile of a block that is taken for it
_BELOW = 0.1  # weight of a block below the surface; one above it has the rest
_TOLERANCE = 8.0  # grey levels from the surface, beyond which a block counts less and less
_NEAR = (6.0, 12.0, np.inf)  # grey levels from it within which pixels are background
_LEAST_PIXELS = 50


class Stain(NamedTuple):
    """Where an image is stained.

    Attributes:
        stained: (h, w) bool, of the image at the size at which it was measured.
        contrast: mean distance of its colour from the background's, in grey levels; 0 = no stain.
        image: (h, w, 3) uint8, the image at that size.
        field: (h, w) bool, the field of view.
    """

    stained: np.ndarray
    contrast: float
    image: np.ndarray
    field: np.ndarray

    @property
    def share(self) -> float:
        """Of the field of view that is stained."""
        return float(self.stained.sum() / max(int(self.field.sum()), 1))


def stain_map(image: np.ndarray, factor: float = 1.0) -> Stain:
    """Where there is stain, by Otsu's threshold on the logarithm of the distance from background.

    A nucleus lies so much further from it than a red cell does that a threshold on the distance
    itself would call the red cell background.

    Args:
        image: (H, W, 3) uint8.
        factor: of its size at which it is measured, at most 1.
    """
    small = smaller(image, factor)
    away, field = _away(small)
    logs = np.log1p(away[field].clip(0, 255)) * (255 / np.log(256))
    level, _ = cv2.threshold(logs.astype(np.uint8)[None], 0, 255, cv2.THRESH_OTSU)
    stained = away > max(np.expm1(level * np.log(256) / 255), LEAST_CONTRAST)
    contrast = float(away[stained].mean()) if stained.any() else 0.0
    return Stain(stained, contrast, small, field)


def from_background(image: np.ndarray, factor: float = 1.0) -> np.ndarray:
    """(h, w) float32 distance of each pixel's colour from the background's in grey levels.

    0 outside the field of view. Arguments as `stain_map`.
    """
    return _away(smaller(image, factor))[0]


def _away(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distance of `from_background`, and the field of view."""
    looks = [smaller(image, side / max(image.shape[:2])) for side in (_LOOK, _SMOOTH)]
    seen = _field(looks[0]).view(np.uint8)
    field, coarse = (
        cv2.resize(seen, other.shape[1::-1], interpolation=cv2.INTER_NEAREST) > 0
        for other in (image, looks[1])
    )
    light = _background(looks[1], coarse)
    background = cv2.resize(light, image.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    away = np.sqrt(channel_mean((image - background) ** 2))
    return np.where(field, away, 0).astype(np.float32), field


def _field(image: np.ndarray) -> np.ndarray:
    """(H, W) bool, where an image shows the slide; all True where it shows nothing else.

    The rest is black, joined to the edge and round large pieces; or it is a flat ground, joined to
    the edge, round panels: rectangles, the largest one and those of a quarter of it.

    Args:
        image: (H, W, 3) uint8.
    """
    field = ~_dark_surround(image)
    flat = (cv2.dilate(image, _box(5)) - cv2.erode(image, _box(5))).max(axis=2) <= _FLAT
    rest = cv2.morphologyEx((~_at_edge(flat)).view(np.uint8), cv2.MORPH_OPEN, _box(_THICK))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(rest)
    areas, boxes = stats[:, cv2.CC_STAT_AREA], stats[:, cv2.CC_STAT_WIDTH : cv2.CC_STAT_AREA]
    filled = (areas >= _FILLED * boxes.prod(axis=1)) & (np.arange(count) > 0)
    least = max(areas[filled].max(initial=0) / 4, _PANEL * field.size)
    panels = [labels == k for k in np.flatnonzero(filled & (areas >= least))]
    if panels and not panels[0].all():
        field &= np.any([_rectangle(panel) for panel in panels], axis=0)
    if field.mean() < _SURROUND:
        field[:] = True
    return field


def _dark_surround(image: np.ndarray) -> np.ndarray:
    """What is black up to the edge; nothing in dark field, where cells are islands in it."""
    black = _at_edge(image.max(axis=2) < _BLACK)
    pieces = cv2.connectedComponentsWithStats((~black).view(np.uint8))[2][1:, cv2.CC_STAT_AREA]
    large = pieces[pieces >= _PANEL * black.size].sum()
    return black & (large >= 0.5 * pieces.sum())


def _rectangle(panel: np.ndarray) -> np.ndarray:
    """The mask of a panel without letters and scales that stick out of it."""
    along, down = panel.sum(axis=0), panel.sum(axis=1)
    return (along >= _MOST * along.max()) & (down >= _MOST * down.max())[:, None]


def _at_edge(mask: np.ndarray) -> np.ndarray:
    """The large pieces of a mask that touch the image's edge, and a rim round them."""
    opened = cv2.morphologyEx(mask.view(np.uint8), cv2.MORPH_OPEN, _box(5))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(opened)
    if count == 1:
        return np.zeros_like(mask)
    edge = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    large = [k for k in np.unique(edge) if k and stats[k, 4] >= _SURROUND * mask.size]
    return cv2.dilate(np.isin(labels, large).view(np.uint8), _box(9)) > 0


def _box(side: int) -> np.ndarray:
    return np.ones((side, side), np.uint8)


def _background(image: np.ndarray, field: np.ndarray) -> np.ndarray:
    """(H, W, 3) float32, the colour of the background; each panel has a surface of its own."""
    soft = cv2.GaussianBlur(image.astype(np.float32), (0, 0), 1)
    count, panels = cv2.connectedComponents(field.view(np.uint8))
    powers, found = _powers(*image.shape[:2]), np.zeros_like(soft)
    for panel in range(1, count):
        inside = panels == panel
        found[inside] = _surface(soft, inside, powers)[inside]
    return found


def _surface(soft: np.ndarray, field: np.ndarray, powers: np.ndarray) -> np.ndarray:
    """(h, w, 3) float32: the quadratic through the pixels near the lightest ones."""
    grey = channel_mean(soft)
    off = np.abs(grey - _lightest(grey, powers, field))
    enough = min(_LEAST_PIXELS, int(field.sum()))
    near = next(n for reach in _NEAR if (n := field & (off < reach)).sum() >= enough)
    step = max(1, int(near.sum()) // 20_000)
    points, colours = powers[near][::step], soft[near][::step]
    if len(points) < _LEAST_PIXELS:
        return np.broadcast_to(np.median(colours, axis=0), soft.shape)
    fit = np.linalg.lstsq(points, colours, rcond=1e-3)[0]
    return (powers @ fit).clip(0, 255)


def _lightest(grey: np.ndarray, powers: np.ndarray, field: np.ndarray) -> np.ndarray:
    """(h, w): the surface along the lightest part of each block of the field."""
    rows, columns = (np.linspace(0, n, _BLOCKS + 1).astype(int) for n in grey.shape)
    places, light = [], []
    for y0, y1 in zip(rows, rows[1:], strict=False):
        for x0, x1 in zip(columns, columns[1:], strict=False):
            inside = field[y0:y1, x0:x1]
            if inside.any() and inside.mean() >= 0.3:
                light.append(np.percentile(grey[y0:y1, x0:x1][inside], _LIGHT))
                places.append(powers[(y0 + y1) // 2, (x0 + x1) // 2])
    if len(light) < _BLOCKS:
        return np.full_like(grey, np.percentile(grey[field], _LIGHT))
    points, values = np.array(places, np.float64), np.array(light)
    weights = np.ones_like(values)
    for _ in range(12):
        scale = np.sqrt(weights)
        fit = np.linalg.lstsq(points * scale[:, None], values * scale, rcond=1e-3)[0]
        off = values - points @ fit
        weights = np.where(off > 0, 1 - _BELOW, _BELOW) / (1 + np.abs(off) / _TOLERANCE)
    return powers @ fit.astype(np.float32)


def _powers(height: int, width: int) -> np.ndarray:
    """(H, W, 6) float32: the terms of a quadratic in the place, from -.5 to .5 along each side."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    y, x = (y + 0.5) / height - 0.5, (x + 0.5) / width - 0.5
    return np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=2)


def smaller(image: np.ndarray, factor: float) -> np.ndarray:
    """The image made smaller by averaging, (h, w, 3); as it is where ``factor`` is not below 1."""
    size = tuple(max(1, round(n * factor)) for n in image.shape[1::-1])
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA) if factor < 1 else image


def channel_mean(image: np.ndarray) -> np.ndarray:
    """(H, W) mean of three channels, which numpy's own is slow at."""
    return (image[..., 0] + image[..., 1] + image[..., 2]) / 3
