"""What `bccd tune counts` makes of labels that are not the model's own."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from bccd_d2.cli.tune.counts import main
from bccd_d2.evaluation.miscounts import read_miscounts
from bccd_d2.masks.cells import Cells
from bccd_d2.masks.rle import rle_to_json

from .results_folder import SHA, write_results

PLACES = [(10, 10), (10, 60), (10, 110), (60, 10), (60, 60), (60, 110)]
FOUND = ["red", "infected", "red", "infected", "platelet", "unsure"]
LABELS = ["red blood cell", "trophozoite", "ring", "difficult", "red blood cell", "erythrocyte"]


def drawn(places) -> np.ndarray:
    labels = np.zeros((120, 170), np.int32)
    for number, (y, x) in enumerate(places, start=1):
        labels[y : y + 30, x : x + 30] = number
    return labels


def results(folder: Path, places, types, classes) -> Path:
    """One image's results, its cells at ``places``."""
    labels = drawn(places)
    out = write_results(folder, [np.zeros((120, 170, 3), np.uint8)], [labels], [types])
    run = json.loads((out / "run.json").read_text())
    run["models"][0] |= {"classes": classes}
    (out / "run.json").write_text(json.dumps(run))
    return out


def dataset(folder: Path, places, labels, *, boxes=False, complete=True, listed=()) -> Path:
    """The same image as `bccd convert` writes it."""
    names = list(dict.fromkeys([*labels, *listed]))
    cells = Cells.from_label_map(drawn(places))
    rows = []
    for number, (label, rle, box) in enumerate(
        zip(labels, cells.rles, cells.boxes.tolist(), strict=True), start=1
    ):
        x0, y0, x1, y1 = box
        row = {"id": number, "image_id": 1, "category_id": names.index(label) + 1, "iscrowd": 0,
               "bbox": [x0, y0, x1 - x0, y1 - y0]}  # fmt: skip
        rows.append(row if boxes else row | {"segmentation": rle_to_json(rle)})
    content = {
        "images": [{"id": 1, "file_name": "field_00.png", "height": 120, "width": 170}],
        "annotations": rows,
        "categories": [{"id": n, "name": name} for n, name in enumerate(names, start=1)],
    }
    folder.mkdir()
    (folder / "val.json").write_text(json.dumps(content))
    said = {"format_version": 1, "image_root": ".", "splits": {"val": {"json": "val.json"}},
            "annotations": "boxes" if boxes else "masks", "complete": complete}  # fmt: skip
    (folder / "dataset.json").write_text(json.dumps(said))
    return folder


def measure(tmp_path, *given: str):
    assert main([*given, "--out", str(tmp_path / "m.json")]) == 0
    return read_miscounts(tmp_path / "m.json")


@pytest.mark.parametrize("boxes", [False, True])
def test_labels_mean_what_the_taxonomy_says(boxes, tmp_path):
    """A stage is infected, a difficult cell says nothing, an unsure one is missed."""
    seen = results(tmp_path / "p", PLACES, FOUND, ["red", "infected", "platelet"])
    data = dataset(tmp_path / "d", PLACES, LABELS, boxes=boxes)
    found = measure(tmp_path, "--predictions", str(seen), "--dataset", str(data))
    assert found.types == ("infected", "platelet", "red")
    assert found.truth.sum(axis=0).tolist() == [2, 0, 3]
    assert found.found_as.sum(axis=0).tolist() == [[1, 0, 1], [0, 0, 0], [0, 1, 1]]
    assert found.invented.sum() == 0
    assert found.told.tolist() == [[True, False, True]]  # nobody marks platelets here


def test_a_label_that_is_left_open_says_nothing_of_the_type(tmp_path):
    seen = results(tmp_path / "p", PLACES[:3], ["red", "white", "red"], ["red", "white"])
    data = dataset(tmp_path / "d", PLACES[:2], ["RBC", "WBC"])
    given = ["--predictions", str(seen), "--dataset", str(data), "--open", "RBC"]
    found = measure(tmp_path, *given)
    assert found.truth.tolist() == [[0, 1]] and found.told.tolist() == [[False, True]]
    assert found.invented.tolist() == [[0, 0]]


def test_a_cell_beside_all_classes_is_a_type_of_its_own(tmp_path):
    seen = results(tmp_path / "p", PLACES[:2], ["red", "white"], ["red", "white"])
    data = dataset(tmp_path / "d", PLACES[:2], ["RBC", "erythroblast"])
    found = measure(tmp_path, "--predictions", str(seen), "--dataset", str(data))
    assert found.types == ("red", "white", "erythroblast")
    assert found.found_as[0].tolist() == [[1, 0, 0], [0, 0, 0], [0, 1, 0]]


def test_labels_that_leave_every_type_open_measure_cells(tmp_path):
    seen = results(tmp_path / "p", PLACES[:2], ["ring", "red"], ["ring", "red"])
    data = dataset(tmp_path / "d", PLACES[:2], ["cell", "difficult"])
    found = measure(tmp_path, "--predictions", str(seen), "--dataset", str(data))
    assert found.types == ("cell",) and found.found_as.tolist() == [[[2]]]


def test_laboratories_are_measured_together_and_for_another_model(tmp_path, capsys):
    """What one laboratory does not mark can still be invented in the other."""
    kinds = ["red", "infected", "platelet"]
    first = results(tmp_path / "a", PLACES[:2], ["red", "platelet"], kinds)
    second = results(tmp_path / "b", PLACES[:2], ["red", "platelet"], kinds)
    run = json.loads((second / "run.json").read_text())
    run["models"][0]["sha256"] = "e" * 64
    (second / "run.json").write_text(json.dumps(run))
    one = dataset(tmp_path / "d1", PLACES[:1], ["red"], listed=["ring"])
    other = dataset(tmp_path / "d2", PLACES[:1], ["RBC"], boxes=True, listed=["PLT"])
    given = ["--predictions", str(first), str(second), "--dataset", str(one), str(other)]
    assert main([*given, "--out", str(tmp_path / "x.json")]) == 2
    assert "of several models: say with --for" in capsys.readouterr().err
    weights = tmp_path / "w.safetensors"
    weights.write_bytes(b"abc")
    found = measure(tmp_path, *given, "--for", str(weights))
    assert found.types == ("infected", "platelet", "red")
    assert found.invented.tolist() == [[0, 0, 0], [0, 1, 0]]
    assert found.models[0].startswith("ba7816bf") and found.models != (SHA,)
    assert found.measured_on.startswith("1 images of d1, 1 images of d2, split val, 2 true cells")


def test_what_cannot_be_measured_is_refused(tmp_path, capsys):
    seen = results(tmp_path / "p", PLACES[:2], ["red", "red"], ["red"])
    partial = dataset(tmp_path / "d", PLACES[:2], ["RBC", "RBC"], complete=False)
    given = ["--predictions", str(seen), "--out", str(tmp_path / "m.json")]
    assert main([*given, "--dataset", str(partial)]) == 2
    assert "only some of its cells are annotated" in capsys.readouterr().err
    assert main([*given, "--dataset", str(partial), str(partial)]) == 2
    assert "give one dataset for each" in capsys.readouterr().err
