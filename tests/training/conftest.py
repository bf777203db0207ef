"""A detector of some thousand weights on eight smears, for runs of a few steps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ..small import SMALL_DETECTOR

SMALL = [*SMALL_DETECTOR, "INPUT.CROP_SIZE", "96", "SOLVER.IMS_PER_BATCH", "2",
         "SOLVER.WARMUP_ITERS", "2",
         "TEST.LOSS_BATCHES", "1", "TEST.EVAL_PERIOD", "0"]  # fmt: skip


@pytest.fixture(scope="session")
def small_options(tiny_dataset: Path) -> list[str]:
    """Config keys of the smallest detector, on synthetic smears."""
    return [*SMALL, "DATASETS.ROOT", str(tiny_dataset)]


@pytest.fixture
def small_config(small_options: list[str], repo_root: Path) -> Callable[..., Any]:
    """Makes the config, not yet prepared: ``small_config(folder, "KEY", "value", ...)``."""
    from bccd_d2.training.config import load_config

    def make(folder: Path, *options: str) -> Any:
        path = repo_root / "configs" / "cpu_tiny_maskrcnn.yaml"
        return load_config(path, [*small_options, "OUTPUT_DIR", str(folder), *options])

    return make
