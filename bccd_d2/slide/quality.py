"""Should this field be counted? Focus, density, clumps, stain and writing, and why not.

Lengths are in cells, so that a check means the same at any magnification. Density, light, stain and
ink are compared with the other fields of the sample, writing with the field's own cells, for how
sharp they are is the camera's; a person can override every reason.

| check | measured as | left out where |
| --- | --- | --- |
| focus | width of the stain's edges over a quarter of the cells' diameter | `BLUR` |
| too few cells | cells over the sample's median | `FEW` |
| too dense | share of the image that is stained | `DENSE` |
| clumps | share of the stain in pieces of more than four cells | `CLUMPS` |
| light | distance in CIELAB of the background from the sample's median | `SHIFT`, `WIDE` |
| stain | angle of its colour in optical density to the sample's median | `TURN`, `WIDE` |
| writing | steps of neighbouring pixels, in lines or dense for the field | `LINE`, `STEPS` |
| ink | largest piece that is black or of a hue that stains do not have, in cells | `INK` |
| same picture | grey levels between thumbnails, at most, of an earlier field | `ALIKE` |

Optical density is the logarithm of the light that the stain takes away, channel by channel. Its
direction is the stain's colour, its length how much of it there is (Beer and Lambert's law; Macenko
et al., ISBI 2009), so a pale or brightly exposed field of the same stain has the same direction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import cv2
import numpy as np

from bccd_d2.masks.stain import stain_map

BLUR = 0.7
FEW = 0.1
DENSE = 0.8
CLUMPS = 0.9
SHIFT, TURN = 15.0, 16.0  # CIELAB units; degrees (13.8 at most in 80 fields of many slides)
WIDE = 5.0  # standard deviations of the sample's fields
STEPS = {60: 0.058, 80: 0.03}  # grey levels of a step: most of a window of half a cell
ABOVE_OTHERS = 2.5  # times what `OTHERS` of the windows have at most, and half of `STEPS` more
OTHERS = 0.97  # writing covers less of a field than the rest
STAMPED = 0.5  # of the fields; where more are written on the camera stamps all: none is left out
LINE = 45  # grey levels of a step in a line
INK = 1.0
ALIKE = 8.0  # a copy as JPEG, in half the size or of another focus has 6 at most, another field 15
_THUMBNAIL = 16
LEAST_STAIN = 20  # cells' areas, below which clumps are not judged
LEAST_FIELDS = 4  # from which fields are compared with each other
_LOOK = 48.0  # px across a cell at which focus, clumps and stain are measured
_COARSE = 16.0  # px across a cell at which ink is


@dataclass(frozen=True)
class FieldQuality:
    """What was measured of one field; see the top of this file.

    Attributes:
        blur: 0 is sharp; 1 = edges as wide as a quarter of a cell.
        coverage: share of the field of view that is stained, in [0, 1].
        clumps: share of the stain in pieces of more than four cells, in [0, 1].
        background: median L, a, b.
        stain: of length 1, the direction in red, green and blue of its median optical density.
        steps: of the densest window over the most that a field as sharp as this has; above 1 is
            writing.
        line: there is a straight line along rows or columns, longer than a round cell has one.
        ink: cells' areas.
    """

    blur: float
    coverage: float
    clumps: float
    background: tuple[float, float, float]
    stain: tuple[float, float, float]
    steps: float
    line: bool
    ink: float

    @property
    def written(self) -> bool:
        """There is a scale bar or writing in the image."""
        return self.line or self.steps > 1


def measure_field(image: np.ndarray, diameter: float) -> FieldQuality:
    """Measure a field.

    Args:
        image: (H, W, 3) uint8 RGB.
        diameter: px across a typical cell.

    Raises:
        ValueError: ``diameter`` is not above 0.
    """
    if not diameter > 0:
        raise ValueError(f"diameter must be above 0 px, got {diameter}")
    factor = min(1.0, _LOOK / diameter)
    seen = stain_map(image, factor)
    small, stain, bare = seen.image, seen.stained, seen.field & ~seen.stained
    nothing = (float("nan"),) * 3
    steps, line = _steps(image, diameter)
    return FieldQuality(
        blur=_blur(small, stain, seen.contrast, diameter * factor),
        coverage=seen.share,
        clumps=_clumps(stain, diameter * factor),
        background=_median(_lab(small)[bare]) if bare.any() else nothing,
        stain=_stain_colour(small, bare, stain) if stain.any() and bare.any() else nothing,
        steps=steps,
        line=line,
        ink=_ink(image, min(1.0, _COARSE / diameter), diameter),
    )


def judge_fields(fields: Sequence[FieldQuality], cells: Sequence[int]) -> list[list[str]]:
    """For each field the reasons not to count it; [] for a good one.

    Args:
        fields: of one sample.
        cells: found in each.
    """
    usual = float(np.median(cells)) if len(cells) else 0.0
    compared = len(fields) >= LEAST_FIELDS
    shifts = _shifts(fields) if compared else [""] * len(fields)
    others = _Others(
        usual,
        float(np.median([field.ink for field in fields])),
        float(np.mean([field.written for field in fields])) > STAMPED,
    ) if compared else None  # fmt: skip
    return [
        _reasons(field, number, shift, others)
        for field, number, shift in zip(fields, cells, shifts, strict=True)
    ]


def thumbnail(image: np.ndarray) -> np.ndarray:
    """(769,) float32: an image as 16 x 16 px, and its shape; what `copies` compares."""
    small = cv2.resize(image, (_THUMBNAIL, _THUMBNAIL), interpolation=cv2.INTER_AREA)
    height, width = image.shape[:2]
    shape = 100 * ALIKE * np.log(width / height)  # 1% more is not alike any more
    return np.append(small.astype(np.float32).reshape(-1), np.float32(shape))


def copies(thumbnails: Sequence[np.ndarray]) -> dict[int, int]:
    """Which pictures are an earlier one again, and which; of `thumbnail` data."""
    found: dict[int, int] = {}
    means = np.array([one.mean() for one in thumbnails])
    for index, one in enumerate(thumbnails):
        for other in np.flatnonzero(np.abs(means[:index] - means[index]) <= ALIKE).tolist():
            if np.abs(one - thumbnails[other]).max() <= ALIKE:
                found[index] = other
                break
    return found


@dataclass(frozen=True)
class _Others:
    """Medians of a sample's fields: cells found, ink; most are written on."""

    cells: float
    ink: float
    stamped: bool


