"""run.json: one session a start, kept over a resume."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("detectron2")


def test_sessions_add_up_on_resume_and_begin_anew_without(tmp_path: Path) -> None:
    from bccd_d2.training.provenance import write_record

    path = tmp_path / "run.json"
    counts = {"train": {"images": 2, "cells": 9}}
    dataset = {"name": "squares", "counts": counts, "splits": {}}
    for again, seconds in ((True, [1.5]), (True, [1.5, 1.5]), (False, [1.5])):
        write_record(path, "training", 1.5, "cpu", dataset, again)
        sessions = json.loads(path.read_text())["sessions"]
        assert [session["seconds"] for session in sessions] == seconds
    (session,) = sessions
    assert session["dataset"] == {"name": "squares", "counts": counts}
    assert session["what"] == "training" and session["processes"] == 1
    assert " cores of " in session["machine"] and session["versions"]["python"][0] == "3"
