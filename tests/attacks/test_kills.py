"""Commands killed at random moments: nothing half counts, and the next run ends as it should.

And a disk that is full: what cannot be written is said, and nothing half is left.
"""

from __future__ import annotations

import csv
import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile

pytest.importorskip("detectron2")

from bccd_d2.io.records import read_log
from bccd_d2.synth.dataset import write_dataset

REPO = Path(__file__).resolve().parents[2]
CLEAN = {**os.environ, "PYTHONPATH": str(REPO), "OMP_NUM_THREADS": "1"}
FAST, SLOW = range(1), range(1, 6)


def bccd(*words: object) -> list[str]:
    return [sys.executable, "-m", "bccd_d2", *map(str, words)]


def finish(*words: object, code: int = 0) -> subprocess.CompletedProcess:
    done = subprocess.run(bccd(*words), env=CLEAN, capture_output=True, text=True, timeout=300)
    assert done.returncode == code, done.stderr[-2000:]
    return done


def kill(words: list[str], begun: Callable[[], bool], seed: int, most: float) -> bool:
    """Start a command and kill it and its workers a random time after it began; was it running?"""
    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(words, env=CLEAN, start_new_session=True, **pipes)
    end = time.monotonic() + 120
    while not begun() and process.poll() is None and time.monotonic() < end:
        time.sleep(0.005)
    time.sleep(random.Random(seed).uniform(0, most))
    running = process.poll() is None
    process.kill()  # its workers must end by themselves
    process.wait()
    return running


def visible(folder: Path) -> list[Path]:
    """Files that somebody would take for results."""
    found = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    return sorted(folder / p for p in found if not any(x.startswith(".") for x in p.parts))


def check_whole(path: Path) -> None:
    """Read a result to its end."""
    if path.suffix in (".json", ".geojson"):
        json.loads(path.read_text(encoding="utf-8"))
    elif path.suffix == ".tif":
        tifffile.imread(path)
    elif path.suffix == ".png":
        assert cv2.imread(str(path), cv2.IMREAD_UNCHANGED) is not None
    elif path.suffix == ".csv":
        text = path.read_text(encoding="utf-8")
        assert text.endswith("\n") and len({len(row) for row in csv.reader(text.splitlines())}) == 1


