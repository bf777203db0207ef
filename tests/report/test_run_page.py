"""The report of a run whose every number is known, whole and with parts missing."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import pytest

pytest.importorskip("jinja2")
pytest.importorskip("matplotlib")

from bccd_d2.report.run import finish
from bccd_d2.report.run.page import write_report

from .pages import check_self_contained

SECTIONS = ["glance", "setup", "training", "scores", "threshold", "calibration", "counts",
            "images", "failures"]  # fmt: skip
KINDS = ("Merged", "Missed", "Spurious")


def test_a_whole_run(small_run: Path, small_dataset: Path):
    paths = write_report(small_run)
    assert [path.name for path in paths] == ["report.html", "report.md", "metrics.json"]
    html, markdown, numbers = (path.read_text() for path in paths)
    assert len(html) < 8_000_000
    page = check_self_contained(html)
    assert page.sections == SECTIONS
    assert not any("No " in words for words in page.words if words.endswith("."))
    assert "squares_test: 3 images, 6 cells" in page.text and "40 iterations" in page.text
    assert "about 20.0 s of steps" in page.text
    # losses, scores, precision-recall, sweep, reliability, two of counts, IoU; then photographs
    drawings = [image for image in page.images if "svg" in image["src"][:20]]
    photographs = [image for image in page.images if "jpeg" in image["src"][:20]]
    assert len(drawings) == 8
    assert len(photographs) == 3 * 3 + 5  # three images; one merged, three missed, one spurious
    assert [h.split(":")[0] for h in page.headings if h.split(":")[0] in KINDS] == list(KINDS)
    assert "| mask AP | " in markdown and "## Failures" in markdown

    found = json.loads(numbers)
    stored = json.loads((small_run / "evaluation/squares_test/scores.json").read_text())
    assert found["scores"] == stored["scores"] and found["missing"] == {}
    for group in ("segm", "instances", "interior", "pixels"):
        for score, (low, high) in found["intervals_95"][group].items():
            assert low <= stored["scores"][group][score] <= high
    events = {kind: count["events"] for kind, count in found["failures"].items()}
    assert events == {"merged": 1, "split": 0, "missed": 3, "spurious": 1, "badly outlined": 0}
    assert found["calibration"]["counts"] == [0, 0, 1, 0, 0, 0, 0, 1, 1, 1]
    assert found["operating_point"]["score_threshold"] == 0.5 and found["iterations"] == 40


def test_how_many_examples(small_run: Path):
    page = check_self_contained(write_report(small_run, examples=1)[0].read_text())
    photographs = [image for image in page.images if "jpeg" in image["src"][:20]]
    assert len(photographs) == 3 * 3 + 3 and "Missed: 1 of 3" in page.headings
    with pytest.raises(ValueError, match="examples must be at least 1, got 0"):
        write_report(small_run, examples=0)


@pytest.mark.parametrize(
    ("gone", "sentence", "sections"),
    [
        (["threshold_sweep.json"], "No threshold sweep", SECTIONS),
        (["metrics.json"], "No training log", SECTIONS),
        (["metrics.json", "config.yaml", "threshold_sweep.json"], "not there any more", SECTIONS),
        (["evaluation"], "No evaluation yet", ["glance", "setup", "training", "threshold"]),
        (["../squares/images"], "images are not in", SECTIONS),
        (["../squares"], "not there any more", SECTIONS),
        (["../squares/images/a.png"], "a.png does not exist", SECTIONS),
        (["evaluation/squares_test/per_image.csv"], "No per_image.csv", SECTIONS),
    ],
)
def test_what_is_missing_is_said_in_a_sentence(small_run: Path, gone, sentence, sections):
    for name in gone:
        path = small_run / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    page = check_self_contained(write_report(small_run)[0].read_text())
    assert sentence in page.text
    assert page.sections == sections


def test_no_validation_no_predictions_and_a_dataset_converted_anew(small_run: Path, small_dataset):
    log = small_run / "metrics.json"
    rows = [json.loads(line) for line in log.read_text().splitlines()[:3]]
    log.write_text("".join(json.dumps(row) + "\n" for row in [*rows, rows[1]]))  # resumed at 20
    (small_run / "evaluation/squares_test/coco_instances_results.json").write_text("[]")
    page = check_self_contained(write_report(small_run)[0].read_text())
    assert "No validation: " in page.text and "predicted no cell" in page.text
    assert "20 training iterations" in page.text
    truth = small_dataset / "annotations/instances_test.json"
    content = json.loads(truth.read_text())
    content["images"], content["annotations"] = content["images"][:1], []
    truth.write_text(json.dumps(content))
    page = check_self_contained(write_report(small_run)[0].read_text())
    assert "converted anew" in page.text and page.sections == SECTIONS


def test_scores_older_than_the_model_are_called_so(small_run: Path):
    summary = small_run / "evaluation" / "metrics.json"
    content = json.loads(summary.read_text())
    model = small_run / "model_best.pth"
    for age, warned in ((-10, False), (10, True)):
        model.touch()
        summary.write_text(json.dumps(content | {"weights": str(model)}))
        when = summary.stat().st_mtime + age
        os.utime(model, (when, when))
        page = check_self_contained(write_report(small_run)[0].read_text())
        assert ("earlier state of the run" in page.text) == warned


def test_the_command_line(small_run: Path, small_dataset: Path, tmp_path: Path, capsys):
    import report

    moved = tmp_path / "elsewhere"
    small_dataset.rename(moved)
    out = tmp_path / "out"
    assert report.main([str(small_run), "--dataset", str(moved), "--out", str(out)]) == 0
    assert str(out / "report.html") in capsys.readouterr().out
    assert json.loads((out / "metrics.json").read_text())["failures"]["merged"]["events"] == 1
    broken = tmp_path / "broken"
    (broken / "evaluation").mkdir(parents=True)
    (broken / "evaluation" / "metrics.json").write_text("{")
    for call, message in [
        ([str(tmp_path / "none")], "is no folder"),
        ([str(tmp_path)], "holds neither"),
        ([str(broken)], "is not valid json"),
        ([str(small_run), "--split", "other"], "squares_test"),
        ([str(small_run), "--dataset", str(tmp_path)], "dataset.json does not exist"),
    ]:
        assert report.main(call) == 2
        error = capsys.readouterr().err
        assert message in error and len(error.splitlines()) == 1


def test_a_finished_run_ends_well_with_or_without_the_extra(small_run: Path, monkeypatch, caplog):
    page = small_run / "report" / "report.html"
    assert finish.report_line(small_run) == f"report:   {page}" and page.is_file()
    (small_run / "evaluation/squares_test/scores.json").write_text("{")
    line = finish.report_line(small_run)
    assert "no report page" in line and "is not valid json" in line and "bccd report" in line
    monkeypatch.setitem(sys.modules, "jinja2", None)
    for name in ("run.page", "page"):
        monkeypatch.delitem(sys.modules, f"bccd_d2.report.{name}")
    assert "jinja2 is not installed; pip install 'bccd_d2[report]'" in finish.report_line(small_run)
    import report

    assert report.main([str(small_run)]) == 2
    monkeypatch.setenv("RANK", "1")
    assert finish.report_line(small_run) == ""
    monkeypatch.delenv("RANK")
    assert finish.report_line(small_run / "nothing") == ""
