"""The score threshold that belongs to a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class OperatingPoint:
    """The score threshold that belongs to a model, with where it was chosen.

    Attributes:
        score_threshold: cells below it are not reported, in [0, 1].
        origin: what it was chosen on, such as "bccd_val at iteration 400".
    """

    def __init__(self, score_threshold: float = 0.5, origin: str = "default") -> None:
        self.score_threshold = score_threshold
        self.origin = origin

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps of it."""
        return {"score_threshold": float(self.score_threshold), "origin": self.origin}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take the values of `state_dict`.

        Raises:
            KeyError, ValueError: they are no such values.
        """
        threshold = float(state["score_threshold"])
        if not 0 <= threshold <= 1:  # NaN neither
            raise ValueError(f"score_threshold must lie in [0, 1], got {threshold}")
        self.score_threshold, self.origin = threshold, str(state["origin"])
