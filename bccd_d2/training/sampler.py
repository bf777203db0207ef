"""Which sample comes when, and by which random numbers: both from the seed and the iteration alone.

A resumed run therefore sees exactly what the uninterrupted one would have seen, whatever the number
of loader workers.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from detectron2.data import DatasetFromList
from detectron2.engine import HookBase
from detectron2.utils import comm
from torch.utils.data import Dataset, Sampler

from bccd_d2.data.mapper import LabelMapMapper


@functools.lru_cache(maxsize=4)
def _epoch(seed: int, epoch: int, size: int) -> np.ndarray:
    return np.random.default_rng([seed, epoch]).permutation(size)


def record_at(position: int, seed: int, size: int) -> int:
    """Index of the record at a position of the endless stream: each epoch is a new permutation."""
    epoch, place = divmod(position, size)
    return int(_epoch(seed, epoch, size)[place])


class Samples(Dataset):
    """The endless stream of training samples by position.

    Args:
        records: dataset dicts.
        mapper: makes a sample of a record; all its random numbers come from its own generator.
        seed: of the order; that of the samples is the mapper's.
        distinct: samples that are drawn; they stay in memory (1 MB for a crop of 256 px with its
            maps, in each loading process) and come again, in another order each time; 0 = all are
            drawn anew.

    Raises:
        ValueError: fewer distinct samples than records: some would never be seen.
    """

    def __init__(
        self, records: list[dict], mapper: LabelMapMapper, seed: int, distinct: int = 0
    ) -> None:
        if 0 < distinct < len(records):
            raise ValueError(
                f"DATALOADER.SAMPLES {distinct} is less than the {len(records)} training images: "
                f"some would never be seen; give {len(records)} or more, or 0"
            )
        self._distinct = distinct
        self._drawn: dict[int, dict[str, Any]] = {}
        self._records = DatasetFromList(records, copy=False)
        self._mapper = mapper
        self._seed = seed

    def __len__(self) -> int:
        """Number of records, which is the length of an epoch."""
        return len(self._records)

    def __getitem__(self, position: int) -> dict[str, Any]:
        """The sample at a position, 0 or more."""
        if not self._distinct:
            return self._draw(position)
        number = record_at(position, self._seed + 1, self._distinct)
        if number not in self._drawn:
            self._drawn[number] = self._draw(number)
        return dict(self._drawn[number])

    def _draw(self, position: int) -> dict[str, Any]:
        self._mapper.restart(position)
        return self._mapper(self._records[record_at(position, self._seed, len(self))])


class Positions(Sampler):
    """This process's share of the positions from ``first`` on, without end.

    Args:
        first: position of the first sample of the first step.
        rank: of this process.
        world: number of processes.
    """

    def __init__(self, first: int, rank: int = 0, world: int = 1) -> None:
        self._first = first + rank
        self._world = world

    def __iter__(self) -> Iterator[int]:
        """Positions in order."""
        return itertools.count(self._first, self._world)


class StepSeed(HookBase):
    """Seeds torch before each step from the seed, the process and the iteration.

    What a model draws in a step (drop path, sampled proposals) is then the same in a resumed run.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def before_step(self) -> None:
        entropy = [self._seed, comm.get_rank(), self.trainer.iter]
        torch.manual_seed(int(np.random.SeedSequence(entropy).generate_state(1)[0]))