def _reasons(
    field: FieldQuality, cells: int, shift: str, others: _Others | None
) -> list[str]:
    reasons = []
    if not cells:
        reasons.append("no cell was found that counts")
    elif others is not None and cells < FEW * others.cells:
        usual = f"{others.cells:.0f}"
        reasons.append(f"too few cells: {cells}, where the sample's fields have {usual}")
    if field.coverage > DENSE:
        reasons.append(f"too dense: {field.coverage:.0%} of the image is stained")
    elif field.clumps > CLUMPS:
        reasons.append(f"mostly clumps: {field.clumps:.0%} of the stain is in pieces of more than "
                       "four cells")  # fmt: skip
    if field.blur > BLUR and cells:
        reasons.append(f"out of focus: edges {field.blur / 4:.2f} of a cell wide")
    if shift and cells:
        reasons.append(shift)
    if field.written and not (others and others.stamped):
        reasons.append("a scale bar or writing in the image")
    elif others is not None and field.ink > INK and field.ink > 5 * others.ink + 0.3:
        reasons.append("ink on the glass, or another foreign body")
    return reasons


def _shifts(fields: Sequence[FieldQuality]) -> list[str]:
    """For each field a sentence where its light or stain is not that of the others, else ""."""
    said = [""] * len(fields)
    light, stain = (np.array([asdict(f)[what] for f in fields]) for what in ("background", "stain"))
    away = np.linalg.norm(light - np.nanmedian(light, axis=0), axis=1)
    usual = np.nanmedian(stain, axis=0)
    turned = np.degrees(np.arccos((stain @ usual / np.linalg.norm(usual)).clip(-1, 1)))
    for far, least, scale, text in (  # medians of a normal's length in two and three dimensions
        (turned, TURN, 1.177, "another stain than the other fields: its colour lies {:.0f} degrees "
         "from theirs in optical density"),
        (away, SHIFT, 1.538, "another light than in the other fields: the background lies {:.0f} "
         "units of CIELAB from theirs"),
    ):  # fmt: skip
        for index in np.flatnonzero(far > max(least, WIDE * float(np.nanmedian(far)) / scale)):
            said[index] = said[index] or text.format(far[index])
    return said


