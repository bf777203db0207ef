"""The three steps side by side: order, bounds, errors and Ctrl-C."""

from __future__ import annotations

import errno
import os
import threading
import time
from pathlib import Path

import pytest

from bccd_d2.inference.batch.run import run_jobs
from bccd_d2.inference.batch.sources import Job
from bccd_d2.masks.cells import Cells


def jobs_of(count: int) -> list[Job]:
    return [Job(f"j{index}", Path(f"j{index}.png")) for index in range(count)]


def cells_of(image) -> Cells:
    return Cells.empty((3, 4))


def row_of(job, image, cells) -> dict:
    return {"image": job.name, "read": image}


def test_every_image_is_read_predicted_and_written():
    ended = []
    outcome = run_jobs(jobs_of(9), lambda job: job.name, cells_of, row_of,
                       on_done=lambda job: ended.append(job.name))  # fmt: skip
    assert outcome.rows == {f"j{i}": {"image": f"j{i}", "read": f"j{i}"} for i in range(9)}
    assert sorted(ended) == sorted(outcome.rows)
    assert outcome.failures == [] and not outcome.interrupted


def test_steps_overlap_and_what_waits_is_bounded():
    lock, alive, most = threading.Lock(), set(), []

    def read(job):
        with lock:
            alive.add(job.name)
            most.append(len(alive))
        time.sleep(0.01)
        return job.name

    def write(job, image, cells):
        time.sleep(0.05)
        with lock:
            alive.discard(job.name)
        return {}

    start = time.perf_counter()
    run_jobs(jobs_of(20), read, lambda image: time.sleep(0.02) or cells_of(image), write)
    assert time.perf_counter() - start < 20 * 0.08 * 0.9
    assert max(most) <= 4 + 1 + 1 + 1  # writing, predicting, waiting, reading


@pytest.mark.parametrize("step", ["read", "predict", "write"])
def test_an_error_ends_one_image_and_no_other(step):
    def failing(name, answer):
        if name == "j2":
            raise RuntimeError(f"{step} broke")
        return answer

    outcome = run_jobs(
        jobs_of(5),
        lambda job: failing(job.name if step == "read" else "", job.name),
        lambda image: failing(image if step == "predict" else "", cells_of(image)),
        lambda job, image, cells: failing(job.name if step == "write" else "", {}),
    )
    assert sorted(outcome.rows) == ["j0", "j1", "j3", "j4"]
    [failure] = outcome.failures
    assert failure == {"image": "j2", "file": "j2.png", "page": 1, "reason": f"{step} broke"}


def test_a_full_disk_is_told_with_what_to_do():
    def write(job, image, cells):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    outcome = run_jobs(jobs_of(1), lambda job: job.name, cells_of, write)
    [failure] = outcome.failures
    assert failure["reason"] == "No space left on device; free some space, or choose another disk"


def test_a_known_problem_is_a_failure_without_reading():
    job = Job("a", Path("a.tif"), problem="a.tif is unreadable")
    outcome = run_jobs([job], lambda job: pytest.fail("was read"), cells_of, row_of)
    assert outcome.failures[0]["reason"] == "a.tif is unreadable"


def test_ctrl_c_finishes_what_is_being_written():
    written = []

    def predict(image):
        if image == "j3":
            raise KeyboardInterrupt
        return cells_of(image)

    def write(job, image, cells):
        time.sleep(0.05)
        written.append(job.name)
        return {}

    before = threading.active_count()
    outcome = run_jobs(jobs_of(50), lambda job: job.name, predict, write)
    assert outcome.interrupted
    assert sorted(outcome.rows) == sorted(written) and set(written) <= {"j0", "j1", "j2"}
    assert threading.active_count() == before
