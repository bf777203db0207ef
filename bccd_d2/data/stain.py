"""Stain normalisation towards the training set as a whole, by Reinhard's or Macenko's method.

Colours are measured on every training image with torchstain and the medians are the target: no
single picture decides. Each image is measured on equally many pixels of cells and of background,
so that the number of cells on it does not count as a colour. Which is which, Otsu's threshold on
green says, in training and in use alike; no label is needed.

The map of an image is fixed by the whole image and is the same for every crop of it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from torchstain.numpy.normalizers import NumpyMacenkoNormalizer, NumpyReinhardNormalizer

from bccd_d2.io.images import read_image

logger = logging.getLogger(__name__)

LENGTHS = {"reinhard": 6, "macenko": 11}
_PIXELS = 40_000  # looked at in an image, on an even grid
_DRAWN = 3_000  # of cells, and as many of background
_CONTRAST = 12  # grey levels of green between cells and background; below, there is no stain
_LEAST_SHARE = 0.003  # of the image that either must cover
_COLOUR = 0.5  # spread of a and b in CIE Lab, below which an image is grey (Reinhard)
_GAIN = 2.0  # a channel's spread (Reinhard), a stain's concentration (Macenko) changes at most so
_STRETCH = 4.0  # largest factor on any optical density (Macenko)
_ANGLE = 0.03  # rad between the two stains, below which they are one (Macenko)


@dataclass(frozen=True)
class StainStatistics:
    """The colours of one image, or of a training set.

    Attributes:
        method: "reinhard" or "macenko".
        values: reinhard: mean of L, a, b, then their standard deviations (CIE Lab, L in 0..100);
            macenko: background R, G, B (0..255), the two stains' optical densities in R, G, B
            (unit vectors; the one with more red first), and their 99th percentile concentrations.
    """

    method: str
    values: tuple[float, ...]

    def __post_init__(self) -> None:
        check_method(self.method)
        if len(self.values) != LENGTHS[self.method] or not np.isfinite(self.values).all():
            raise ValueError(
                f"{self.method} has {LENGTHS[self.method]} finite numbers, got {self.values}"
            )


def check_method(method: str) -> None:
    """Raise ValueError unless the method is known."""
    if method not in LENGTHS:
        raise ValueError(f"stain method must be one of {sorted(LENGTHS)}, got {method!r}")


def measure(image: np.ndarray, method: str) -> StainStatistics | None:
    """The colours of a whole image; None where it shows no two things to tell apart.

    Args:
        image: (H, W, 3) uint8 RGB.
        method: Reinhard et al., IEEE CG&A 21 (2001); Macenko et al., ISBI 2009. Ours measures
            optical density against the image's own background, so Macenko balances white too.

    Returns:
        None for an image that is blank, grey or noise, or (Macenko) spans no two stains.
    """
    check_method(method)
    cells, background = sample_pixels(image)
    if cells is None or background is None:
        return None
    if method == "reinhard":
        fitted = NumpyReinhardNormalizer()
        fitted.fit(np.concatenate([cells, background])[None])
        values = [*fitted.target_means, *fitted.target_stds]
        return _statistics(method, values) if min(values[3:]) > _COLOUR else None
    white = np.maximum(np.median(background, axis=0), 1.0)
    density = -np.log((cells.astype(float) + 1) / white)
    if np.count_nonzero((density >= 0.15).all(axis=1)) < 100:  # what torchstain would work with
        return None
    fitted = NumpyMacenkoNormalizer()
    fitted.fit(cells[None], Io=white)
    stains, strongest = fitted.HERef.T, fitted.maxCRef
    angle = np.arccos(np.clip(stains[0] @ stains[1], -1, 1))
    if not _ANGLE <= angle <= np.pi / 2 or strongest.min() <= 0.01:
        return None
    return _statistics(method, [*white, *stains.ravel(), *strongest])


def _statistics(method: str, values: Iterable[float]) -> StainStatistics | None:
    numbers = tuple(round(float(v), 6) for v in values)
    return StainStatistics(method, numbers) if np.isfinite(numbers).all() else None


def sample_pixels(image: np.ndarray) -> tuple[np.ndarray, np.ndarray] | tuple[None, None]:
    """Equally many pixels (N, 3) of cells and of background, always the same ones of an image.

    (None, None) when the image has no pixels or Otsu's two classes differ by less than 12 levels of
    green, or one of them covers less than 0.3%.
    """
    if image.size == 0:
        return None, None
    step = max(1, int(np.sqrt(image.shape[0] * image.shape[1] / _PIXELS)))
    pixels = np.ascontiguousarray(image[step // 2 :: step, step // 2 :: step])
    green = np.ascontiguousarray(pixels[..., 1])
    _, bright = cv2.threshold(green, 0, 1, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    classes = [pixels[bright == side] for side in (0, 1)]
    if min(len(c) for c in classes) < max(10, _LEAST_SHARE * green.size):
        return None, None
    if classes[1][:, 1].mean() - classes[0][:, 1].mean() < _CONTRAST:
        return None, None
    drawn = [c[np.linspace(0, len(c) - 1, _DRAWN).astype(int)] for c in classes]
    return drawn[0], drawn[1]


def pool(measured: Iterable[StainStatistics | None]) -> StainStatistics:
    """The median of many images' statistics; images that could not be measured do not count.

    Raises:
        ValueError: none could be measured, or the methods differ.
    """
    usable = [one for one in measured if one is not None]
    methods = {one.method for one in usable}
    if len(methods) != 1:
        raise ValueError(
            f"a reference needs measured images of one method, got {len(usable)} of "
            f"{sorted(methods)}; are the images blank?"
        )
    method = methods.pop()
    middle = np.median([one.values for one in usable], axis=0)
    if method == "macenko":
        stains = middle[3:9].reshape(2, 3)
        middle[3:9] = (stains / np.linalg.norm(stains, axis=1, keepdims=True)).ravel()
    return StainStatistics(method, tuple(round(float(v), 6) for v in middle))


def fit_reference(
    files: Iterable[str | Path], method: str, max_value: float | None = None
) -> StainStatistics:
    """The median colours of the images in ``files``, each a path.

    Args:
        max_value: see `bccd_d2.io.images.read_plane`.

    Raises:
        FileNotFoundError, ValueError: an image is missing, unreadable, or none has a stain.
    """
    files = list(files)
    measured = [measure(read_image(file, max_value=max_value), method) for file in files]
    unusable = [str(f) for f, m in zip(files, measured, strict=True) if m is None]
    if unusable:
        logger.warning("no stain found in %d of %d images: %s", len(unusable), len(files), unusable)
    return pool(measured)


def normalise(
    image: np.ndarray,
    source: StainStatistics | None,
    reference: StainStatistics,
    strength: float = 1.0,
) -> np.ndarray:
    """The image with the reference's colours.

    Args:
        image: (H, W, 3) uint8 RGB, all or any part of the image that ``source`` was measured on.
        source: as `measure` returned it; with None the image is returned unchanged.
        reference: as `pool` returned it.
        strength: 0 = unchanged, 1 = the reference's colours; between, a blend of the two in RGB.

    Returns:
        The same shape and dtype; the input itself where nothing changes. No channel's spread
        (Reinhard) and no stain's concentration (Macenko) changes by more than a factor of 2, so a
        pale image stays paler than the reference. Where the two stains of an image can so hardly be
        told apart that Macenko would stretch some colour by more than 4, it is left as it is.
    """
    if not 0 <= strength <= 1:
        raise ValueError(f"strength must lie in [0, 1], got {strength}")
    if source is None or strength == 0 or image.size == 0:
        return image
    if source.method != reference.method:
        raise ValueError(f"source is {source.method}, reference {reference.method}")
    change = _reinhard if source.method == "reinhard" else _macenko
    changed = change(image, np.array(source.values), np.array(reference.values))
    if strength == 1:
        return changed
    return cv2.addWeighted(changed, strength, image, 1 - strength, 0)


def _reinhard(image: np.ndarray, source: np.ndarray, reference: np.ndarray) -> np.ndarray:
    gain = np.clip(reference[3:] / source[3:], 1 / _GAIN, _GAIN)
    matrix = np.hstack([np.diag(gain), (reference[:3] - gain * source[:3])[:, None]])
    lab = cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    rgb = cv2.cvtColor(cv2.transform(lab, matrix.astype(np.float32)), cv2.COLOR_LAB2RGB)
    return cv2.convertScaleAbs(rgb, alpha=255)


def _macenko(image: np.ndarray, source: np.ndarray, reference: np.ndarray) -> np.ndarray:
    mix, target = source[3:9].reshape(2, 3).T, reference[3:9].reshape(2, 3).T
    gain = np.clip(reference[9:] / source[9:], 1 / _GAIN, _GAIN)
    matrix = target @ np.diag(gain) @ np.linalg.pinv(mix)
    if np.linalg.norm(matrix, 2) > _STRETCH:
        return image
    levels = np.arange(1, 257)[None, :, None]
    density = cv2.LUT(image, (-np.log(levels / source[:3])).astype(np.float32))
    # Folding the reference's white into the exponent saves a pass over the pixels.
    affine = np.hstack([-matrix, np.log(reference[:3])[:, None]]).astype(np.float32)
    changed = cv2.exp(cv2.transform(density, affine))
    return cv2.convertScaleAbs(np.minimum(changed, 255))


def colour_spread(images: Iterable[np.ndarray]) -> float:
    """How far the images' mean cell colours lie from their common mean: RMS distance in CIE Lab.

    Images without visible cells do not count; 0 for fewer than two others.
    """
    means = []
    for image in images:
        cells, _ = sample_pixels(image)
        if cells is not None:
            pixels = cells[None].astype(np.float32) / 255
            means.append(cv2.cvtColor(pixels, cv2.COLOR_RGB2LAB)[0].mean(axis=0))
    if len(means) < 2:
        return 0.0
    return float(np.sqrt(np.var(means, axis=0).sum()))
