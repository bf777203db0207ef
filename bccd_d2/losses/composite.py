"""A sum of losses from a line of text, as it stands in a config.

``"dice + 1.5*bce(pos_weight=2)"``: terms joined by ``+``; each an optional factor and ``*``, the
loss's name, and its numbers in brackets.

Example:
    loss = composite("dice + bce")
    value = loss(logits, target, weight=pixel_weights(boundary), mask=inside_the_image)
"""

from __future__ import annotations

import difflib
import inspect
import math
import re
from collections.abc import Callable
from dataclasses import dataclass

import torch

from bccd_d2.losses.flow import flow_mse
from bccd_d2.losses.pixel import focal_bce, mean_square, weighted_bce
from bccd_d2.losses.region import dice_loss

LOSSES: dict[str, Callable[..., torch.Tensor]] = {
    "bce": weighted_bce,
    "focal": focal_bce,
    "mse": mean_square,
    "dice": dice_loss,
    "flow_mse": flow_mse,
}
# What takes the map that raises some pixels; the others count pixels or do not count them.
PIXELWISE = {"bce", "focal", "mse"}
_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_TERM = re.compile(rf"(?:(?P<factor>{_NUMBER})\s*\*)?\s*(?P<name>\w+)\s*(?:\((?P<given>[^()]*)\))?")
_GIVEN = re.compile(rf"(\w+)\s*=\s*({_NUMBER})")


@dataclass(frozen=True)
class Term:
    """One loss of a sum: its name in `LOSSES`, its factor, and its numbers."""

    name: str
    factor: float
    numbers: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class Composite:
    """A weighted sum of losses, called as one; make it with `composite`."""

    terms: tuple[Term, ...]

    def __call__(
        self,
        logits: torch.Tensor,
        target: torch.Tensor,
        weight: torch.Tensor | None = None,
        mask: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """The sum, a scalar.

        Args:
            logits: (B, C, H, W), or what the losses named take; half precision is widened.
            target: the same shape.
            weight: >= 0, broadcastable to the target; raises pixels in the pixel-wise losses
                (`PIXELWISE`) and is nothing to the others.
            mask: 0 or 1, broadcastable likewise; pixels at 0 count in no loss. Flows want the
                cells here.
        """
        logits = logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits
        both = weight if mask is None else mask if weight is None else weight * mask
        total = logits.new_zeros(())
        for term in self.terms:
            factors = both if term.name in PIXELWISE else mask
            value = LOSSES[term.name](logits, target, weight=factors, **dict(term.numbers))
            total = total + term.factor * value
        return total

    def __str__(self) -> str:
        """The line of text that makes the same sum."""
        return " + ".join(
            f"{term.factor:g}*{term.name}"
            + (f"({', '.join(f'{k}={v:g}' for k, v in term.numbers)})" if term.numbers else "")
            for term in self.terms
        )


def composite(spec: str) -> Composite:
    """The sum of losses that ``spec`` describes.

    >>> str(composite("dice + .5*focal(alpha=.3)"))
    '1*dice + 0.5*focal(alpha=0.3)'

    Args:
        spec: terms ``[factor*]name[(number=value, ...)]`` joined by ``+``; names of `LOSSES`,
            numbers as the losses' own arguments are called. Factors are finite and > 0.

    Raises:
        ValueError: an empty text, an unknown loss or number, or what is no term; it names the
            term and what there is to choose from.
    """
    # Not the + within brackets, nor that of 1e+3.
    parts = re.split(r"(?<![\d.][eE])\+(?![^(]*\))", spec) if spec.strip() else []
    if not parts:
        raise ValueError(f"loss spec is empty; wanted terms such as 'dice + bce' of {list(LOSSES)}")
    return Composite(tuple(_term(part.strip(), spec) for part in parts))


def _term(text: str, spec: str) -> Term:
    found = _TERM.fullmatch(text)
    if found is None:
        raise ValueError(
            f"loss spec {spec!r}: {text!r} is no term; wanted [factor*]name[(number=value, ...)]"
        )
    name, factor = found["name"], float(found["factor"] or 1)
    if name not in LOSSES:
        near = difflib.get_close_matches(name, LOSSES, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ValueError(f"loss spec {spec!r}: no loss {name!r}; {hint}there are {list(LOSSES)}")
    if not (math.isfinite(factor) and factor > 0):
        raise ValueError(f"loss spec {spec!r}: the factor of {name} must be > 0, got {factor}")
    return Term(name, factor, _numbers(name, found["given"], spec))


def _numbers(name: str, given: str | None, spec: str) -> tuple[tuple[str, float], ...]:
    parameters = inspect.signature(LOSSES[name]).parameters
    known = [key for key, value in parameters.items() if isinstance(value.default, float)]
    numbers: dict[str, float] = {}
    for item in (given or "").split(",") if (given or "").strip() else []:
        found = _GIVEN.fullmatch(item.strip())
        if found is None or found[1] not in known or found[1] in numbers:
            raise ValueError(
                f"loss spec {spec!r}: {name} cannot take {item.strip()!r}; "
                f"wanted number=value, once each, of {sorted(known)}"
            )
        numbers[found[1]] = float(found[2])
    return tuple(numbers.items())
