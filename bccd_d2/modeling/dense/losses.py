"""The losses of a dense model's heads, each named in the config, with fixed or learned weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from bccd_d2.losses.composite import composite
from bccd_d2.losses.pixel import pixel_weights
from bccd_d2.losses.weighting import FixedWeights, UncertaintyWeights

WEIGHTINGS = ("fixed", "uncertainty")


class DenseLosses(nn.Module):
    """Losses by head from logits and targets.

    Args:
        heads: their names; "cell" among them.
        specs: one a head, as `losses.composite.composite` reads them. The flow's counts inside of
            cells only.
        weights: factor of each head's loss; () = 1 each.
        weighting: "fixed", or "uncertainty": factors that are learned, from these on.
        raised: weight of a pixel of "boundary" and of "centre" in the pixel-wise losses of "cell",
            at least 1; names that are missing or have 1 raise nothing.

    Attributes:
        targets: names of the maps that the losses need.

    Raises:
        ValueError: not one spec and weight a head, or one of them cannot be read.
    """

    def __init__(
        self,
        heads: Sequence[str],
        specs: Sequence[str],
        *,
        weights: Sequence[float] = (),
        weighting: str = "fixed",
        raised: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__()
        if len(specs) != len(heads) or len(weights) not in (0, len(heads)):
            raise ValueError(
                f"MODEL.DENSE.LOSSES wants one for each of the HEADS {list(heads)}, got "
                f"{list(specs)}; LOSS_WEIGHTS as many or none, got {list(weights)}"
            )
        if weighting not in WEIGHTINGS:
            raise ValueError(f"MODEL.DENSE.WEIGHTING must be one of {WEIGHTINGS}: {weighting!r}")
        self.losses = {head: composite(spec) for head, spec in zip(heads, specs, strict=True)}
        factors = dict(zip(heads, weights or [1.0] * len(heads), strict=True))
        fixed = weighting == "fixed"
        self.weights = FixedWeights(factors) if fixed else UncertaintyWeights(heads, factors)
        self.raised = {name: value for name, value in (raised or {}).items() if value != 1}
        self.targets = tuple(dict.fromkeys((*heads, *self.raised)))

    def forward(
        self,
        logits: Mapping[str, torch.Tensor],
        targets: Mapping[str, torch.Tensor],
        valid: torch.Tensor | None = None,
    ) -> dict[str, torch.Tensor]:
        """{"loss_<head>": scalar}.

        Args:
            logits: (B, channels, H, W) float by head.
            targets: the same shapes, by the names in `targets`.
            valid: (B, 1, H, W), 0 in the padding of images, which counts in no loss; None = all 1.
        """
        found = {}
        for head, loss in self.losses.items():
            mask = valid
            if head == "flow":
                mask = targets["cell"] if valid is None else targets["cell"] * valid
            elif head == "counted":
                mask = (targets[head] >= 0).float()  # its own unknown pixels, also in the padding
            weight = self._pixel_weights(targets) if head == "cell" else None
            found[head] = loss(logits[head], targets[head], weight=weight, mask=mask)
        return {f"loss_{head}": value for head, value in self.weights(found).items()}

    def _pixel_weights(self, targets: Mapping[str, torch.Tensor]) -> torch.Tensor | None:
        if not self.raised:
            return None
        return pixel_weights(
            targets.get("boundary"),
            targets.get("centre"),
            self.raised.get("boundary", 1.0),
            self.raised.get("centre", 1.0),
        )
