"""A ViT that stays frozen at first and then joins the training from the top down.

The schedule is that of Howard and Ruder, "Universal Language Model Fine-tuning", ACL 2018, section
3.3: the last layer holds the least general knowledge and is let go first.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from detectron2.engine import HookBase

from bccd_d2.modeling.backbones.vit import TimmViT

logger = logging.getLogger(__name__)


def trained_parts(iteration: int, frozen: int, each: int, parts: int) -> int:
    """How many of a ViT's ``parts``, counted from the top, train at an iteration.

    Args:
        iteration: from 0.
        frozen: iterations in which none trains.
        each: iterations from one part to the next; 0 = all at once.
        parts: blocks + 1; the last part is what lies below all blocks.
    """
    if iteration < frozen:
        return 0
    return parts if each == 0 else min(parts, 1 + (iteration - frozen) // each)


class Unfreezing(HookBase):
    """Sets before each step which parts of the ViT train, from the iteration alone.

    The optimizer must have been built before, with all parameters: a part without gradient is
    passed over by it, weight decay included. So must DistributedDataParallel, with
    ``find_unused_parameters``.

    Args:
        vits: the model's and its copies'.
        frozen: see `trained_parts`.
        each: see `trained_parts`.

    Raises:
        ValueError: there are none.
    """

    def __init__(self, vits: Sequence[TimmViT], frozen: int, each: int) -> None:
        if not vits:
            raise ValueError("MODEL.VIT.FROZEN_ITERS: the model has no ViT; leave the key at 0")
        self._vits = vits
        self._frozen = frozen
        self._each = each
        self._now: int | None = None

    def before_step(self) -> None:
        depth = len(self._vits[0].vit.blocks)
        parts = trained_parts(self.trainer.iter, self._frozen, self._each, depth + 1)
        if parts == self._now:
            return
        self._now = parts
        for vit in self._vits:
            vit.train_top(parts)
        blocks = f"{min(parts, depth)} of {depth} blocks"
        below = " and the embeddings" if parts > depth else ""
        logger.info("iteration %d: %s%s of the ViT train", self.trainer.iter, blocks, below)
