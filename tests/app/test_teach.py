"""Lessons: the command that is run, what it says, and which image comes next."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bccd_d2.api import PredictedCells
from bccd_d2.app import teach
from bccd_d2.app.results import Corrections, Findings
from bccd_d2.app.teach import FineTune, Progress, Taught, next_field
from bccd_d2.cli.finetune import get_parser
from bccd_d2.inference.trust import Trust


@pytest.fixture
def store(tmp_path) -> Path:
    for kind in ("images", "labels"):
        (tmp_path / kind).mkdir()
        for name in ("a.png", "b.png"):
            (tmp_path / kind / name).touch()
    return tmp_path


def run(monkeypatch, store: Path, script: str) -> list:
    """A lesson whose `bccd finetune` is a script."""
    calls = []

    def popen(call, **how):
        calls.append(call)
        return real([sys.executable, "-c", script, call[call.index("--out") + 1]], **how)

    real = teach.subprocess.Popen
    monkeypatch.setattr(teach, "_POLL", 0.02)
    monkeypatch.setattr(teach.subprocess, "Popen", popen)
    one = FineTune("start.safetensors", device="cpu")
    return [one, calls, *one.teach(store, 0.5)]


RECORD = {"kept": True, "score": "F1@.5", "before": 0.8, "after": 0.9, "train_images": 1,
          "held_out_images": 1}  # fmt: skip
WRITE = "import sys,time,pathlib;p=pathlib.Path(sys.argv[1]);p.mkdir();time.sleep(.1);"


def test_the_command_parses_and_one_image_is_not_held_out(store):
    given = FineTune("w.pth", device="cpu").command(store, store / "out", 2.5)
    args = get_parser().parse_args(given[1:])
    assert given[0] == "finetune" and not args.no_holdout
    assert (args.minutes, args.weights, args.device) == (2.5, "w.pth", "cpu")
    (store / "labels" / "b.png").unlink()
    assert "--no-holdout" in FineTune().command(store, store / "out", 5)


def test_a_lesson_says_how_far_it_is_and_moves_the_model_on(monkeypatch, store):
    text = json.dumps(RECORD)
    script = WRITE + f"(p/'finetune.json').write_text({text!r})"
    one, calls, *words, last = run(monkeypatch, store, script)
    assert all(isinstance(word, Progress) and 0 <= word.share < 1 for word in words) and words
    assert isinstance(last, Taught) and last.kept and one.weights == last.folder
    assert "learned from: 1, held out: 1; F1@.5 0.800 before, 0.900 after" in last.text
    assert "taught_1" in last.folder
    assert calls[0][calls[0].index("--weights") + 1] == "start.safetensors"


@pytest.mark.parametrize(("told", "least", "most"), [(15.0, 0.2, 0.2), (0.0, 1e-9, 0.19)])
def test_the_bar_goes_by_processor_time_where_it_is_told(monkeypatch, store, told, least, most):
    monkeypatch.setattr(teach, "processor_seconds", lambda _: told)
    script = WRITE + f"(p/'finetune.json').write_text({json.dumps(RECORD)!r})"
    *_, word, _ = run(monkeypatch, store, script)
    assert least <= word.share <= most  # of half a minute and 45 s


def test_a_model_that_is_not_better_is_left(monkeypatch, store):
    text = json.dumps(RECORD | {"kept": False, "after": 0.7})
    one, _, *_, last = run(monkeypatch, store, WRITE + f"(p/'finetune.json').write_text({text!r})")
    assert not last.kept and one.weights == "start.safetensors" and "not better" in last.text


def test_a_training_that_fails_says_its_last_line(monkeypatch, store):
    with pytest.raises(ValueError, match="error: no image to learn from"):
        run(monkeypatch, store, "print('x'); print('error: no image to learn from')")


def test_the_next_image_is_the_one_in_doubt_that_nobody_corrected():
    def field(score: float, trust: float | None = None) -> Findings:
        cells = PredictedCells.from_label_map(np.eye(4, dtype=np.int32), [score])
        found = None if trust is None else Trust(trust, (), {})
        return Findings("x", replace(cells, trust=found), {})

    corrected = replace(field(0.1), corrections=Corrections(field(0.1).cells, 0.5))
    images = {"sure": field(0.9), "doubtful": field(0.6), "corrected": corrected}
    assert next_field(images) == "doubtful"
    assert next_field(images | {"distrusted": field(0.99, 0.1)}) == "distrusted"
    assert next_field({"corrected": corrected}) == ""
