"""Stains: the colours of a smear, and how light is absorbed by what lies on the glass.

A stained film follows Beer and Lambert's law: light = background * exp(-thickness * density). Where
two cells overlap their thicknesses add up and the overlap comes out darker, as under a microscope.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import MappingProxyType

import cv2
import numpy as np

Colour = tuple[float, float, float]


@dataclass(frozen=True)
class Stain:
    """Colours of one staining and lamp setting, RGB in 0..255.

    Attributes:
        background: empty glass.
        cell: a red cell of thickness 1 (its rim).
        nucleus: a white cell's nucleus, a platelet or a parasite of thickness 1.
        thickness: range of the factor on all thicknesses of an image.
        pallor: range of how much thinner a red cell's middle is (0 flat, 1 empty).
        weight: how often `pick_stain` takes it.
    """

    background: Colour
    cell: Colour
    nucleus: Colour
    thickness: tuple[float, float] = (0.8, 1.25)
    pallor: tuple[float, float] = (0.1, 0.9)
    weight: float = 1.0


STAINS = MappingProxyType(
    {
        "violet": Stain((253, 253, 253), (104, 86, 168), (120, 20, 120), (0.8, 1.25), (0.75, 1), 2),
        "slate": Stain((229, 232, 226), (76, 80, 120), (100, 20, 100), weight=2),
        "navy": Stain((222, 226, 210), (50, 58, 88), (60, 15, 60), (0.8, 1.25), (0, 0.5), 2),
        "steel": Stain((233, 238, 228), (70, 88, 128), (90, 30, 105), weight=1.5),
        "grey": Stain((230, 230, 225), (112, 116, 134), (150, 40, 140), (0.8, 1.2), (0.5, 0.9), 2),
        "plum": Stain((231, 229, 233), (62, 30, 76), (70, 10, 70), (0.8, 1.25), (0.6, 1)),
        "olive": Stain((150, 151, 145), (117, 125, 126), (140, 60, 105), (0.8, 1.4), (0, 0.2), 0.7),
        "mauve": Stain((144, 147, 142), (120, 112, 117), (140, 70, 100), (0.8, 1.4), (0, 0.3), 0.7),
        "orange": Stain((240, 230, 218), (206, 128, 104), (90, 40, 120), weight=0.6),
        "pink": Stain((240, 234, 238), (198, 124, 152), (95, 45, 130), weight=0.6),
    }
)


def pick_stain(rng: np.random.Generator, name: str | None = None) -> tuple[str, Stain]:
    """A stain's name and its colours, those shifted a little; ``name`` None draws one by weight.

    Raises:
        ValueError: no stain of that name.
    """
    if name is None:
        weights = np.array([stain.weight for stain in STAINS.values()])
        name = str(rng.choice(list(STAINS), p=weights / weights.sum()))
    if name not in STAINS:
        raise ValueError(f"style must be one of {', '.join(STAINS)} or None, got {name!r}")
    stain = STAINS[name]
    shift = rng.normal(0, 3, 3) + rng.normal(0, 4)
    background = np.clip(np.array(stain.background) + shift, 20, 254)
    cell = np.clip(np.array(stain.cell) * rng.normal(1, 0.05, 3), 5, background - 4)
    nucleus = np.clip(np.array(stain.nucleus) * rng.normal(1, 0.1, 3), 4, background - 10)
    return name, replace(
        stain, background=tuple(background), cell=tuple(cell), nucleus=tuple(nucleus)
    )


def absorb(red: np.ndarray, purple: np.ndarray, light: np.ndarray, stain: Stain) -> np.ndarray:
    """What the lamp leaves of itself after the film: (H, W, 3) float32 RGB, about 0..255.

    Args:
        red: (H, W) float32 thickness of what takes the cell colour.
        purple: (H, W) float32 thickness of what takes the nucleus colour.
        light: (H, W) float32 illumination, 1 = the stain's background.
    """
    image = np.empty((*red.shape, 3), dtype=np.float32)
    background = np.asarray(stain.background)
    cell_density = -np.log(np.asarray(stain.cell) / background)
    nucleus_density = -np.log(np.asarray(stain.nucleus) / background)
    for channel in range(3):
        density = cv2.addWeighted(
            red, -float(cell_density[channel]), purple, -float(nucleus_density[channel]), 0
        )
        image[..., channel] = cv2.multiply(cv2.exp(density), light, scale=background[channel])
    return image
