"""Cells are found in another process: what hangs, swells or dies there ends one image alone."""

from __future__ import annotations

import functools
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from page_stand_in import DarkParts, Harmful, missing

from bccd_d2.app.upload import Limits
from bccd_d2.app.worker import Finder, Job

LIMITS = Limits(seconds=60, memory_gb=0.5)  # a loaded machine takes seconds to fill that memory
HASTY = Limits(seconds=4, memory_gb=0.5)
DEEDS = {  # red of the first pixel: what is said
    2: "needs more than the 0.5 GB of memory allowed here",
    3: "ended the process that looked at it",
}


@pytest.fixture(scope="module")
def finder():
    made = Finder(Harmful, LIMITS)
    yield made
    made.close()


def saved(folder: Path, image: np.ndarray, deed: int) -> Job:
    picture = image.copy()
    picture[0, 0] = deed
    cv2.imwrite(str(folder / "a.png"), picture[..., ::-1])
    return Job(str(folder / "a.png"), "smear.png", 0.5)


def test_the_model_is_described_and_finds_what_it_finds_here(finder, image, tmp_path):
    assert (finder.name, finder.score_threshold) == ("stand-in <1>", 0.4)
    findings, view = finder.find(saved(tmp_path, image, 200))
    wanted = DarkParts().predict(cv2.imread(str(tmp_path / "a.png"))[..., ::-1], 0.05)
    assert len(findings.cells) == len(wanted) > 3 and "smear.png" in view
    findings, _ = finder.find(Job("", "", 0.5))
    assert findings.name == "drawn_example.png"


@pytest.mark.parametrize("deed", DEEDS)
def test_what_does_harm_is_ended_and_the_next_image_is_done(deed, finder, image, tmp_path):
    with pytest.raises(ValueError, match=DEEDS[deed]) as caught:
        finder.find(saved(tmp_path, image, deed))
    assert "image smear.png" in str(caught.value)
    findings, _ = finder.find(saved(tmp_path, image, 200))
    assert len(findings.cells) > 3


def test_what_hangs_is_ended(image, tmp_path):
    hasty = Finder(Harmful, HASTY)
    start = time.monotonic()
    with pytest.raises(ValueError, match="smear.png takes more than the 4 s allowed here for find"):
        hasty.find(saved(tmp_path, image, 1))
    assert time.monotonic() - start < 30
    hasty.close()


def test_a_failing_model_and_a_bad_file_do_not_end_it(finder, image, tmp_path):
    before = finder._process.pid if finder._process.is_alive() else None
    with pytest.raises(RuntimeError, match="the network fails"):
        finder.find(saved(tmp_path, image, 4))
    (tmp_path / "a.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match="smear.png"):
        finder.find(Job(str(tmp_path / "a.png"), "smear.png", 0.5))
    assert before is None or finder._process.pid == before


def test_a_model_that_is_not_there_is_said_at_once():
    with pytest.raises(FileNotFoundError, match="no weights at x.pth"):
        Finder(missing, LIMITS)


def test_closing_does_not_wait_for_an_image_that_hangs(image, tmp_path):
    finder = Finder(functools.partial(Harmful), Limits())
    told: list[str] = []

    def ask() -> None:
        try:
            finder.find(saved(tmp_path, image, 1))
        except ValueError as error:
            told.append(str(error))

    asking = threading.Thread(target=ask)
    asking.start()
    time.sleep(0.5)
    start = time.monotonic()
    finder.close()
    asking.join(timeout=5)
    assert time.monotonic() - start < 3 and len(told) == 1
    with pytest.raises(ValueError, match="being closed"):
        finder.find(Job("", "", 0.5))
