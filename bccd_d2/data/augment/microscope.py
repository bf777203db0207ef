"""Another microscope: all that differs between laboratories beside stain, in the order of light.

Lamp, sensor's colours, focus, grain, resolution, file: each its own file, all off by default.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bccd_d2.data.augment.defocus import defocus
from bccd_d2.data.augment.grain import grain
from bccd_d2.data.augment.illumination import uneven_light
from bccd_d2.data.augment.jpeg import recompress
from bccd_d2.data.augment.resample import resample
from bccd_d2.data.augment.tint import tint


@dataclass(frozen=True)
class MicroscopeOptions:
    """Strengths and probabilities; with 0 an augmentation neither changes nor draws anything.

    Attributes:
        light: largest relative unevenness of the light; see `uneven_light`.
        tint: bound of the logarithm of the channels' gains and gammas; see `tint`.
        defocus: probability of a disc blur; see `defocus`.
        grain: grey levels of coloured noise at white; see `grain`.
        resample: probability of lost resolution; see `resample`.
        jpeg: probability of JPEG artefacts; see `recompress`.
    """

    light: float = 0.0
    tint: float = 0.0
    defocus: float = 0.0
    grain: float = 0.0
    resample: float = 0.0
    jpeg: float = 0.0

    def __post_init__(self) -> None:
        tops = {"light": 0.9, "tint": 1, "defocus": 1, "grain": 64, "resample": 1, "jpeg": 1}
        for name, top in tops.items():
            if not 0 <= getattr(self, name) <= top:
                raise ValueError(f"{name} must lie in [0, {top}], got {getattr(self, name)}")


def microscope(
    image: np.ndarray, rng: np.random.Generator, options: MicroscopeOptions
) -> np.ndarray:
    """The image (H, W, 3) uint8 RGB as another microscope would show it; same shape and dtype."""
    image = uneven_light(image, rng, options.light)
    image = tint(image, rng, options.tint)
    image = defocus(image, rng, options.defocus)
    image = grain(image, rng, options.grain)
    image = resample(image, rng, options.resample)
    return recompress(image, rng, options.jpeg)
