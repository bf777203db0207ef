"""How the values of an image become 8 bits, and how that is said.

All channels of a page are scaled by one factor, so colours keep their balance and contrast is not
stretched. The factor comes from the number of bits in use. A file may declare them (a depth of 12
bits); else it is the smallest of 8, 10, 12, 14 and 16 that holds the page's largest value: a 12-bit
camera's image in a 16-bit file (0 to 4095) becomes 0 to 255, and a full 16-bit one is divided by
257. A stain seen through a microscope is bright somewhere, so the largest value tells the bits; a
percentile stretch, as fluorescence viewers do, would turn an empty field into noise. Floating
point counts as 0 to 1, or as 0 to 255 when a value is at least 16; between them it is ambiguous.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

BITS = (8, 10, 12, 14, 16)
DARKEST_255 = 16.0  # an image of 0 to 255 whose largest value is below this would be black
_ROWS = 256  # scaled at a time, so that no second image of 32 bits is in memory


@dataclass(frozen=True)
class ValueRange:
    """What became 0 to 255.

    Attributes:
        dtype: of the file's pixels, such as "uint16".
        top: the value that became 255; 0 became 0.
        source: where it comes from: "type", "declared", "largest value" or "given".
    """

    dtype: str = "uint8"
    top: float = 255.0
    source: str = "type"

    def __str__(self) -> str:
        return f"{self.dtype} 0 to {self.top:g}"

    def as_json(self) -> dict[str, Any]:
        """The same for a record in a json file."""
        return {"dtype": self.dtype, "top": self.top, "source": self.source}


def find_range(
    dtype: np.dtype, low: float, high: float, declared_bits: int = 0, given: float | None = None
) -> ValueRange:
    """The range of a page whose values reach from ``low`` to ``high``.

    Args:
        declared_bits: how many bits the file says are in use; 0 = it does not say.
        given: what becomes 255, as the user says; the values may not go beyond.

    Raises:
        ValueError: negative or not finite values, or values that fit no range.
    """
    dtype, low, high = np.dtype(dtype), float(low), float(high)
    if dtype in (np.uint8, np.bool_):
        return ValueRange(dtype.name)
    if given is not None:
        if not (low >= 0 and high <= given):
            raise ValueError(f"pixels must be in 0 to {given:g} (--max-value), got {low:g} to "
                             f"{high:g}")  # fmt: skip
        return ValueRange(dtype.name, float(given), "given")
    floating = np.issubdtype(dtype, np.floating)
    limit = 255.0 if floating else 65535.0
    if not (low >= 0 and high <= limit):
        raise ValueError(
            f"{dtype} pixels must be in 0 to {limit:g}, got {low:g} to {high:g}{_advice(low, high)}"
        )
    if floating:
        if 1 < high < DARKEST_255:
            raise ValueError(
                f"{dtype} pixels reach from {low:g} to {high:g}, which is neither 0 to 1 nor 0 to "
                f"255: clip them, save 8 bits, or say what is white with --max-value"
            )
        return ValueRange(dtype.name, 1.0 if high <= 1 else 255.0, "largest value")
    if 8 < declared_bits < 16 and high < 2**declared_bits:
        return ValueRange(dtype.name, float(2**declared_bits - 1), "declared")
    top = min(_bits_top(high), float(np.iinfo(dtype).max))
    return ValueRange(dtype.name, top, "largest value")


def _bits_top(high: float) -> float:
    return float(2 ** next(bits for bits in BITS if high < 2**bits) - 1)


def _advice(low: float, high: float) -> str:
    if not (low >= 0 and np.isfinite(high)):
        return ": save it as 8 or 16 bits without negative or missing values"
    top = _bits_top(high) if high < 65536 else np.ceil(high)
    return f": save it as 8 or 16 bits, or say what is white, such as --max-value {top:g}"


def measure_range(
    pixels: np.ndarray, declared_bits: int = 0, given: float | None = None
) -> ValueRange:
    """`find_range` of an array of any shape; an empty one counts as black.

    Raises:
        ValueError: see `find_range`.
    """
    low, high = (pixels.min(), pixels.max()) if pixels.size else (0, 0)
    return find_range(pixels.dtype, low, high, declared_bits, given)


def scale_to_uint8(pixels: np.ndarray, value_range: ValueRange) -> np.ndarray:
    """Pixels within the range as uint8 of the same shape."""
    if pixels.dtype == np.uint8:
        return pixels
    if pixels.dtype == bool:
        return pixels.astype(np.uint8) * 255
    result = np.empty(pixels.shape, np.uint8)
    factor = np.float32(255 / value_range.top)
    for first in range(0, len(pixels), _ROWS):
        rows = slice(first, first + _ROWS)
        result[rows] = np.rint(pixels[rows] * factor)
    return result


def summarise_ranges(ranges: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """How many images have each range, the most frequent first, of `ValueRange.as_json` data."""
    names = (f"{one['dtype']} 0 to {one['top']:g}" for one in ranges)
    return dict(Counter(names).most_common())


def mixed_ranges(ranges: Mapping[str, int]) -> str:
    """A warning where images of one type were scaled differently; "" where all are alike.

    A dark image of a 12-bit camera may look like one of 10 bits and come out too bright.
    """
    types = Counter(name.split()[0] for name in ranges)
    mixed = [name for name in ranges if types[name.split()[0]] > 1]
    if not mixed:
        return ""
    found = ", ".join(f"{ranges[name]} of {name}" for name in mixed)
    top = max(float(name.split()[-1]) for name in mixed)
    return (
        f"images of one type were scaled to 8 bits differently ({found}): where they are of one "
        f"camera, say what is white for all of them, such as --max-value {top:g}"
    )
