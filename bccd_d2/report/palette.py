"""The colours of verdicts: Okabe and Ito's, which colour-blind readers tell apart."""

from __future__ import annotations

from bccd_d2.report.failures import FOUND, MERGED, MISSED, OUTLINE, SPLIT, SPURIOUS

Colour = tuple[int, int, int]

VERDICT_COLOURS: dict[str, Colour] = {
    FOUND: (0, 158, 115),
    MERGED: (230, 159, 0),
    SPLIT: (0, 0, 0),
    MISSED: (213, 94, 0),
    SPURIOUS: (0, 114, 178),
    OUTLINE: (204, 121, 167),
}
