"""Cells without learning: Otsu's threshold, filled holes, distance-transform watershed.

The baseline that every learned figure is to be read against. Otsu (IEEE SMC 1979) splits the grey
levels into the two classes of least inner variance; touching cells are cut apart by a watershed
(Vincent and Soille, IEEE PAMI 1991) on the distance to the background.

Example:
    label_map = segment(image)
    scores = typicality(label_map, OtsuOptions().cell_diameter)
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from scipy import ndimage
from skimage.feature import peak_local_max
from skimage.filters import threshold_otsu
from skimage.segmentation import watershed

from bccd_d2.masks.labels import cell_areas, cell_touches_border, check_label_map, relabel

CHANNELS = ("red", "green", "blue", "grey")
_BORDER_SCORE = 0.9  # typicality of a cell that the image cuts: its whole size is unknown


@dataclass(frozen=True)
class OtsuOptions:
    """How cells are cut out; lengths in pixels of the image that is given.

    Attributes:
        channel: what is thresholded, of `CHANNELS`; haemoglobin is darkest in green.
        blur: sigma of the Gaussian before thresholding; 0 = none.
        threshold_factor: times Otsu's threshold; above 1 takes paler pixels in too.
        seed_blur: sigma of the Gaussian over the distance map before its peaks are sought.
        seed_distance: least distance of two peaks, one cell each.
        cell_diameter: of a typical cell; only scores depend on it.
        min_area: smaller cells are dropped.

    Raises:
        ValueError: no such channel, or a number out of its range.
    """

    channel: str = "green"
    blur: float = 1.0
    threshold_factor: float = 1.0
    seed_blur: float = 2.0
    seed_distance: float = 12.0
    cell_diameter: float = 50.0
    min_area: int = 150

    def __post_init__(self) -> None:
        if self.channel not in CHANNELS:
            raise ValueError(f"channel must be one of {CHANNELS}, got {self.channel!r}")
        for name in ("blur", "seed_blur", "min_area"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be at least 0, got {getattr(self, name)}")
        for name in ("threshold_factor", "seed_distance", "cell_diameter"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be above 0, got {getattr(self, name)}")


def foreground(image: np.ndarray, options: OtsuOptions | None = None) -> np.ndarray:
    """(H, W) bool: pixels darker than the threshold, with holes filled.

    An image of one grey level has no foreground. Cells are taken to be darker than what is round
    them, as in bright-field smears.

    Raises:
        ValueError: not (H, W, 3) uint8.
    """
    options = options or OtsuOptions()
    grey = _blurred_channel(image, options)
    if grey.size == 0 or grey.min() == grey.max():
        return np.zeros(grey.shape, dtype=bool)
    mask = grey <= threshold_otsu(grey) * options.threshold_factor
    return ndimage.binary_fill_holes(mask)


def foreground_logit(
    image: np.ndarray, options: OtsuOptions | None = None, sharpness: float = 4.0
) -> np.ndarray:
    """(H, W) float32, positive where `foreground` is but for holes, which stay negative.

    A pixel as dark as the mean cell has about ``sharpness``, one as pale as the mean background
    about minus that. An image of one grey level gives -``sharpness`` everywhere.

    Raises:
        ValueError: not (H, W, 3) uint8.
    """
    options = options or OtsuOptions()
    grey = _blurred_channel(image, options).astype(np.float32)
    if grey.size == 0 or grey.min() == grey.max():
        return np.full(grey.shape, -sharpness, dtype=np.float32)
    threshold = threshold_otsu(grey)
    contrast = float(grey[grey > threshold].mean() - grey[grey <= threshold].mean())
    return np.float32(2 * sharpness / contrast) * (threshold * options.threshold_factor - grey)


def _blurred_channel(image: np.ndarray, options: OtsuOptions) -> np.ndarray:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"image must be (H, W, 3) uint8 RGB, got {image.shape} {image.dtype}")
    if options.channel == "grey":
        grey = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY)
    else:
        grey = np.ascontiguousarray(image[..., CHANNELS.index(options.channel)])
    return _blurred(grey, options.blur)


def split_touching(mask: np.ndarray, options: OtsuOptions | None = None) -> np.ndarray:
    """Label map of a foreground: one cell a peak of the smoothed distance to the background.

    The image's edge does not count as background, so a cell that it cuts keeps its peak there.
    Cells below ``min_area`` are dropped.
    """
    options = options or OtsuOptions()
    mask = np.asarray(mask, dtype=bool)
    if not mask.any():
        return np.zeros(mask.shape, dtype=np.int32)
    distance = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    distance = _blurred(distance, options.seed_blur)
    components, _ = ndimage.label(mask, structure=np.ones((3, 3)))
    peaks = peak_local_max(
        distance,
        min_distance=max(1, round(options.seed_distance)),
        labels=components,
        exclude_border=False,
    )
    seeds = np.zeros(mask.shape, dtype=np.int32)
    seeds[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    cells = watershed(-distance, seeds, mask=mask)
    small = np.bincount(cells.ravel()) < options.min_area
    return relabel(np.where(small[cells], 0, cells))


def segment(image: np.ndarray, options: OtsuOptions | None = None) -> np.ndarray:
    """Label map of the cells of an image (H, W, 3) uint8 RGB; all 0 for a blank one.

    Raises:
        ValueError: not (H, W, 3) uint8.
    """
    return split_touching(foreground(image, options), options)


def typicality(label_map: np.ndarray, cell_diameter: float) -> np.ndarray:
    """(N,) float32 scores in (0, 1]: how near each cell's area is to a typical one.

    The smaller of the area and the typical area over the larger: a cell of half or of twice the
    size gets .5. It knows that merged cells are too large and specks too small, nothing else. Cells
    that the image's edge cuts get .9, or their ratio where they are too large.
    """
    label_map = check_label_map(label_map)
    ratio = cell_areas(label_map) / (np.pi / 4 * cell_diameter**2)
    scores = np.minimum(ratio, 1 / np.maximum(ratio, 1e-9))
    cut = cell_touches_border(label_map) & (ratio < 1)
    scores[cut] = np.maximum(scores[cut], _BORDER_SCORE)
    return scores.astype(np.float32)


def _blurred(array: np.ndarray, sigma: float) -> np.ndarray:
    return cv2.GaussianBlur(array, (0, 0), sigma) if sigma > 0 else array
