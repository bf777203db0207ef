"""A user's own boxes of three kinds, from VOC files to typed masks: no outline is ever given.

The detector is tiny and learns for seconds, so it is not asked how good it is, but that each step
takes what the one before it made, and that boxes are scored as the detector gave them.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("detectron2", reason="run tools/install_detectron2.py")

from bccd_d2.cli import main as bccd
from bccd_d2.data.catalog import load_split
from bccd_d2.io.label_images import read_label_file
from bccd_d2.masks.cells import Cells

from .small import SMALL_DETECTOR
from .test_typed import SIZE, draw
from .weak import sized_model

CALLED = {"red": "RBC", "white": "WBC", "platelet": "Platelets"}


def write_voc(folder: Path) -> None:
    """The boxes of the drawn masks as VOC files; the masks themselves go."""
    (folder / "boxes").mkdir()
    for mask in sorted((folder / "masks").iterdir()):
        values = read_label_file(mask)
        rows = ""
        for value, name in enumerate(CALLED.values(), start=1):
            for x0, y0, x1, y1 in Cells.from_label_map(parts(values == value)).boxes:
                rows += (f"<object><name>{name}</name><bndbox><xmin>{x0 + 1:g}</xmin>"
                         f"<ymin>{y0 + 1:g}</ymin><xmax>{x1:g}</xmax><ymax>{y1:g}</ymax>"
                         "</bndbox></object>")  # fmt: skip
        (folder / "boxes" / f"{mask.stem}.xml").write_text(
            f"<annotation><filename>{mask.name}</filename><size><width>{SIZE}</width>"
            f"<height>{SIZE}</height><depth>3</depth></size>{rows}</annotation>"
        )
        mask.unlink()


def parts(mask: np.ndarray) -> np.ndarray:
    from scipy import ndimage

    return ndimage.label(mask)[0]


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with images, boxes, both datasets, and the run of a tiny detector."""
    folder = tmp_path_factory.mktemp("boxes")
    draw(folder, 6)
    write_voc(folder)
    sized_model(folder / "finder.safetensors")
    steps = [
        *SMALL_DETECTOR, "INPUT.CROP_SIZE", 120, "INPUT.IMAGE_SCALE", 1.0, "SOLVER.MAX_ITER", 12,
        "SOLVER.WARMUP_ITERS", 2, "SOLVER.IMS_PER_BATCH", 2, "DATALOADER.SAMPLES", 8,
        "MODEL.VIT.WEIGHTS", "", "DATASETS.VALIDATION", "()", "TEST.DETECTIONS_PER_IMAGE", 20,
    ]  # fmt: skip
    for words in (
        ["convert", "--images", folder / "images", "--boxes", folder / "boxes",
         "--val-fraction", 0, "--test-fraction", 0.34, "--out", folder / "data"],
        ["pseudo", "--dataset", folder / "data", "--out", folder / "outlined", "--keep-boxes",
         "--weights", folder / "finder.safetensors", "--device", "cpu"],
        ["train", "--config-file", "dinov2s_cpu_boxes_maskrcnn", "--dataset", folder / "outlined",
         "--classes", "RBC,WBC,Platelets", "--out", folder / "run", *steps],
    ):  # fmt: skip
        assert bccd(list(map(str, words))) == 0
    return folder


def predict(folder: Path, out: Path, *more: object) -> Path:
    words = ["predict", "--weights", folder / "run", "--images", folder / "images", "--scale", 1,
             "--quiet", "--out", out, "--score-threshold", 0.01, "--save", "csv", "coco", *more]
    assert bccd(list(map(str, words))) == 0
    return out


def test_every_box_is_learned_from_and_most_have_an_outline(learned: Path) -> None:
    given, outlined = (load_split(learned / name, "train") for name in ("data", "outlined"))
    for before, after in zip(given, outlined, strict=True):
        rows = [(a["bbox"], a["category"]) for a in after["annotations"]]
        assert rows == [(a["bbox"], a["category"]) for a in before["annotations"]]
    labelled = [a.get("label", 0) > 0 for image in outlined for a in image["annotations"]]
    assert np.mean(labelled) > 0.3


def test_each_found_cell_has_a_mask_a_type_and_the_box_that_is_scored(learned: Path) -> None:
    out = predict(learned, learned / "results", "--tta", "flip")
    found = 0
    for file in sorted((out / "coco").glob("*.json")):
        coco = json.loads(file.read_text())
        with (out / "csv" / f"{file.stem}.csv").open(newline="") as stream:
            types = [row["type"] for row in csv.DictReader(stream)]
        called = {category["id"]: category["name"] for category in coco["categories"]}
        assert [called[a["category_id"]] for a in coco["annotations"]] == types
        cells = Cells.from_coco(coco["annotations"], (SIZE, SIZE))
        assert (cells.areas > 0).all() and set(types) <= set(CALLED.values())
        boxes = [a["bbox"] for a in coco["annotations"]]
        tight = np.concatenate([cells.boxes[:, :2], cells.boxes[:, 2:] - cells.boxes[:, :2]], 1)
        np.testing.assert_array_equal(np.reshape(boxes, (-1, 4)), tight)
        found += (cells.scored_boxes != cells.boxes).any(axis=1).sum()
    assert found > 4


def test_scores_of_a_file_and_of_the_run_look_at_the_same_boxes(learned: Path) -> None:
    """`bccd evaluate` of what `bccd predict` wrote, against `bccd train --eval-only`."""
    run = learned / "run"
    words = ["train", "--config-file", run / "config.yaml", "--eval-only", "--out", run,
             "DATASETS.ROOT", learned / "data"]  # fmt: skip
    assert bccd(list(map(str, words))) == 0
    scores = json.loads((run / "evaluation/bccd_test/scores.json").read_text())["scores"]
    assert {"bbox", "boxes", "types", *(f"type {name}" for name in CALLED.values())} <= set(scores)
    out = predict(learned, learned / "alone")
    words = ["evaluate", "--predictions", out, "--dataset", learned / "data", "--split", "test",
             "--out", learned / "scored"]  # fmt: skip
    assert bccd(list(map(str, words))) == 0
    again = json.loads((learned / "scored/scores.json").read_text())["scores"]
    assert again["bbox"]["AP"] == pytest.approx(scores["bbox"]["AP"], abs=0.005)
