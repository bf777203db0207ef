"""What the colours of cells say of the camera: light that burns them out, channels exchanged.

Colours are optical densities, the logarithm of the light that a cell takes away from the image's
own background in red, green and blue (Beer and Lambert's law), so a lamp's tint is no part of them.
"""

from __future__ import annotations

import numpy as np

from bccd_d2.masks.cells import Cells
from bccd_d2.masks.resize import resize_label_map
from bccd_d2.masks.stain import Stain

_WHITE = 254  # grey level of a background that the sensor cannot tell from any brighter one
_FAINT = 0.12  # density of the cells, below which the same light has burnt out most of them
_DARK = (1.5, 0.6)  # times the cells' density, and at least: nuclei, platelets
_LEAST_DARK = 0.02  # of the outlined pixels
_BLUE = -0.25  # red less blue of nuclei over their density; of Romanowsky stains mostly 0.1 to 0.6


def doubts_of_colours(stain: Stain, cells: Cells, typed: bool) -> list[str]:
    """Sentences on what is wrong with the colours of the cells; [] where nothing is.

    Args:
        cells: the answer; none say nothing.
        typed: their types were told, for which red and blue must not be exchanged.
    """
    labels = resize_label_map(cells.to_label_map(), stain.image.shape[:2])
    inside = stain.field & (labels > 0)
    beside = stain.field & (labels == 0) & ~stain.stained
    if not (inside.any() and beside.any()):
        return []
    light = np.median(stain.image[beside], axis=0)
    density = np.log((light + 1) / (stain.image[inside] + 1.0))
    lengths = np.linalg.norm(density, axis=1)
    found = []
    if light.min() >= _WHITE and np.linalg.norm(np.median(density, axis=0)) < _FAINT:
        found.append("the light burns the cells out: take the image with less of it")
    dark = lengths > max(_DARK[0] * float(np.median(lengths)), _DARK[1])
    if typed and dark.mean() >= _LEAST_DARK:
        red, _, blue = np.median(density[dark], axis=0)
        if red - blue < _BLUE * np.median(lengths[dark]):
            found.append("nuclei are not blue: the channels seem to be in another order than RGB")
    return found
