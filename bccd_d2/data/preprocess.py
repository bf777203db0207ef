"""What is done to the pixels of every image, in training and in use alike: nothing is random here.

Order: stain normalisation, edge-preserving denoising, local contrast (CLAHE); all off by default.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from bccd_d2.data.stain import StainStatistics, measure, normalise

_TILE = 64  # px of the detector's frame: the side of CLAHE's tiles, about a cell
_REACH = 5  # px: diameter of the denoiser's neighbourhood


@dataclass(frozen=True)
class PreprocessOptions:
    """The fixed preprocessing of images.

    Attributes:
        stain: the colours to normalise to, as `stain.fit_reference` returns them; None = off.
        stain_strength: 0 = off, 1 = the reference's colours; see `stain.normalise`.
        denoise: grey levels within which neighbours are averaged; edges higher than a few times
            that stay sharp; 0 = off.
        clahe: clip limit of the local contrast, in multiples of an even histogram; 2 is mild; 0 =
            off.
    """

    stain: StainStatistics | None = None
    stain_strength: float = 0.5
    denoise: float = 0.0
    clahe: float = 0.0

    def __post_init__(self) -> None:
        for name, top in (("stain_strength", 1), ("denoise", 255), ("clahe", 100)):
            if not 0 <= getattr(self, name) <= top:
                raise ValueError(f"{name} must lie in [0, {top}], got {getattr(self, name)}")


def smooth(image: np.ndarray, levels: float) -> np.ndarray:
    """The image (H, W, 3) uint8 under a bilateral filter (Tomasi and Manduchi 1998) of 5 px.

    Args:
        levels: standard deviation in grey levels of what is taken for noise; 0 = unchanged.
    """
    if levels == 0 or image.size == 0:
        return image
    return cv2.bilateralFilter(np.ascontiguousarray(image), _REACH, levels, _REACH / 2)


def local_contrast(image: np.ndarray, clip: float) -> np.ndarray:
    """The image (H, W, 3) uint8 RGB with its lightness equalised in tiles of about 64 px.

    CLAHE (Zuiderveld 1994) on L of CIE Lab: hue stays. A crop's tiles lie elsewhere than those of
    the whole image, so the two agree in kind but not to the grey level.

    Args:
        clip: limit in multiples of an even histogram's height; 0 = unchanged.
    """
    if clip == 0 or image.size == 0:
        return image
    rows, columns = (max(1, round(n / _TILE)) for n in image.shape[:2])
    lab = cv2.cvtColor(image, cv2.COLOR_RGB2LAB)
    lab[..., 0] = cv2.createCLAHE(clip, (columns, rows)).apply(np.ascontiguousarray(lab[..., 0]))
    return cv2.cvtColor(lab, cv2.COLOR_LAB2RGB)


def scaled_size(size: Sequence[int], scale: float) -> tuple[int, int]:
    """(height, width) in whole pixels, at least 1 each, of such a ``size`` times ``scale``."""
    height, width = size
    return max(1, round(float(height * scale))), max(1, round(float(width * scale)))


def resize_image(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The image at ``size`` (height, width): pixel averages when it shrinks, else bilinear."""
    height, width = (int(n) for n in size)
    if image.shape[:2] == (height, width):
        return np.ascontiguousarray(image)
    shrinks = height <= image.shape[0] and width <= image.shape[1]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return cv2.resize(image, (width, height), interpolation=method)


class Preprocessor:
    """Applies `PreprocessOptions` to images, remembering each file's stain."""

    def __init__(self, options: PreprocessOptions | None = None) -> None:
        self.options = options or PreprocessOptions()
        self._measured: dict[str, StainStatistics | None] = {}

    def __call__(self, part: np.ndarray, whole: np.ndarray, name: str) -> np.ndarray:
        """``part`` preprocessed.

        Args:
            part: (h, w, 3) uint8 RGB, a crop or copy of the image at any scale.
            whole: (H, W, 3) uint8 RGB, the image as its file holds it, whose stain is measured.
            name: the file's; an image of a known name is not measured again.
        """
        options = self.options
        if options.stain is not None and options.stain_strength > 0:
            if name not in self._measured:
                self._measured[name] = measure(whole, options.stain.method)
            source = self._measured[name]
            part = normalise(part, source, options.stain, options.stain_strength)
        return local_contrast(smooth(part, options.denoise), options.clahe)
