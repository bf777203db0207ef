"""An error on the command line is its whole message, the file and the remedy; the code is 2."""

from __future__ import annotations

import argparse
import errno
import os
import subprocess
import sys

import pytest

from bccd_d2 import cli
from bccd_d2.cli.common import run
from bccd_d2.io.errors import explain


def reported(work):
    """A command that does this."""
    return lambda argv: run(argparse.ArgumentParser(), work, argv, detectron2=False)



def test_a_word_that_a_detector_may_need_prints_no_noise_of_its_libraries(capfd):
    code = """import argparse, warnings; from bccd_d2.cli.common import run
def work(args): warnings.warn_explicit("old", FutureWarning, "s.py", 1, module="torch.jit._script")
run(argparse.ArgumentParser(), work, [], detectron2=False)"""
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
    assert capfd.readouterr().err == ""


def full_disk() -> OSError:
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "out/a.png")


WORKER = """Caught ValueError in DataLoader worker process 0.
Original Traceback (most recent call last):
  File "x.py", line 3, in f
    raise KeyError("a")
KeyError: 'a'

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "x.py", line 3, in f
    raise ValueError("bad")
ValueError: image a.png is empty; copy it again
"""


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (full_disk(), "out/a.png: No space left on device; free some space, or choose another "
         "disk"),
        (FileNotFoundError(2, "No such file or directory", "a"), "a: No such file or directory; "
         "check the path"),
        (PermissionError("cannot write a. Choose a writable folder."), "cannot write a. Choose a "
         "writable folder."),
        (KeyError("PRESET"), "'PRESET' is missing in what was read; was the file written by "
         "another version?"),
        (KeyError("no split 'a'; it has b"), "no split 'a'; it has b"),
        (KeyError(101), "101 is missing in what was read; was the file written by another "
         "version?"),
        (KeyError(), "'' is missing in what was read; was the file written by another version?"),
        (ValueError("a", "b"), "('a', 'b')"),
        (ValueError(), "ValueError without a message"),
        (ValueError("bad \x1b[2J name\udcff"), r"bad \x1b[2J name\xff"),
        (MemoryError(), "out of memory (no memory is left); use smaller tiles, crops or batches"),
        (ImportError("pip install x"), "pip install x"),
        (ValueError(WORKER), "image a.png is empty; copy it again"),
    ],
)  # fmt: skip
def test_messages(error: Exception, message: str) -> None:
    assert explain(error) == message
    assert reported(lambda argv: throw(error))([]) == 2


def throw(error: BaseException) -> int:
    raise error


def test_bytes_that_are_no_text_are_told() -> None:
    with pytest.raises(UnicodeDecodeError) as caught:
        b"\xff".decode()
    assert "can't decode byte 0xff" in explain(caught.value)
    assert explain(caught.value).endswith("; save the file as UTF-8 text")


def test_the_error_of_a_spawned_process_is_told_as_its_own() -> None:
    torch = pytest.importorskip("torch")
    from torch.multiprocessing.spawn import ProcessRaisedException

    trace = "\n\n-- Process 0 terminated with the following error:\nTraceback (most recent call " \
            "last):\n  File \"a.py\", line 1, in f\nValueError: run is in use by training\n"
    error = ProcessRaisedException(trace, 0, 1)
    assert explain(error) == "run is in use by training"
    assert reported(lambda argv: throw(error))([]) == 2
    assert explain(torch.OutOfMemoryError("CUDA out of memory. Tried\nmore")).startswith(
        "out of memory (CUDA out of memory. Tried);"
    )


def test_what_ends_otherwise(capsys) -> None:
    assert reported(lambda argv: 7)([]) == 7
    assert reported(lambda argv: throw(KeyboardInterrupt()))([]) == 130
    with pytest.raises(SystemExit):
        reported(lambda argv: throw(SystemExit(3)))([])
    with pytest.raises(TypeError):  # a fault of ours keeps its traceback
        reported(lambda argv: throw(TypeError("x")))([])
    reported(lambda argv: throw(ValueError("told")))([])
    assert capsys.readouterr().err.splitlines()[-1] == "error: told"


def test_a_reader_that_goes_away_is_no_error(tmp_path) -> None:
    code = (
        "import argparse, sys\nfrom bccd_d2.cli.common import run\n"
        "def main(args):\n    for i in range(10**5): print(i)\n"
        "sys.exit(run(argparse.ArgumentParser(), main, [], detectron2=False))\n"
    )
    command = f'"{sys.executable}" -c "$CODE" | head -n 1'
    done = subprocess.run(
        command, shell=True, env={**os.environ, "CODE": code}, capture_output=True, text=True
    )
    assert (done.stdout, done.stderr) == ("0\n", "")


@pytest.mark.parametrize(
    "words",
    [
        ("report", "RUN", "--out"),
        ("explore", "--dataset", "DATASET", "--out"),
        ("compare", "--model", "a=otsu_watershed", "--out"),
        ("export", "weights", "RUN", "--name", "a", "--out"),
    ],
)
def test_an_output_that_cannot_be_written_ends_it_before_the_work(words, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert cli.main([*words, str(tmp_path / "file" / "out")]) == 2
    told = capsys.readouterr().err
    assert "file" in told and "RUN" not in told and "DATASET" not in told
