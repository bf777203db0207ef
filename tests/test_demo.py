"""The demo from nothing to pictures, small; a second call reuses what is there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .small import SMALL_DETECTOR

pytest.importorskip("detectron2")

SMALL = [*SMALL_DETECTOR, "INPUT.CROP_SIZE", "96", "SOLVER.IMS_PER_BATCH", "2",
         "TEST.LOSS_BATCHES", "1",
         "INPUT.IMAGE_SCALE", "0.2"]  # fmt: skip


def test_demo_ends_with_pictures_and_a_table(tmp_path: Path, capsys) -> None:
    import demo

    call = ["--out", str(tmp_path), "--smears", "4", "--iterations", "2", "--processes", "1"]
    assert demo.main([*call, *SMALL]) == 0
    printed = capsys.readouterr().out
    assert "AP50" in printed and "pictures:" in printed
    page = tmp_path / "train" / "report" / "report.html"
    assert printed.splitlines()[-1] == f"report:   {page}" and page.is_file()
    scores = json.loads((tmp_path / "train/evaluation/bccd_test/scores.json").read_text())
    assert scores["images"] == 2
    pictures = sorted((tmp_path / "overlays").glob("*.png"))
    assert len(pictures) == 3
    kept = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*") if p.suffix in (".pth", ".png")}
    assert demo.main([*call, *SMALL]) == 0
    again = {p: p.stat().st_mtime_ns for p in kept}
    assert {p: t for p, t in again.items() if "overlays" not in p.parts} == {
        p: t for p, t in kept.items() if "overlays" not in p.parts
    }
