"""The report of a run whose every number is known, whole and with parts missing."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("jinja2")

from bccd_d2.io.atomic import write_png_atomic
from bccd_d2.report.run import finish
from bccd_d2.report.run.page import write_report
from bccd_d2.report.run.pictures import event_box, pick_examples

from .conftest import TRUTH, rectangles, write_small_run
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
        (["metrics.json", "config.yaml", "threshold_sweep.json"], "squares_test: 3 im", SECTIONS),
        (["evaluation"], "No evaluation yet", ["glance", "setup", "training", "threshold"]),
        (["../squares/images"], "images are not in", SECTIONS),
        (["../squares"], "Give the place of the converted dataset with --dataset", SECTIONS),
        (["evaluation/squares_test/verdicts.json"], "No verdicts.json: no pictures", SECTIONS),
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


def test_without_the_dataset_only_its_pictures_are_missing(small_run: Path, small_dataset: Path):
    """The evaluation stored what the report needs: a dataset converted anew spoils nothing."""
    whole = json.loads(write_report(small_run)[2].read_text())
    truth = small_dataset / "annotations/instances_test.json"
    content = json.loads(truth.read_text())
    content["images"], content["annotations"] = content["images"][:1], []
    truth.write_text(json.dumps(content))
    assert json.loads(write_report(small_run)[2].read_text()) == whole
    shutil.rmtree(small_dataset)
    page, _, numbers = write_report(small_run)
    read = check_self_contained(page.read_text())
    assert not [image for image in read.images if "jpeg" in image["src"][:20]]
    assert len(read.images) == 8 and "2 true cells lost" not in read.text
    left = json.loads(numbers.read_text())
    assert list(left.pop("missing")) == ["images"] and not whole.pop("missing") and left == whole


def test_no_validation_and_no_predictions(small_dataset: Path, tmp_path: Path):
    run = write_small_run(tmp_path / "run", small_dataset, dict.fromkeys(TRUTH, []))
    log = run / "metrics.json"
    rows = [json.loads(line) for line in log.read_text().splitlines()[:3]]
    log.write_text("".join(json.dumps(row) + "\n" for row in [*rows, rows[1]]))  # resumed at 20
    page = check_self_contained(write_report(run)[0].read_text())
    assert "No validation: " in page.text and "predicted no cell" in page.text
    assert "20 training iterations" in page.text and "Missed: 4 of 6" in page.headings


def test_an_evaluation_of_before_asks_for_another(small_run: Path):
    path = small_run / "evaluation/squares_test/scores.json"
    content = json.loads(path.read_text())
    missing = "no intervals, calibration, failures or pictures"
    for gone in (("intervals_95", "calibration", "matched_iou", "failures"), ("calibration",)):
        path.write_text(json.dumps({k: v for k, v in content.items() if k not in gone}))
        page = check_self_contained(write_report(small_run)[0].read_text())
        remedy = f"bccd train --config-file CONFIG --eval-only OUTPUT_DIR {small_run}"
        assert f"earlier version: {missing}. Evaluate again with: {remedy}" in page.text
        assert page.sections == SECTIONS and "mask AP" in page.text


def test_verdicts_that_do_not_fit_are_named(small_run: Path, small_dataset: Path):
    path = small_run / "evaluation/squares_test/verdicts.json"
    content = json.loads(path.read_text())

    def shown(change) -> str:
        changed = json.loads(json.dumps(content))
        change(changed["images"][0])
        path.write_text(json.dumps(changed))
        return check_self_contained(write_report(small_run)[0].read_text()).text

    again = "evaluate again"
    text = shown(lambda image: image["truth"]["masks"].__setitem__(0, "5000"))
    assert "verdicts.json, truth of a.png: rle has broken counts" in text and again in text
    text = shown(lambda image: image["prediction"]["verdicts"].pop())
    assert "prediction of a.png: masks, verdicts and events do not fit together" in text
    text = shown(lambda image: image["events"][0]["truth"].append(99))
    assert "truth of a.png: masks, verdicts and events do not fit together" in text
    text = shown(lambda image: image["events"].append({"kind": "merged", "truth": [],
                                                       "prediction": []}))  # fmt: skip
    assert "a.png has an event without cells" in text
    text = shown(lambda image: image.update(file_name="../a.png"))
    assert "'../a.png' leads out of" in text
    with pytest.raises(ValueError, match="verdicts.json and per_image.csv are of other images"):
        shown(lambda image: image.update(image_id=77))
    path.write_text(json.dumps(content))
    write_png_atomic(small_dataset / "images/a.png", np.zeros((50, 50, 3), np.uint8))
    page = check_self_contained(write_report(small_run)[0].read_text())
    assert "a.png is not the one that was evaluated: it has height and width (50, 50)" in page.text


def test_a_broken_table_is_named(small_run: Path):
    table = small_run / "evaluation/squares_test/per_image.csv"
    table.write_text(table.read_text().replace("c.png,2", "c.png,two"))
    with pytest.raises(ValueError, match=r"per_image.csv is broken .*truth must be a finite numb"):
        write_report(small_run)


def event(kind: str, truth: int, prediction: int) -> dict:
    return {"kind": kind, "truth": list(range(truth)), "prediction": list(range(prediction))}


def test_examples_come_from_several_images_those_of_most_cells_first():
    events = [event("missed", 1, 0)] * 9 + [event("merged", 2, 1), event("merged", 3, 1)]
    chosen = pick_examples({7: events, 9: events}, "missed", most=5)
    assert [number for number, _ in chosen] == [7, 7, 9, 9]
    chosen = pick_examples({7: events, 9: events}, "merged", most=3)
    assert [len(one["truth"]) for _, one in chosen] == [3, 3, 2]
    sides = ((rectangles([(0, 0, 9, 9), (30, 0, 50, 20)]), [1]),
             (rectangles([(40, 0, 90, 25)]), [0]))  # fmt: skip
    assert event_box(sides).tolist() == [30, 0, 90, 25]


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
        ([str(tmp_path)], "nor scores.json of bccd evaluate"),
        ([str(broken)], "is not valid json"),
        ([str(small_run), "--split", "other"], "squares_test"),
        ([str(small_run), "--dataset", str(tmp_path)], "dataset.json does not exist"),
    ]:
        assert report.main(call) == 2
        error = capsys.readouterr().err
        assert message in error and len(error.splitlines()) == 1


def test_what_bccd_evaluate_left_is_a_run_without_training(small_run: Path, tmp_path: Path):
    files = tmp_path / "scores"
    shutil.copytree(small_run / "evaluation" / "squares_test", files)
    whole, *_ = write_report(small_run)
    alone, *_ = write_report(files)
    page, of_run = (check_self_contained(one.read_text()) for one in (alone, whole))
    assert page.sections == SECTIONS and "scored on squares_test" in page.text
    photographs = [[i["src"] for i in one.images if "jpeg" in i["src"]] for one in (page, of_run)]
    assert photographs[0] == photographs[1] != [] and "No training log" in page.text


def test_a_finished_run_ends_well_without_a_library_too(small_run: Path, monkeypatch, caplog):
    page = small_run / "report" / "report.html"
    assert finish.report_line(small_run) == f"report:   {page}" and page.is_file()
    (small_run / "evaluation/squares_test/scores.json").write_text("{")
    line = finish.report_line(small_run)
    assert "no report page" in line and "is not valid json" in line and "bccd report" in line
    monkeypatch.setitem(sys.modules, "jinja2", None)
    for name in ("run.page", "page"):
        monkeypatch.delitem(sys.modules, f"bccd_d2.report.{name}")
    assert "jinja2 is not installed; pip install jinja2" in finish.report_line(small_run)
    import report

    assert report.main([str(small_run)]) == 2
    monkeypatch.setenv("RANK", "1")
    assert finish.report_line(small_run) == ""
    monkeypatch.delenv("RANK")
    assert finish.report_line(small_run / "nothing") == ""
