"""Markers, the one-thread rule and the datasets that several rooms' tests share."""

from __future__ import annotations

import importlib.util
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Before torch is imported anywhere: on a busy machine with few cores, spinning OpenMP barriers make
# a toy training step two hundred times slower.
os.environ["OMP_NUM_THREADS"] = "1"

import pytest

from .small import SMALL_DETECTOR

REPO = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPO / "tools"))

SMALL = [*SMALL_DETECTOR, "INPUT.CROP_SIZE", "96", "SOLVER.IMS_PER_BATCH", "2",
         "SOLVER.WARMUP_ITERS", "0",
         "TEST.LOSS_BATCHES", "1", "TEST.EVAL_PERIOD", "0"]  # fmt: skip


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--runslow``."""
    parser.addoption("--runslow", action="store_true", help="also run tests that take minutes")


def pytest_collection_finish() -> None:
    """Hold torch to one thread, when any collected test imported it."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what this run or this machine cannot do, and say why."""
    if item.get_closest_marker("slow") and not item.config.getoption("--runslow"):
        pytest.skip("takes minutes: run with --runslow")
    if item.get_closest_marker("gpu"):
        if importlib.util.find_spec("torch") is None:
            pytest.skip("needs torch")
        import torch

        if not torch.cuda.is_available():
            pytest.skip("needs a CUDA device")
    if item.get_closest_marker("graph"):
        import torch

        if not hasattr(torch.export.Dim, "DYNAMIC"):
            pytest.skip("needs torch 2.6")
    if item.get_closest_marker("data") and find_sample() is None:
        pytest.skip("needs the real sample: set BCCD_SAMPLE to its folder")


def find_sample() -> Path | None:
    """Folder of the real sample: BCCD_SAMPLE, else the one beside the repository, else None.

    Raises:
        FileNotFoundError: BCCD_SAMPLE names no folder.
    """
    named = os.environ.get("BCCD_SAMPLE")
    if named:
        if not Path(named).is_dir():
            raise FileNotFoundError(f"BCCD_SAMPLE is {named!r}, which is no folder")
        return Path(named)
    beside = REPO.parent / "shared" / "data" / "bccd_sample"
    return beside if beside.is_dir() else None


@pytest.fixture(autouse=True)
def fresh_loggers():
    """Take off the log handlers a test's runs put on: they hold streams that pytest closes."""
    yield
    logger = sys.modules.get("detectron2.utils.logger")
    if logger is not None:
        for name in ("detectron2", "fvcore", "bccd_d2"):
            logging.getLogger(name).handlers.clear()
        getattr(logger.setup_logger, "cache_clear", lambda: None)()


@pytest.fixture(scope="session")
def repo_root() -> Path:
    """Folder that holds setup.py."""
    return REPO


@pytest.fixture(scope="session")
def sample_root() -> Path:
    """Folder with train/, test/ and reference_counts.json of the real sample; skips without."""
    sample = find_sample()
    if sample is None:
        pytest.skip("needs the real sample: set BCCD_SAMPLE to its folder")
    return sample


@pytest.fixture(scope="session")
def tiny_smears(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Synthetic dataset in BCCD's layout: 8 training and 3 test images of 240x320. Read only."""
    from bccd_d2.synth.dataset import write_dataset

    root = tmp_path_factory.mktemp("tiny") / "smears"
    write_dataset(root, n_train=8, n_test=3, seed=7, size=(240, 320))
    return root


@pytest.fixture(scope="session")
def tiny_dataset(tiny_smears: Path) -> Path:
    """Folder the converter wrote for `tiny_smears`, with train, val and test. Read only."""
    from bccd_d2.data.convert.run import ConvertOptions, convert

    out = tiny_smears.parent / "coco"
    convert(root=tiny_smears, out=out, options=ConvertOptions(workers=1))
    return out


@pytest.fixture(scope="session")
def small_options(tiny_dataset: Path) -> list[str]:
    """Config keys of the smallest detector, on synthetic smears."""
    return [*SMALL, "DATASETS.ROOT", str(tiny_dataset)]


@pytest.fixture
def small_config(small_options: list[str], repo_root: Path) -> Callable[..., Any]:
    """Makes the config, not yet prepared: ``small_config(folder, "KEY", "value", ...)``."""
    from bccd_d2.config.load import load_config

    def make(folder: Path, *options: str) -> Any:
        path = repo_root / "configs" / "cpu_tiny_maskrcnn.yaml"
        return load_config(path, [*small_options, "OUTPUT_DIR", str(folder), *options])

    return make
