"""A detector of some thousand weights on eight smears, for runs of a few steps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SMALL = ["MODEL.DEVICE", "cpu", "MODEL.VIT.DIM", "32", "MODEL.VIT.HEADS", "2",
         "MODEL.VIT.DEPTH", "2", "MODEL.VIT.GLOBAL_BLOCKS", "(1,)", "MODEL.PYRAMID.CHANNELS", "16",
         "MODEL.ROI_BOX_HEAD.FC_DIM", "32", "MODEL.ROI_MASK_HEAD.CONV_DIM", "16",
         "INPUT.CROP_SIZE", "96", "SOLVER.IMS_PER_BATCH", "2", "SOLVER.WARMUP_ITERS", "2",
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
