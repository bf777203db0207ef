"""The shipped model taught drawn smears for seconds: what is kept, said and refused."""

from __future__ import annotations

import json
import math
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

pytest.importorskip("detectron2")

from bccd_d2.cli import finetune, predict
from bccd_d2.experiments import fine_tuning
from bccd_d2.experiments.fine_tuning import HeldOutScore
from bccd_d2.models.load import load_model

from ..weak import sized_model, smears


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four smears with labels, boxes and points, and a model that knows the size of cells."""
    folder = smears(tmp_path_factory.mktemp("finetune"), 4)
    sized_model(folder / "sized.safetensors")
    return folder


def teach(drawn: Path, kind: str, out: Path, *more: str) -> int:
    given = ["--images", str(drawn / "images"), f"--{kind}", str(drawn / kind), "--out", str(out)]
    given += ["--classes", str(drawn / "classes.txt")] if kind == "boxes" else []
    return finetune.main([*given, "--device", "cpu", "--minutes", "0.03", "--quiet", *more])


def state(path: Path | str) -> dict[str, torch.Tensor]:
    return load_model(str(path), device="cpu").net.state_dict()


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor], part: str = "") -> bool:
    return all(torch.equal(one[name], other[name]) for name in one if part in name)


def scores(monkeypatch: pytest.MonkeyPatch, *values: float, finer: Sequence[float] = ()) -> None:
    """Have models score these values, in turn."""
    aps = finer or [math.nan] * len(values)
    left = [HeldOutScore("F1@.5", value, 1, ap) for value, ap in zip(values, aps, strict=True)]
    monkeypatch.setattr(fine_tuning, "_score", lambda *_: left.pop(0))


def test_the_shipped_model_learns_from_labels_and_says_by_how_much(drawn, tmp_path, capsys):
    out = tmp_path / "mine"
    assert teach(drawn, "labels", out) == 0
    text = capsys.readouterr().out
    record = json.loads((out / "finetune.json").read_text())
    assert (record["train_images"], record["held_out_images"]) == (3, 1)
    assert record["score"] == "F1@.5" and 0.5 < record["before"] <= 1
    gain = record["after"] - record["before"]
    assert record["kept"] == (gain > 0 or (gain == 0 and record["finer"][1] > record["finer"][0]))
    assert (record["finer"] is not None) == (gain == 0)
    assert f"new {record['after']:.3f} ({record['after'] - record['before']:+.3f})" in text
    assert 0 < record["minutes"] < 0.2
    assert load_model(str(out)).score_threshold == load_model("").score_threshold
    given = ["--images", str(drawn / "images" / "smear0.png"), "--weights", str(out),
             "--out", str(tmp_path / "found"), "--save", "csv", "--quiet"]  # fmt: skip
    assert predict.main(given) == 0


def test_a_better_model_is_kept_with_the_statistics_of_the_start(drawn, tmp_path, monkeypatch):
    scores(monkeypatch, 0.5, 0.6)
    assert teach(drawn, "labels", tmp_path / "mine") == 0
    start, new = state(""), state(tmp_path / "mine")
    assert not same(start, new, "weight")
    assert same(start, new, "running_")
    assert json.loads((tmp_path / "mine" / "finetune.json").read_text())["kept"]


@pytest.mark.parametrize("after", [0.5, 0.4])
def test_a_model_that_is_not_better_gives_way_to_the_start(
    drawn, tmp_path, monkeypatch, capsys, after
):
    scores(monkeypatch, 0.5, after)
    assert teach(drawn, "labels", tmp_path / "mine") == 0
    assert same(state(""), state(tmp_path / "mine"))
    assert "not better" in capsys.readouterr().out


@pytest.mark.parametrize(("finer", "kept"), [((0.7, 0.8), True), ((0.8, 0.7), False)])
def test_ap_decides_where_the_score_is_equal(drawn, tmp_path, monkeypatch, capsys, finer, kept):
    scores(monkeypatch, 0.5, 0.5, finer=finer)
    assert teach(drawn, "labels", tmp_path / "mine") == 0
    record = json.loads((tmp_path / "mine" / "finetune.json").read_text())
    assert record["kept"] == kept and record["finer"] == list(finer)
    assert f"AP on them decided: {finer[0]:.3f}, new {finer[1]:.3f}" in capsys.readouterr().out


@pytest.mark.parametrize(("kind", "score"), [("boxes", "F1@.5"), ("points", "alone")])
def test_boxes_and_points_are_scored_as_what_they_are(drawn, tmp_path, kind, score):
    weights = ["--weights", str(drawn / "sized.safetensors")]
    assert teach(drawn, kind, tmp_path / "mine", *weights) == 0
    record = json.loads((tmp_path / "mine" / "finetune.json").read_text())
    assert record["score"] == score and record["before"] > 0.5
    assert load_model(str(tmp_path / "mine")).diameter == 100


def only(drawn: Path, folder: Path, *numbers: int) -> Path:
    """A copy with some of the images."""
    shutil.copytree(drawn, folder)
    for path in folder.glob("*/smear[0-9].*"):
        if int(path.stem[5:]) not in numbers:
            path.unlink()
    return folder


def test_one_image_needs_the_word_that_keeps_a_model_unchecked(drawn, tmp_path, capsys):
    one = only(drawn, tmp_path / "one", 2)
    assert teach(one, "labels", tmp_path / "mine") == 2
    assert "add --no-holdout" in capsys.readouterr().err
    assert teach(one, "labels", tmp_path / "mine", "--no-holdout") == 0
    assert "nobody checked" in capsys.readouterr().out
    assert not same(state(""), state(tmp_path / "mine"), "weight")


def test_a_file_that_cannot_be_read_is_listed(drawn, tmp_path, capsys):
    three = only(drawn, tmp_path / "three", 0, 1, 2)
    (three / "images" / "smear1.png").write_bytes(b"no image")
    assert teach(three, "labels", tmp_path / "mine") == 1
    assert "smear1.png" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("kind", "classes", "more", "message"),
    [
        ("boxes", "RBC", ["--weights", "cpu_best"], "knows cells of one size only"),
        ("boxes", "Platelets", ["--weights", "sized"], "add --ignore Platelets"),
        ("labels", "RBC", ["--minutes", "0"], "minutes must be above 0"),
        ("labels", "RBC", ["--holdout", "1"], r"held_out must be in \[0, 1\)"),
        ("labels", "RBC", ["--weights", "nowhere.safetensors"], "nowhere"),
    ],
)
def test_what_cannot_work_is_said_before_minutes_are_spent(
    drawn, tmp_path, capsys, monkeypatch, kind, classes, more, message
):
    monkeypatch.setattr(fine_tuning, "_train", lambda *_: pytest.fail("minutes were spent"))
    here = only(drawn, tmp_path / "here", 0, 1)
    (here / "classes.txt").write_text(classes)
    more = [str(drawn / "sized.safetensors") if word == "sized" else word for word in more]
    assert teach(here, kind, tmp_path / "mine", *more) == 2
    error = capsys.readouterr().err
    assert re.search(message, error), error
