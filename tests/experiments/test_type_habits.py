"""Whose annotators' habit is followed, and on which images."""

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from bccd_d2.experiments.types.examples import Examples
from bccd_d2.experiments.types.fit import FitOptions
from bccd_d2.experiments.types.habits import fit_habit, look_of
from bccd_d2.experiments.types.run import Learned, TypingOptions
from bccd_d2.masks.cell_crops import CropOptions
from bccd_d2.masks.cell_types import TypeOptions, small_chance
from bccd_d2.masks.classes import Classes
from bccd_d2.masks.habits import Look


def test_a_laboratory_s_look_tells_it_from_the_others_or_is_none():
    random = np.random.default_rng(0)
    own, others = random.normal(100, 2, (200, 6)), random.normal(200, 2, (50, 6))
    look = look_of(np.vstack([own, np.full((1, 6), np.nan)]), others)
    low, high = np.quantile(own, [0.01, 0.99], axis=0)
    assert look.low == pytest.approx(low - np.maximum((high - low) / 2, 3))
    assert look.high == pytest.approx(high + np.maximum((high - low) / 2, 3))
    assert look_of(own, np.zeros((0, 6))) is not None
    assert np.subtract(look_of(own[:1], others).high, own[0]) == pytest.approx(3)
    assert look_of(own, np.vstack([others, own[:2]])) is None  # 2 of 52 look alike
    assert look_of(np.full((3, 6), np.nan), others) is None


def test_a_habit_is_followed_where_it_finds_more_on_held_out_cells():
    random = np.random.default_rng(0)
    logits, scores = random.normal(0, 3, 2000), random.uniform(0.7, 1, 2000)
    counted = (random.random(2000) < 1 / (1 + np.exp(-logits))).astype(int)
    look = Look((0,) * 6, (1,) * 6)

    def f1(kept):
        return 2 * (kept & (counted == 1)).sum() / (kept.sum() + (counted == 1).sum())

    habit = fit_habit(scores, logits, counted, f1, 0.75, look)
    assert f1(habit.rescored(scores, logits, 0.75) >= 0.75) > f1(scores >= 0.75) + 0.05
    assert habit.look is look
    blind = random.normal(0, 3, 2000)
    assert fit_habit(scores, blind, counted, f1, 0.5, look) is None
    assert fit_habit(scores, logits, np.ones(2000, int), f1, 0.5, look) is None


def test_who_marks_no_small_cells_says_nothing_of_them(monkeypatch):
    """A laboratory without platelets among its names does not make the others' score less."""
    from bccd_d2.experiments.types import result

    random = np.random.default_rng(0)
    logits = np.stack([np.zeros(400), np.zeros(400), random.normal(0, 3, 400)], axis=1)
    marked = (random.random(400) < 1 / (1 + np.exp(-logits[:, 2]))).astype(int)
    first = np.arange(400) < 200
    none = np.zeros((400, 0))
    held_out = Examples(
        crops=none, measures=none, labels=np.full(400, "", object), counted=marked * first,
        scores=np.full(400, 0.9), images=(~first).astype(int), added=np.ones(400, bool),
    )  # fmt: skip
    monkeypatch.setattr(result, "look_with", lambda *_: logits)

    def weights(naming):
        learned = Learned(
            network=None, small=object(), classes=Classes(("red", "platelet")), held_out=held_out,
            allowed=np.zeros((400, 2), bool), missed={}, colours=np.zeros((2, 6)), naming=naming,
        )  # fmt: skip
        return result._Judged(learned, TypingOptions(), [0, 1], [0, 1], 0.75).types.small.counted

    chances = [small_chance(np.full(400, 0.9), logits[:, 2], weights(n)) for n in ((0,), (0, 1))]
    assert abs(chances[0][first].mean() - marked[first].mean()) < 0.05
    assert chances[1].mean() < 0.7 * chances[0].mean()


def test_a_habit_goes_with_the_model_and_stays_in_its_laboratory(boxed_discs, monkeypatch):
    """Annotators who leave out every blue disc are followed on images like theirs alone."""
    from bccd_d2 import load_pretrained
    from bccd_d2.config.files import find_config
    from bccd_d2.experiments.types.result import learn_types
    from bccd_d2.models.load import load_model

    content = json.loads((boxed_discs / "train.json").read_text())
    content["annotations"] = [n for n in content["annotations"] if n["category"] == "RBC"]
    (boxed_discs / "train.json").write_text(json.dumps(content))
    for file in sorted((boxed_discs / "images").iterdir()):  # as dark as the blue ones
        pixels = np.asarray(Image.open(file)).copy()
        pixels[(pixels == (210, 110, 110)).all(axis=2)] = (150, 100, 100)
        Image.fromarray(pixels).save(file)
    monkeypatch.setattr("bccd_d2.experiments.types.calibration.KNOWN", 4)
    types = TypeOptions(crop=CropOptions(size=32, cell=16), channels=(8, 16))
    options = TypingOptions(fit=FitOptions(minutes=0.02, batch=16), types=types, held_out=0.5)
    otsu = "MIN_AREA: 60, SEED_DISTANCE: 4.0, CELL_DIAMETER: 16.0"
    config = f"_BASE_: {find_config('otsu_watershed')}\nMODEL: {{OTSU: {{{otsu}}}}}\n"
    (boxed_discs / "otsu.yaml").write_text(config)
    finder = load_model(config_file=str(boxed_discs / "otsu.yaml"), device="cpu")
    assert finder.score_threshold == 0
    result = learn_types(finder, [boxed_discs], boxed_discs / "out", options)
    assert result.followed == (boxed_discs.name,) and "leave out" in result.text()
    assert result.threshold == 0.01 and result.f1[boxed_discs.name] == 1
    model = load_pretrained(boxed_discs / "out", device="cpu")
    pixels = np.asarray(Image.open(boxed_discs / "images" / "0.png"))
    assert len(model.predict(pixels)) == 3 < len(model.predict(pixels, 0.0))
    other = np.where(pixels == 230, 180, pixels).astype(np.uint8)  # another microscope's paper
    assert len(model.predict(other)) >= 6
    options = replace(options, keep_scores=True)
    assert learn_types(finder, [boxed_discs], boxed_discs / "out", options).followed == ()
