"""The foreground runs inside a compressed RLE, without unpacking the mask.

pycocotools only unpacks whole images, 2 MB a cell; the runs of a cell are a few hundred numbers.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Rle = dict[str, Any]
_DIGITS = 8  # of five bits, that a run's length can have: more than images do


def rle_runs(rle: Rle) -> tuple[np.ndarray, np.ndarray]:
    """Starts and ends (half-open) of the foreground runs, int64, as column-major pixel indices.

    The counts string holds 6 bits a character, from "0" on: five of the number, least first, and
    one that says that it goes on; the last of them carries the sign. From the fourth number on it
    is the difference to the number two before (pycocotools' ``rleFrString``).

    Raises:
        ValueError: ``counts`` is not compressed bytes, or its runs do not fill the image.
    """
    counts, (height, width) = rle["counts"], rle["size"]
    if not isinstance(counts, bytes):
        raise ValueError(
            f"rle must have compressed bytes as counts, got {type(counts).__name__}; call "
            f"bccd_d2.masks.rle.rle_from_json first"
        )
    codes = np.frombuffer(counts, dtype=np.uint8).astype(np.int64) - 48
    last = np.flatnonzero((codes & 32) == 0)
    whole = not codes.size or (((codes >= 0) & (codes < 64)).all() and last.size and
                               last[-1] == codes.size - 1)
    longest = np.diff(last, prepend=-1).max(initial=0)
    if not whole or longest > _DIGITS:
        raise ValueError(f"rle has broken counts: {counts[:40]!r} is no compressed RLE")
    if not last.size:
        lengths = np.zeros(0, dtype=np.int64)
    else:
        first = np.concatenate(([0], last[:-1] + 1))
        digit = np.arange(last[-1] + 1) - np.repeat(first, last - first + 1)
        lengths = np.add.reduceat((codes[: last[-1] + 1] & 31) << (5 * digit), first)
        lengths[(codes[last] & 16) != 0] -= 1 << (5 * (last - first + 1))[(codes[last] & 16) != 0]
        lengths[1::2] = np.cumsum(lengths[1::2])
        lengths[2::2] = np.cumsum(lengths[2::2])
    edges = np.cumsum(lengths)
    if (lengths < 0).any() or (edges[-1] if edges.size else 0) != height * width:
        raise ValueError(f"rle has broken counts: its runs do not fill {height}x{width} pixels")
    ends = edges[1::2]
    return ends - lengths[1::2], ends


def run_pixels(starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Every index inside the half-open runs, int64, run by run."""
    lengths = ends - starts
    offsets = np.cumsum(lengths) - lengths
    return np.repeat(starts - offsets, lengths) + np.arange(lengths.sum())