def contents(folder: Path, *leave_out: str) -> dict[str, bytes]:
    files = [path for path in visible(folder) if path.name not in leave_out]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def smears(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("smears") / "s"
    write_dataset(root, n_train=12, n_test=2, seed=3, size=(200, 260))
    return root


@pytest.fixture(scope="module")
def predicted(smears, tmp_path_factory) -> dict[str, bytes]:
    out = tmp_path_factory.mktemp("undisturbed")
    finish(*_predict(smears, out))
    return contents(out, "run.json")


def _predict(smears: Path, out: Path, *more: str) -> list[object]:
    return ["predict", "--input", smears / "train" / "original", "--output", out, "--config-file",
            "otsu_watershed", "--device", "cpu", "--quiet", *more]  # fmt: skip


def _kills() -> list:
    return [*FAST, *(pytest.param(seed, marks=pytest.mark.slow) for seed in SLOW)]


@pytest.mark.parametrize("seed", _kills())
def test_predict(seed: int, smears: Path, predicted: dict[str, bytes], tmp_path: Path) -> None:
    begun = lambda: (tmp_path / "labels").is_dir()  # noqa: E731
    kill(bccd(*_predict(smears, tmp_path)), begun, seed, 1.0)
    for path in visible(tmp_path):
        check_whole(path)
    finish(*_predict(smears, tmp_path, "--resume"))
    assert contents(tmp_path, "run.json") == predicted
    assert not list(tmp_path.rglob(".*.part")) and not list(tmp_path.rglob(".in_use.json"))


@pytest.fixture(scope="module")
def converted(smears, tmp_path_factory) -> dict[str, bytes]:
    out = tmp_path_factory.mktemp("undisturbed") / "coco"
    finish("convert", "--root", smears, "--out", out, "--processes", 2)
    return contents(out, "dataset.json")


@pytest.mark.parametrize("seed", _kills())
def test_convert(seed: int, smears: Path, converted: dict[str, bytes], tmp_path: Path) -> None:
    out = tmp_path / "coco"
    words = bccd("convert", "--root", smears, "--out", out, "--processes", 2)
    kill(words, lambda: bool(list(out.glob(".convert-*"))), seed, 2.0)
    if (out / "dataset.json").is_file():  # then all of it is there
        assert contents(out, "dataset.json") == converted
    time.sleep(1)  # workers are gone, and write no more
    state = contents(out) if out.is_dir() else {}
    time.sleep(0.5)
    assert (contents(out) if out.is_dir() else {}) == state
    finish("convert", "--root", smears, "--out", out, "--processes", 2)
    assert contents(out, "dataset.json") == converted
    assert [path.name for path in out.glob(".*")] == []


SMALL = ["INPUT.CROP_SIZE", 96, "SOLVER.IMS_PER_BATCH", 2, "SOLVER.WARMUP_ITERS", 0, "SEED", 5,
         "TEST.EVAL_PERIOD", 0, "TEST.LOSS_BATCHES", 1, "SOLVER.MAX_ITER", 12,
         "SOLVER.CHECKPOINT_PERIOD", 3, "DATALOADER.NUM_WORKERS", 0]  # fmt: skip


def _train(dataset: Path, out: Path, *more: str) -> list[object]:
    from ..small import SMALL_DETECTOR

    plain = [word.replace(" ", "") for word in SMALL_DETECTOR]
    return ["train", "--config-file", "cpu_tiny_maskrcnn", "--dataset", dataset, "--out", out,
            *more, *plain, *SMALL]  # fmt: skip


@pytest.fixture(scope="module")
def trained(tiny_dataset, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("undisturbed") / "run"
    finish(*_train(tiny_dataset, out))
    return out


@pytest.mark.slow
@pytest.mark.parametrize("seed", [*FAST, *SLOW])
def test_train(seed: int, tiny_dataset: Path, trained: Path, tmp_path: Path) -> None:
    import torch

    out = tmp_path / "run"
    kill(bccd(*_train(tiny_dataset, out)), (out / "metrics.json").is_file, seed, 3.0)
    for path in out.glob("*.pth"):
        torch.load(path, weights_only=True)
    finish(*_train(tiny_dataset, out, "--resume"))
    ours, theirs = (
        torch.load(folder / "model_final.pth", weights_only=True)["model"]
        for folder in (out, trained)
    )
    for name, tensor in theirs.items():
        torch.testing.assert_close(ours[name], tensor, rtol=1e-4, atol=1e-5)
    logs = [read_log(run / "metrics.json") for run in (out, trained)]
    logged = [[row["iteration"] for row in log] for log in logs]
    assert set(logged[0]) >= set(logged[1])  # no row is lost


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of three megabytes."""
    disk = tmp_path / "disk"
    disk.mkdir()
    call = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(disk)]
    try:
        mounted = subprocess.run(call, capture_output=True).returncode == 0
    except OSError:
        mounted = False
    if not mounted:
        pytest.skip("needs the right to mount a file system")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=False)


def _full(disk: Path, left: int) -> None:
    """Fill a disk but for so many bytes."""
    state = os.statvfs(disk)
    (disk / "filler").write_bytes(bytes(state.f_bavail * state.f_frsize - left))


def check_said(done: subprocess.CompletedProcess, folder: Path) -> None:
    assert "Traceback" not in done.stderr
    assert "No space left" in done.stderr or "File too large" in done.stderr, done.stderr
    for path in visible(folder):
        check_whole(path)


@pytest.mark.slow
def test_predict_on_a_full_disk(smears: Path, small_disk: Path) -> None:
    _full(small_disk, 300_000)
    out = small_disk / "out"
    done = subprocess.run(bccd(*_predict(smears, out)), env=CLEAN, capture_output=True, text=True)
    assert done.returncode in (1, 2)
    check_said(done, out)


def test_convert_on_a_full_disk(smears: Path, small_disk: Path) -> None:
    _full(small_disk, 40_000)
    out = small_disk / "coco"
    words = bccd("convert", "--root", smears, "--out", out, "--processes", 2)
    done = subprocess.run(words, env=CLEAN, capture_output=True, text=True)
    assert done.returncode == 2 and not (out / "dataset.json").exists()
    check_said(done, out)


def test_files_that_may_not_grow(smears: Path, tmp_path: Path) -> None:
    """As a full disk, for those who may mount nothing."""

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))

    words = bccd(*_predict(smears, tmp_path))
    done = subprocess.run(words, env=CLEAN, capture_output=True, text=True, preexec_fn=limit)
    assert done.returncode in (1, 2)
    check_said(done, tmp_path)
    assert np.all([path.stat().st_size <= 3000 for path in visible(tmp_path)])
