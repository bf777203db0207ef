"""A user's own three-class masks, from conversion to every export: types are never lost on the way.

The detector is tiny and learns for seconds, so it is not asked how good its types are, but that all
places say the same of each cell.
"""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile

pytest.importorskip("torch")
pytest.importorskip("detectron2", reason="run tools/install_detectron2.py")

from bccd_d2 import load_pretrained
from bccd_d2.cli import main as bccd
from bccd_d2.io.atomic import write_png_atomic
from bccd_d2.masks.cells import Cells

from .small import SMALL_DETECTOR

KINDS = {  # colour, radius
    "red": ((220, 120, 130), 13),
    "white": ((110, 60, 160), 20),
    "platelet": ((90, 70, 190), 6),
}
NAMES = ["platelet", "red", "white"]  # as the converter orders them
SIZE = 120


def draw(folder: Path, count: int) -> None:
    """Smears of discs of three colours and sizes, with masks of the values 1 to 3."""
    rng = np.random.default_rng(3)
    for number in range(count):
        image = np.full((SIZE, SIZE, 3), 235, np.uint8)
        mask = np.zeros((SIZE, SIZE), np.uint8)
        for cell in range(9):
            value = 1 + (cell + cell // 3) % 3
            colour, radius = list(KINDS.values())[value - 1]
            x, y = 20 + 40 * (cell % 3), 20 + 40 * (cell // 3)
            x, y = (int(v + rng.integers(-2, 3)) for v in (x, y))
            cv2.circle(image, (x, y), radius - 1, colour, -1)
            cv2.circle(mask, (x, y), radius - 1, value, -1)
        noisy = np.clip(image + rng.normal(0, 6, image.shape), 0, 255).astype(np.uint8)
        write_png_atomic(folder / "images" / f"s{number}.png", noisy)
        write_png_atomic(folder / "masks" / f"s{number}.png", mask)
    (folder / "values.yaml").write_text("red: 1\nwhite: 2\nplatelet: 3\n")


@pytest.fixture(scope="module")
def typed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with images, masks, the converted data set, and the run of a tiny detector."""
    folder = tmp_path_factory.mktemp("typed")
    draw(folder, 6)
    given = ["--images", folder / "images", "--masks", folder / "masks"]
    more = ["--classes", folder / "values.yaml", "--test-fraction", 0.34, "--out", folder / "data"]
    assert bccd(["convert", *map(str, [*given, *more])]) == 0
    options = [
        *SMALL_DETECTOR, "INPUT.CROP_SIZE", "120", "INPUT.IMAGE_SCALE", "1.0",
        "SOLVER.MAX_ITER", "10", "SOLVER.WARMUP_ITERS", "2", "SOLVER.BASE_LR", "0.004",
        "SOLVER.IMS_PER_BATCH", "2", "TEST.EVAL_PERIOD", "0", "TEST.LOSS_BATCHES", "0",
        "DATALOADER.NUM_WORKERS", "0", "MODEL.ROI_HEADS.SCORE_THRESH_TEST", "0.02",
    ]  # fmt: skip
    train = ["train", "--config-file", "cpu_tiny_maskrcnn", "--dataset", folder / "data",
             "--classes", "auto", "--out", folder / "run"]  # fmt: skip
    assert bccd([*map(str, train), *options]) == 0
    return folder


def predict(folder: Path, out: Path, *more: object) -> Path:
    given = ["predict", "--weights", folder / "run", "--images", folder / "images", "--quiet",
             "--out", out, "--score-threshold", 0.02, "--scale", 1, *more]  # fmt: skip
    assert bccd(list(map(str, given))) == 0
    return out


@pytest.fixture(scope="module")
def results(typed: Path) -> Path:
    return predict(typed, typed / "results")


def table(out: Path, name: str) -> list[dict[str, str]]:
    with (out / "csv" / f"{name}.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_the_run_knows_its_classes_and_is_scored_by_type(typed: Path) -> None:
    model = load_pretrained(typed / "run")
    assert list(model.classes.names) == NAMES
    assert model.classes.path(1) == ("cell", "red") and model.classes.colour(2) == (31, 119, 255)
    ask = ["train", "--config-file", typed / "run" / "config.yaml", "--eval-only",
           "--out", typed / "run"]  # fmt: skip
    assert bccd(list(map(str, ask))) == 0
    scores = json.loads((typed / "run/evaluation/bccd_test/scores.json").read_text())
    assert {"segm", "types", *(f"type {name}" for name in NAMES)} <= set(scores["scores"])
    assert scores["scores"]["type white"]["truth"] == 2 * 3
    assert np.sum(scores["types"]["confusion"][:-1]) == 2 * 9
    assert (typed / "run/report/report.html").is_file()


def test_all_files_say_the_same_type_of_each_cell(results: Path) -> None:
    assert {"types", "csv", "coco", "geojson", "labels", "overlay"} <= {
        path.name for path in results.iterdir()
    }
    with (results / "counts.csv").open(newline="") as stream:
        counts = {row["image"]: row for row in csv.DictReader(stream)}
    seen: Counter = Counter()
    for name, row in counts.items():
        rows = table(results, name)
        types = [one["type"] for one in rows]
        seen.update(types)
        assert {k: int(row[f"type_{k}"]) for k in (*NAMES, "unsure")} == {
            k: types.count(k) for k in (*NAMES, "unsure")
        }
        labels = tifffile.imread(results / "labels" / f"{name}.tif")
        with tifffile.TiffFile(results / "types" / f"{name}.tif") as file:
            classes, colours = file.asarray(), file.pages[0].colormap
        wanted = np.array([0, *(1 + NAMES.index(kind) for kind in types)])
        np.testing.assert_array_equal(classes, wanted[labels])
        assert (colours[:, 3] // 257).tolist() == [31, 119, 255]  # white cells are blue
        coco = json.loads((results / "coco" / f"{name}.json").read_text())
        named = {category["id"]: category["name"] for category in coco["categories"]}
        assert [named[a["category_id"]] for a in coco["annotations"]] == types
        best = [max(a["class_probabilities"]) for a in coco["annotations"]]
        assert best == pytest.approx([float(r["type_probability"]) for r in rows], abs=1e-4)
        features = json.loads((results / "geojson" / f"{name}.geojson").read_text())["features"]
        assert [f["properties"]["classification"]["name"] for f in features] == types
        assert all("type" not in f["properties"]["measurements"] for f in features)
    assert sum(seen.values()) > 9 and set(seen) <= set(NAMES)
    overlay = cv2.imread(str(results / "overlay" / "s0.png"))
    assert overlay.shape[0] > SIZE and overlay.shape[1] == SIZE  # the legend is below
    said = json.loads((results / "run.json").read_text())["models"][0]
    assert said["classes"] == NAMES


def test_resume_keeps_the_counts_by_type(typed: Path, results: Path) -> None:
    before = (results / "counts.csv").read_text()
    (results / "csv" / "s1.csv").unlink()
    (results / "types" / "s2.tif").unlink()
    predict(typed, results, "--resume")
    assert (results / "counts.csv").read_text() == before
    assert (results / "types" / "s2.tif").is_file() and table(results, "s1")


def test_tiles_and_views_keep_the_types(typed: Path) -> None:
    """Probabilities come through stitching and merging as such: rows that sum to 1."""
    model = load_pretrained(typed / "run")
    image = cv2.imread(str(typed / "images" / "s0.png"))[..., ::-1].copy()
    big = np.tile(image, (1, 2, 1))
    for how in ({"tile": 120, "overlap": 50}, {"tta": "flip"}):
        cells = model.predict(big, 0.02, scale=1.0, **how)
        assert len(cells) > 4 and cells.class_probabilities.shape == (len(cells), 3)
        np.testing.assert_allclose(cells.class_probabilities.sum(axis=1), 1, atol=1e-5)
        assert (cells.class_ids == cells.class_probabilities.argmax(axis=1)).all()
        assert set(cells.class_names) <= {*NAMES, "unsure"}
    frame = cells.to_dataframe(big)
    assert frame["type"].tolist() == cells.class_names
    alone = model.predict(image, 0.02, scale=1.0)
    assert len(alone) and isinstance(alone[:1], type(alone)) and alone[:1].classes.typed


def test_a_model_file_carries_its_classes(typed: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.safetensors"
    weights = ["export", "weights", str(typed / "run"), "--name", "mine", "--out", str(tmp_path)]
    assert bccd(weights) == 0
    model = load_pretrained(file)
    assert list(model.classes.names) == NAMES and model.classes.parents == ("cell",) * 3
    image = cv2.imread(str(typed / "images" / "s0.png"))[..., ::-1].copy()
    assert isinstance(model.predict(image, 0.02, scale=1.0), Cells)


def test_an_unsure_cell_is_said_to_be_so(typed: Path, tmp_path: Path) -> None:
    config = (typed / "run" / "config.yaml").read_text()
    assert "UNSURE_BELOW: 0.0" in config
    changed = tmp_path / "sure.yaml"
    changed.write_text(config.replace("UNSURE_BELOW: 0.0", "UNSURE_BELOW: 1.0"))
    model = load_pretrained(typed / "run", config_file=changed)
    image = cv2.imread(str(typed / "images" / "s0.png"))[..., ::-1].copy()
    cells = model.predict(image, 0.02, scale=1.0)
    assert set(cells.class_names) == {"unsure"}
    feature = cells.to_geojson()["features"][0]["properties"]["classification"]
    assert feature == {"name": "unsure", "color": [150, 150, 150]}


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("red,white", "bccd_train: the label 'platelet' is none of the classes red, white"),
        ("red,white,platelet,ring", "no label of bccd_train means 'ring' alone"),
        ("red,red", "each once"),
    ],
)
def test_classes_that_do_not_fit_the_data_are_refused(typed, capsys, names, message) -> None:
    train = ["train", "--config-file", "cpu_tiny_maskrcnn", "--dataset", str(typed / "data"),
             "--classes", names, "--out", str(typed / "none")]  # fmt: skip
    assert bccd(train) == 2
    assert message in capsys.readouterr().err