def _stain_colour(
    small: np.ndarray, bare: np.ndarray, stain: np.ndarray
) -> tuple[float, float, float]:
    """See `FieldQuality.stain`; 1 is added to each grey level, so that black has a logarithm."""
    light, dark = (np.median(small[part], axis=0) + 1 for part in (bare, stain))
    density = np.log(light / dark)
    red, green, blue = (round(float(v), 3) for v in density / np.linalg.norm(density))
    return red, green, blue


def _lab(image: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)


def _median(pixels: np.ndarray) -> tuple[float, float, float]:
    light, a, b = (round(float(value), 1) for value in np.median(pixels, axis=0))
    return light, a, b


def _blur(small: np.ndarray, stain: np.ndarray, contrast: float, diameter: float) -> float:
    """Width of the stain's edges over a quarter of the diameter; 0 without any."""
    mask = stain.astype(np.uint8)
    edge = stain & (cv2.erode(mask, np.ones((3, 3))) == 0)
    if not edge.any():
        return 0.0
    grey = cv2.GaussianBlur(small.astype(np.float32).mean(axis=2), (0, 0), 0.8)
    across, down = (cv2.Sobel(grey, cv2.CV_32F, *order, scale=0.125) for order in ((1, 0), (0, 1)))
    steep = cv2.dilate(np.hypot(across, down), np.ones((5, 5)))
    return contrast / max(float(np.median(steep[edge])), 1e-3) / (diameter / 4)


def _clumps(stain: np.ndarray, diameter: float) -> float:
    """Share of the stain in large pieces; 0 where it is too little to say."""
    opened = cv2.morphologyEx(stain.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3)))
    _, _, found, _ = cv2.connectedComponentsWithStats(opened)
    areas = found[1:, cv2.CC_STAT_AREA].astype(float)
    cell = np.pi / 4 * diameter**2
    if areas.sum() < LEAST_STAIN * cell:
        return 0.0
    return float(areas[areas > 4 * cell].sum() / areas.sum())


def _steps(image: np.ndarray, diameter: float) -> tuple[float, bool]:
    """See `FieldQuality.steps`: steps that no lens makes; and whether they line up."""
    if min(image.shape[:2]) < 2:
        return 0.0, False
    pixels, half = image.astype(np.int16), max(8, round(diameter / 2))
    down = np.abs(np.diff(pixels, axis=0)).max(axis=2)
    across = np.abs(np.diff(pixels, axis=1)).max(axis=2)
    steepest = np.maximum(down[:, 1:], across[1:])
    dense = 0.0
    for level, most in STEPS.items():
        window = cv2.boxFilter((steepest > level).astype(np.float32), -1, (half, half))
        usual = float(np.quantile(window[::4, ::4], OTHERS))
        dense = max(dense, float(window.max()) / max(most, ABOVE_OTHERS * usual + most / 2))
    # The chord of a disc three pixels below its top, and half as much again.
    long = max(half, round(1.5 * 2 * np.sqrt(3 * diameter)))
    line = any(
        cv2.morphologyEx((part > LINE).astype(np.uint8), cv2.MORPH_OPEN, np.ones(shape)).any()
        for part, shape in ((down, (1, long)), (across, (long, 1)))
    )
    return dense, line


def _ink(image: np.ndarray, factor: float, diameter: float) -> float:
    size = tuple(max(1, round(n * factor)) for n in image.shape[1::-1])
    light, a, b = np.moveaxis(_lab(cv2.resize(image, size, interpolation=cv2.INTER_AREA)), 2, 0)
    chroma, hue = np.hypot(a, b), np.degrees(np.arctan2(b, a))
    largest = 0.0
    for ink in ((chroma > 30) & (hue > 15) & (hue < 200), (light < 22) & (chroma < 12)):
        _, _, found, _ = cv2.connectedComponentsWithStats(ink.astype(np.uint8))
        largest = max(largest, float(found[1:, cv2.CC_STAT_AREA].max(initial=0)))
    return largest / (np.pi / 4 * (diameter * factor) ** 2)
