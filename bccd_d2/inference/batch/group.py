"""The processes that work on one run together: one alone, or those that torchrun started."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Group:
    """A process among those of its run.

    Attributes:
        rank: its number, from 0; the first one writes what is written once.
        size: how many there are.
    """

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this process writes what is written once."""
        return self.rank == 0

    def gather(self, given: Any) -> list[Any]:
        """What each process gave, in every one of them."""
        if self.size == 1:
            return [given]
        from detectron2.utils import comm

        return comm.all_gather(given)


def this_group() -> Group:
    """The group of `training.launch` under torchrun; else this process alone."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return Group()
    from detectron2.utils import comm

    return Group(comm.get_rank(), comm.get_world_size())
