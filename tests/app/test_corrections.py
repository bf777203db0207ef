"""What a person does to outlines, undone and redone, and the files that a model learns from."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from bccd_d2.api import PredictedCells
from bccd_d2.app import edit
from bccd_d2.app.corrections import Store, correct
from bccd_d2.app.results import Findings, find_cells
from bccd_d2.cli.convert import main as convert
from bccd_d2.io.label_images import read_label_file
from bccd_d2.masks.classes import Classes

DISCS = [(40, 40), (40, 100), (40, 124), (100, 60)]  # y, x; the second and third touch


def label_map(discs=DISCS) -> np.ndarray:
    labels = np.zeros((140, 160), np.int32)
    for number, (y, x) in enumerate(discs, start=1):
        disc = np.zeros(labels.shape, np.uint8)
        cv2.circle(disc, (x, y), 14, 1, -1)
        labels[(disc > 0) & (labels == 0)] = number
    return labels


def picture() -> np.ndarray:
    """With a fifth cell at (100, 120) that has no outline."""
    image = np.full((140, 160, 3), 225, np.uint8)
    for y, x in (*DISCS, (100, 120)):
        cv2.circle(image, (x, y), 14, (140, 90, 120), -1)
    return image


def cells(discs=DISCS) -> PredictedCells:
    return PredictedCells.from_label_map(label_map(discs), np.linspace(0.9, 0.6, len(discs)))


class Model:
    name, score_threshold, diameter = "model", 0.5, None

    def predict(self, image, score_threshold=None, **options):
        return cells()


@pytest.fixture
def findings() -> Findings:
    return find_cells(Model(), picture(), "smear 1.tif")


def act(findings: Findings, what: str, **more) -> Findings:
    seen = len(findings.corrections.trail) if findings.corrections else 0
    return correct(findings, {"do": what, "seen": seen, **more}, 0.5)


def test_a_cell_is_deleted_and_the_others_keep_their_order():
    left = edit.delete(cells(), [2, 4])
    assert left.rles == [cells().rles[0], cells().rles[2]]
    with pytest.raises(ValueError, match="not there any more"):
        edit.delete(cells(), [5])


def test_a_click_takes_the_models_faint_outline_then_the_stain_then_a_circle():
    nothing = PredictedCells.empty((140, 160))
    faint = cells([(100, 122)])
    taken = edit.add_at(cells(), (120, 100), picture(), faint, 28)
    assert taken.rles[-1] == faint.rles[0] and taken.scores[-1] == 1
    stained = edit.add_at(cells(), (120, 100), picture(), nothing, 28)
    assert stained.areas[-1] == pytest.approx((picture()[80:, 100:, 1] < 100).sum(), rel=0.05)
    drawn = edit.add_at(cells(), (20, 110), picture(), nothing, 28)
    assert drawn.areas[-1] == pytest.approx(np.pi * 14**2, rel=0.1)
    with pytest.raises(ValueError, match="there is a cell already"):
        edit.add_at(cells(), (40, 40), picture(), nothing, 28)
    with pytest.raises(ValueError, match="outside the image"):
        edit.add_at(cells(), (400, 40), picture(), nothing, 28)


def test_what_is_drawn_takes_no_pixel_of_another():
    drawn = edit.draw(cells(), [[105, 80], [135, 80], [135, 20], [60, 20]])
    assert (drawn.to_label_map() > 0).sum() == drawn.areas.sum()
    boxed = edit.box(cells(), [[106, 86], [134, 114]])
    assert boxed.areas[-1] == pytest.approx(np.pi * 14**2, rel=0.08)
    with pytest.raises(ValueError, match="leaves no cell"):
        edit.draw(cells(), [[36, 36], [44, 36], [44, 44], [36, 44]])
    with pytest.raises(ValueError, match="closed line"):
        edit.draw(cells(), [[1, 1], [2, 2]])


def test_a_stroke_cuts_a_cell_and_no_pixel_is_lost():
    merged = edit.merge(cells(), [2, 3])
    assert len(merged) == 3 and merged.areas[1] >= cells().areas[1:3].sum()
    cut = edit.split(merged, [], [[112, 10], [112, 70]])
    assert len(cut) == 4 and cut.areas[[1, 3]].sum() == merged.areas[1]
    assert cut.areas[3] == pytest.approx(cells().areas[1:3].min(), rel=0.15)
    with pytest.raises(ValueError, match="cuts no cell in two"):
        edit.split(merged, [1], [[112, 10], [112, 70]])


def test_cells_far_apart_are_not_merged():
    with pytest.raises(ValueError, match="more than 9 px apart"):
        edit.merge(cells(), [1, 4])
    with pytest.raises(ValueError, match="two cells or more"):
        edit.merge(cells(), [1])


def test_a_cell_is_drawn_anew_in_its_place():
    anew = edit.redraw(cells(), [1], [[20, 20], [60, 20], [60, 60], [20, 60]])
    assert anew.areas[0] == 41 * 41 and anew.rles[1:] == cells().rles[1:]
    with pytest.raises(ValueError, match="select one cell"):
        edit.redraw(cells(), [1, 2], [[20, 20], [60, 20], [60, 60]])


def test_types_are_given_and_unsure_ones_stay_unsure():
    typed = edit.retype(edit.retype(cells(), [1, 2], " ring "), [3], "white")
    assert typed.class_names == ["ring", "ring", "white", "cell"]
    with pytest.raises(ValueError, match="without a slash"):
        edit.retype(cells(), [1], "a/b")
    doubtful = replace(
        cells(), classes=Classes(("red", "white"), unsure_below=0.7),
        class_probabilities=np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [1, 0]]),
        class_ids=np.array([0, 0, 1, 0]),
    )  # fmt: skip
    assert edit.settled(doubtful).class_names == ["red", "unsure", "white", "red"]


def test_the_first_action_takes_over_what_is_shown_and_steps_can_be_walked(findings):
    one = act(replace(findings), "delete", cells=[1])
    assert len(one.cells) == 3 and one.corrections.state == "1 correction"
    two = act(one, "add", at=[120, 100])
    assert len(two.cells) == 4 and two.counts(0.99).cells == 4  # at any threshold
    back = act(act(two, "undo"), "undo")
    assert back.cells.rles == findings.above(0.5)[0].rles
    again = act(act(back, "redo"), "redo")
    assert again.cells.rles == two.cells.rles
    other = act(act(again, "undo"), "delete", cells=[1])
    with pytest.raises(ValueError, match="nothing to redo"):
        act(other, "redo")
    done = [one["do"] for one in other.corrections.trail]
    assert done == ["delete", "add", "undo", "undo", "redo", "redo", "undo", "delete"]


def test_measurements_are_those_of_the_corrected_cells(findings):
    done = act(act(act(findings, "merge", cells=[2, 3]), "add", at=[120, 100]), "retype",
               cells=[1], type="ring")  # fmt: skip
    done = act(done, "delete", cells=[2])
    expected = done.cells.measure(picture())
    assert expected.keys() == done.table.keys()
    for name, values in expected.items():
        assert done.table[name].tolist() == pytest.approx(values.tolist(), nan_ok=True) or (
            done.table[name].tolist() == values.tolist()
        )


@pytest.mark.parametrize(
    ("action", "said"),
    [
        ({"do": "explode"}, "no action 'explode'"),
        ({"do": "delete", "cells": [0]}, "whole number from 1"),
        ({"do": "delete"}, "cells is missing"),
        ({"do": "draw", "points": [[1, "x"]]}, "finite number"),
        ({"do": "box", "points": [[1, 2]]}, "2 values"),
        ({"do": "delete", "cells": [1], "seen": 3}, "the page was behind"),
    ],
)
def test_what_no_page_asks_for_is_refused(findings, action, said):
    with pytest.raises(ValueError, match=said):
        correct(findings, {"seen": 0, **action}, 0.5)


def test_saved_corrections_are_read_back_by_convert(findings, tmp_path):
    store = Store(tmp_path / "saved")
    done = act(act(findings, "delete", cells=[1]), "add", at=[120, 100])
    done, files, aside = store.save(done, "model")
    assert done.corrections.state == "saved" and all(path.is_file() for path in files)
    assert aside is None
    assert act(done, "undo").corrections.state == "1 correction"
    labels = read_label_file(tmp_path / "saved" / "labels" / "smear 1.png")
    np.testing.assert_array_equal(labels, done.cells.to_label_map())
    trail = json.loads((tmp_path / "saved" / "audit" / "smear 1.json").read_text())
    assert [one["do"] for one in trail["actions"]] == ["delete", "add"]
    assert trail["threshold"] == 0.5 and trail["actions"][0]["when"]
    where = ["--images", str(tmp_path / "saved" / "images")]
    for given in (["--masks", str(tmp_path / "saved" / "labels")],
                  ["--coco", str(tmp_path / "saved" / "coco")]):  # fmt: skip
        out = tmp_path / f"data{given[0]}"
        assert convert([*where, *given, "--out", str(out), "--val-fraction", "0"]) == 0
        (written,) = (out / "annotations").glob("instances_*.json")
        found = json.loads(written.read_text())
        assert [one["area"] for one in found["annotations"]] == done.cells.areas.tolist()


def test_saved_types_are_categories(findings, tmp_path):
    ring = act(findings, "retype", cells=[1, 3], type="ring")
    done = act(ring, "retype", cells=[1], type="white")
    Store(tmp_path).save(done, "model")
    coco = json.loads((tmp_path / "coco" / "smear 1.json").read_text())
    names = {one["id"]: one["name"] for one in coco["categories"]}
    assert [names[one["category_id"]] for one in coco["annotations"]] == [
        "white", "cell", "ring", "cell"
    ]  # fmt: skip
    assert done.table["type"].tolist() == ["white", "cell", "ring", "cell"]


def test_corrections_of_another_day_are_kept_and_ones_own_go_on(findings, tmp_path):
    store = Store(tmp_path)
    mine, *_ = store.save(act(findings, "delete", cells=[1]), "model")
    more, _, aside = store.save(act(mine, "delete", cells=[1]), "model")
    assert aside is None and not (tmp_path / "earlier_1").exists()
    old = (tmp_path / "labels" / "smear 1.png").read_bytes()
    _, _, aside = store.save(findings, "model")  # dropped again, and not corrected
    assert aside == tmp_path / "earlier_1"
    assert (aside / "labels" / "smear 1.png").read_bytes() == old
    assert len(json.loads((aside / "audit" / "smear 1.json").read_text())["actions"]) == 2
    assert read_label_file(tmp_path / "labels" / "smear 1.png").max() == len(findings.cells)
    _, _, aside = store.save(act(findings, "delete", cells=[2]), "model")
    assert aside is None  # nobody had corrected those
    _, _, aside = store.save(more, "model")  # the first tab, once more
    assert aside == tmp_path / "earlier_2" and len(list((tmp_path / "images").iterdir())) == 1


def test_another_image_of_the_same_name_is_not_overwritten(findings, tmp_path):
    store = Store(Path(tmp_path))
    store.save(findings, "model")
    other = find_cells(Model(), picture() // 2, "smear 1.png")
    with pytest.raises(ValueError, match="another image called smear 1"):
        store.save(other, "model")
