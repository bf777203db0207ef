"""One seed, one run: the same losses again, and the same after a stop."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.engine import HookBase

from bccd_d2.training import loaders
from bccd_d2.training.loaders import train_loader
from bccd_d2.training.run import prepare, train
from bccd_d2.training.sampler import Positions, Samples, record_at

NOISY = ["MODEL.VIT.DROP_PATH", "0.3", "SOLVER.EMA_DECAY", "0.9", "MODEL.VIT.FROZEN_ITERS", "1",
         "MODEL.VIT.UNFREEZE_ITERS", "1", "DATASETS.VALIDATION", "()", "SOLVER.MAX_ITER", "6",
         "SOLVER.CHECKPOINT_PERIOD", "3"]  # fmt: skip


class Record(HookBase):
    """Keeps the loss of every step; interrupts training after some."""

    def __init__(self, stop: int = -1) -> None:
        self.losses: dict[int, float] = {}
        self._stop = stop

    def after_step(self) -> None:
        self.losses[self.trainer.iter] = self.trainer.storage.history("total_loss").latest()
        if self.trainer.iter == self._stop:
            raise KeyboardInterrupt


@pytest.fixture
def losses(small_config: Callable, tmp_path: Path) -> Callable[..., dict[int, float]]:
    def run(folder: str, *options: str, resume: bool = False, stop: int = -1) -> dict[int, float]:
        record = Record(stop)
        config = prepare(small_config(tmp_path / folder, *NOISY, *options))
        try:
            train(config, resume=resume, extra_hooks=[record])
        except KeyboardInterrupt:
            assert stop >= 0
        return record.losses

    return run


def test_one_seed_gives_one_run(losses: Callable) -> None:
    first = losses("a", "SOLVER.MAX_ITER", "3")
    assert len(first) == 3 and first == losses("b", "SOLVER.MAX_ITER", "3")
    assert first[2] != losses("c", "SOLVER.MAX_ITER", "3", "SEED", "1")[2]


def test_a_resumed_run_equals_the_uninterrupted_one(losses: Callable, tmp_path: Path) -> None:
    """Stopped after five steps, resumed from the third, with other loader processes."""
    whole = losses("whole")
    before = losses("parts", stop=4)
    after = losses("parts", "DATALOADER.NUM_WORKERS", "2", resume=True)
    assert sorted(after) == [3, 4, 5]
    assert before | after == whole
    ends = [torch.load(tmp_path / n / "model_final.pth", weights_only=True) for n in
            ("whole", "parts")]  # fmt: skip
    for part in ("model", "ema"):
        for name, value in ends[0][part].items():
            torch.testing.assert_close(value, ends[1][part][name], rtol=0, atol=0)


def test_every_epoch_sees_every_image_once_in_another_order() -> None:
    order = np.array([record_at(position, 0, 7) for position in range(21)]).reshape(3, 7)
    assert (np.sort(order, axis=1) == np.arange(7)).all()
    assert len({tuple(epoch) for epoch in order}) == 3


def test_processes_share_the_positions() -> None:
    parts = [iter(Positions(6, rank, 2)) for rank in range(2)]
    assert [next(part) for _ in range(3) for part in parts] == [6, 7, 8, 9, 10, 11]


def test_a_batch_that_cannot_be_shared_is_refused(small_config: Callable, tmp_path: Path) -> None:
    config = prepare(small_config(tmp_path))
    with pytest.raises(ValueError, match=r"bccd_train.*no images \(0\)"):
        train_loader(config, [])


class Counting:
    """A mapper that says which record it drew, and counts."""

    def __init__(self) -> None:
        self.calls, self.position = 0, -1

    def restart(self, position: int) -> None:
        self.position = position

    def __call__(self, record: dict) -> dict:
        self.calls += 1
        return {"record": record["n"], "position": self.position}


def test_distinct_samples_are_drawn_once_and_come_again_in_another_order() -> None:
    mapper = Counting()
    samples = Samples([{"n": n} for n in range(4)], mapper, seed=3, distinct=8)
    first, second = ([samples[i]["position"] for i in range(k, k + 8)] for k in (0, 8))
    assert sorted(first) == sorted(second) == list(range(8)) and first != second
    assert mapper.calls == 8
    drawn = [samples[i]["record"] for i in range(8)]
    assert sorted(drawn) == sorted([*range(4)] * 2)  # every record as often
    samples[0]["record"] = "changed"
    assert samples[0]["record"] != "changed"
    with pytest.raises(ValueError, match="SAMPLES 3 is less than the 4 training images"):
        Samples([{"n": n} for n in range(4)], mapper, seed=3, distinct=3)


def test_no_more_processes_load_images_than_there_are_cores(
    small_config: Callable, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr(loaders, "cores", lambda: 2)
    config = small_config(tmp_path, "DATALOADER.NUM_WORKERS", "3")
    assert loaders.loading_processes(config) == 2
    config.DATALOADER.NUM_WORKERS = 0
    assert loaders.loading_processes(config) == 0
