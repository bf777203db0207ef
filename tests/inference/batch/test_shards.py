"""Many processes and machines on one set of images: nothing twice, nothing lost, one answer."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from bccd_d2.inference.batch.predict import predict_batch
from bccd_d2.inference.batch.record import BatchOptions, shard_of
from bccd_d2.io.atomic import write_png_atomic
from bccd_d2.io.lock import LOCK, hold_folder
from bccd_d2.synth.smear import draw_smear

KINDS = ("labels", "csv")


@pytest.fixture(scope="module")
def smears(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("smears")
    for seed in range(5):
        write_png_atomic(folder / f"s{seed}.png", draw_smear(seed=seed, size=(120, 150)).image)
    return folder


def options(smears: Path, out: Path, **more: object) -> BatchOptions:
    how = {"weights": ("cpu_best",), "device": "cpu", "save": KINDS, "progress": False}
    return BatchOptions((str(smears),), str(out), **how | more)


def files(folder: Path) -> dict[str, bytes]:
    """Results by name, those that hold times left out."""
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*.*")}
    return {name: path.read_bytes() for name, path in found.items()
            if path.is_file() and not name.startswith(("run", "finished"))}  # fmt: skip


@pytest.fixture(scope="module")
def alone(smears, tmp_path_factory) -> dict[str, bytes]:
    out = tmp_path_factory.mktemp("alone")
    predict_batch(options(smears, out))
    return files(out)


def test_workers_answer_as_one_process(smears, alone, tmp_path):
    summary = predict_batch(options(smears, tmp_path, processes=2))
    assert summary.done == 5 and not summary.failures
    assert files(tmp_path) == alone
    assert json.loads((tmp_path / "run.json").read_text())["processes"] == 2


def test_shards_fill_one_folder_and_a_last_run_sums_them_up(smears, alone, tmp_path):
    done = [predict_batch(options(smears, tmp_path, shard=f"{k}/2")).done for k in (1, 2)]
    assert done == [3, 2]
    with (tmp_path / "counts.2of2.csv").open(newline="") as stream:
        assert [row["image"] for row in csv.DictReader(stream)] == ["s1", "s3"]
    again = predict_batch(options(smears, tmp_path, shard="1/2", resume=True))
    assert (again.done, again.skipped) == (0, 3)
    whole = predict_batch(options(smears, tmp_path, resume=True))
    assert (whole.done, whole.skipped) == (0, 5)
    kept = {name: content for name, content in files(tmp_path).items() if "of2" not in name}
    assert kept == alone


def test_shards_share_a_folder_with_no_other_run(smears, tmp_path):
    predict_batch(options(smears, tmp_path, shard="1/2"))
    with hold_folder(tmp_path, "prediction", shared=True):
        pass
    assert not (tmp_path / LOCK).exists()


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "1/2/3", "a/b", "-1/2", "1/0"])
def test_what_is_no_shard_is_refused(text, smears, tmp_path):
    with pytest.raises(ValueError, match="shard must be I/N"):
        options(smears, tmp_path, shard=text)
    assert shard_of("") == (1, 1) and shard_of("3/16") == (3, 16)


def test_no_workers_are_refused(smears, tmp_path):
    with pytest.raises(ValueError, match="processes must be at least 1"):
        options(smears, tmp_path, processes=0)
