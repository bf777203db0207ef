"""A folder is one process's at a time; the other is named, and a dead one holds nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bccd_d2.io.lock import LOCK, hold_folder

HOLD = """
import sys, time
from bccd_d2.io.lock import hold_folder
with hold_folder(sys.argv[1], "training"):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def other(tmp_path: Path):
    """Another process that holds the folder, until it is killed."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_the_other_process_is_named_and_a_dead_one_is_taken_over(tmp_path, other, caplog) -> None:
    with (
        pytest.raises(BlockingIOError, match=rf"in use by training \(process {other.pid} on ") as e,
        hold_folder(tmp_path, "prediction"),
    ):
        pytest.fail("held twice")
    assert str(tmp_path) in str(e.value) and "choose another folder" in str(e.value)
    os.kill(other.pid, signal.SIGKILL)
    other.wait()
    assert json.loads((tmp_path / LOCK).read_text())["process"] == other.pid  # left by the dead
    below, held = tmp_path / "labels", tmp_path / "evaluation"
    for folder in (below, held):
        folder.mkdir()
        (folder / ".a.png.x1.part").write_text("half")
        (folder / ".a.part.png").write_text("mine")
    with hold_folder(held, "evaluation"), hold_folder(tmp_path, "prediction"):
        assert json.loads((tmp_path / LOCK).read_text())["process"] == os.getpid()
    assert [path.name for path in below.iterdir()] == [".a.part.png"]
    assert (held / ".a.png.x1.part").exists()
    assert not (tmp_path / LOCK).exists()


def test_within_one_process_it_is_held_once_and_let_go_after_an_error(tmp_path) -> None:
    with pytest.raises(ZeroDivisionError), hold_folder(tmp_path / "new", "a"):
        with pytest.raises(BlockingIOError, match=f"process {os.getpid()}"):
            with hold_folder(tmp_path / "new" / "." / "", "b"):
                pytest.fail("held twice")
        raise ZeroDivisionError
    assert not (tmp_path / "new").exists()  # made for nothing
    with hold_folder(tmp_path / "new", "c"):
        (tmp_path / "new" / "result").write_text("")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["result"]


@pytest.mark.parametrize("content", ["", "{}", "not json", "[1]", '{"process": 1}'])
def test_a_strange_lock_file_of_nobody_is_no_obstacle(tmp_path, content: str) -> None:
    (tmp_path / LOCK).write_text(content)
    with hold_folder(tmp_path, "a"):
        pass


def test_a_folder_that_cannot_be_written_is_named(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(OSError, match=r"cannot write into .*file/out.*writable folder"),
        hold_folder(tmp_path / "file" / "out", "a"),
    ):
        pytest.fail("no folder")


def test_all_of_a_group_fail_with_the_first(tmp_path) -> None:
    with (
        pytest.raises(BlockingIOError, match="in use by x"),
        hold_folder(tmp_path, "a", first=False, gather=lambda text: ["it is in use by x", text]),
    ):
        pytest.fail("went on alone")
    with hold_folder(tmp_path, "a", first=False):
        assert not (tmp_path / LOCK).exists()


def test_a_shared_folder_is_shared_with_those_alone_that_share(tmp_path) -> None:
    code = HOLD.replace('"training")', '"prediction", shared=True)')
    call = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(call, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        with hold_folder(tmp_path, "prediction", shared=True):
            pass
        assert (tmp_path / LOCK).exists()  # the other one's still
        with (
            pytest.raises(BlockingIOError, match="in use by prediction"),
            hold_folder(tmp_path, "prediction"),
        ):
            pytest.fail("held beside a shard")
        process.kill()
    with hold_folder(tmp_path, "prediction"):
        pass
    assert not (tmp_path / LOCK).exists()
