"""Boxes and points of drawn smears to outlines by a model, and a training on them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("detectron2")

from bccd_d2.cli import convert, pseudo, train
from bccd_d2.data.catalog import load_split
from bccd_d2.data.ignored import LEFT_OUT
from bccd_d2.experiments import weak_labels
from bccd_d2.io.label_images import read_label_file
from bccd_d2.masks.overlap import iou_matrix
from bccd_d2.masks.rle import label_map_to_rles

from ..weak import sized_model, smears

STEPS = ["SOLVER.MAX_ITER", "3", "SOLVER.WARMUP_ITERS", "1", "SOLVER.IMS_PER_BATCH", "2",
         "DATALOADER.NUM_WORKERS", "0", "MODEL.UNET.CHANNELS", "[8, 8, 8, 8, 8]",
         "DATASETS.VALIDATION", "()"]  # fmt: skip


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Smears, the model, and their conversions by the names of the kinds."""
    folder = smears(tmp_path_factory.mktemp("weak"), 4)
    sized_model(folder / "sized.safetensors")
    images = ["--images", str(folder / "images"), "--val-fraction", "0"]
    known = {"labels": [], "boxes": ["--classes", str(folder / "classes.txt")], "points": []}
    for kind, more in known.items():
        given = [*images, f"--{kind}", str(folder / kind), *more]
        assert convert.main([*given, "--out", str(folder / f"c-{kind}")]) == 0
    return folder


def label(drawn: Path, kind: str, out: Path, *more: str) -> int:
    weights = str(drawn / "sized.safetensors")
    dataset = str(drawn / f"c-{kind}")
    return pseudo.main(["--dataset", dataset, "--out", str(out), "--weights", weights,
                        "--device", "cpu", *more])  # fmt: skip


def test_a_dataset_of_masks_says_how_large_its_cells_are(drawn):
    for record in load_split(drawn / "c-labels", "train"):
        whole = [a["area"] for a in record["annotations"] if not a["touches_border"]]
        assert record["diameter"] == pytest.approx(2 * np.sqrt(np.median(whole) / np.pi), abs=0.01)
    for masks, boxes in zip(*(load_split(drawn / f"c-{k}", "train") for k in ("labels", "boxes")),
                            strict=True):  # fmt: skip
        assert boxes["diameter"] == pytest.approx(masks["diameter"], rel=0.06)
    assert {r["diameter"] for r in load_split(drawn / "c-points", "train")} == {None}


@pytest.mark.parametrize("kind", ["boxes", "points"])
def test_outlines_are_those_that_were_drawn(drawn, tmp_path, kind):
    assert label(drawn, kind, tmp_path / "weak") == 0
    found = 0
    for record in load_split(tmp_path / "weak", "train"):
        labels = cv2.imread(record["label_file"], cv2.IMREAD_UNCHANGED)
        cells = np.where(labels < LEFT_OUT, labels, 0)
        assert len(record["annotations"]) == cells.max()
        truth = read_label_file(drawn / "labels" / Path(record["file_name"]).name)
        overlap = iou_matrix(label_map_to_rles(cells), label_map_to_rles(truth))
        assert (overlap.max(axis=1) > 0.6).mean() > 0.8
        found += len(overlap)
    audit = json.loads((tmp_path / "weak" / "audit.json").read_text())
    assert sum(row["drawn"] for row in audit["images"]) == found > 20
    description = json.loads((tmp_path / "weak" / "dataset.json").read_text())
    assert description["weak"]["made_from"] == kind and description["annotations"] == "masks"
    assert not [p for p in (tmp_path / "weak").iterdir() if p.name.startswith(".")]


def test_two_datasets_train_together_and_weak_ones_are_not_validated_on(drawn, tmp_path, capsys):
    weak = tmp_path / "weak"
    assert label(drawn, "boxes", weak) == 0
    home = str(drawn / "c-labels")
    given = ["--config-file", "any_smear", "--device", "cpu", "--out", str(tmp_path / "run")]
    sets = ["--dataset", home, "--dataset", home, "--dataset", str(weak)]
    assert train.main([*given, *sets, *STEPS]) == 0
    text = (tmp_path / "run" / "config.yaml").read_text()
    assert text.count("- bccd_train") == 2 and text.count("- bccd2_train") == 1
    capsys.readouterr()
    alone = [*given, "--dataset", str(weak), *STEPS[:-2], "DATASETS.VALIDATION", '("bccd_train",)']
    assert train.main(alone) == 2
    assert "a model's own outlines" in capsys.readouterr().err
    assert train.main([*given, *sets, *STEPS, "DATASETS.TRAIN", '("bccd_val",)']) == 2
    assert "leave that key out" in capsys.readouterr().err


def test_boxes_alone_name_the_word_that_makes_them_trainable(drawn, tmp_path, capsys):
    given = ["--config-file", "any_smear", "--dataset", str(drawn / "c-boxes"), "--device", "cpu"]
    assert train.main([*given, "--out", str(tmp_path / "run"), *STEPS]) == 2
    assert "bccd pseudo --dataset FOLDER" in capsys.readouterr().err


def test_a_bad_image_is_listed_and_the_rest_done(drawn, tmp_path, capsys):
    shutil.copytree(drawn, tmp_path / "all")
    (tmp_path / "all" / "images" / "smear1.png").write_bytes(b"no image")
    capsys.readouterr()
    assert label(tmp_path / "all", "boxes", tmp_path / "weak") == 1
    assert "smear1.png" in capsys.readouterr().out
    assert len(load_split(tmp_path / "weak", "train")) == 3


def test_a_stopped_run_goes_on_where_it_was(drawn, tmp_path, monkeypatch):
    made = []
    real = weak_labels.masks_from_boxes

    def stops(net, image, *rest, **more):
        made.append(image.shape)
        if len(made) == 3:
            raise KeyboardInterrupt
        return real(net, image, *rest, **more)

    monkeypatch.setattr(weak_labels, "masks_from_boxes", stops)
    assert label(drawn, "boxes", tmp_path / "weak") == 130
    assert not (tmp_path / "weak" / "dataset.json").exists()
    assert label(drawn, "boxes", tmp_path / "weak") == 0
    assert len(made) == 5  # two kept, one stopped, two more
    assert len(load_split(tmp_path / "weak", "train")) == 4


def test_images_without_annotations_teach_background_only_where_all_cells_have_one(
    drawn, tmp_path, capsys
):
    shutil.copytree(drawn, tmp_path / "all")
    (tmp_path / "all" / "boxes" / "smear0.txt").write_text("")
    given = ["--images", str(tmp_path / "all" / "images"), "--val-fraction", "0",
             "--boxes", str(tmp_path / "all" / "boxes"), "--out", str(tmp_path / "all" / "c-boxes"),
             "--classes", str(drawn / "classes.txt")]  # fmt: skip
    assert convert.main(given) == 0
    assert label(tmp_path / "all", "boxes", tmp_path / "weak") == 0
    first = load_split(tmp_path / "weak", "train")[0]
    assert first["annotations"] == [] and first["diameter"] > 0
    assert not cv2.imread(first["label_file"], cv2.IMREAD_UNCHANGED).any()
    assert convert.main([*given, "--partial"]) == 0
    capsys.readouterr()
    assert label(tmp_path / "all", "boxes", tmp_path / "partly") == 0
    assert "left out: 1 images" in capsys.readouterr().out
    assert len(load_split(tmp_path / "partly", "train")) == 3


@pytest.mark.parametrize(
    ("kind", "more", "message"),
    [
        ("labels", [], "has masks"),
        ("boxes", ["--splits", "val"], "no split 'val'"),
        ("boxes", ["--white", "WBC"], "--white WBC: no such category"),
        ("boxes", ["--weights", "cpu_best"], "knows cells of one size only"),
    ],
)
def test_what_cannot_work_is_said_at_once(drawn, tmp_path, capsys, kind, more, message):
    assert label(drawn, kind, tmp_path / "weak", *more) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "weak").exists()


def test_boxes_that_are_kept_are_all_there_and_most_have_an_outline(drawn, tmp_path):
    assert label(drawn, "boxes", tmp_path / "outlined", "--keep-boxes") == 0
    outlined, boxes = (load_split(p, "train") for p in (tmp_path / "outlined", drawn / "c-boxes"))
    with_outline = []
    for record, plain in zip(outlined, boxes, strict=True):
        assert record["kind"] == "boxes"
        kept = [a["bbox"] for a in record["annotations"]]
        assert kept == [a["bbox"] for a in plain["annotations"]]
        labels = cv2.imread(record["label_file"], cv2.IMREAD_UNCHANGED)
        for row in record["annotations"]:
            with_outline.append(row["label"] > 0)
            if row["label"]:
                rows, columns = np.nonzero(labels == row["label"])
                x, y, w, h = row["bbox"]
                assert x - 0.3 * w < columns.mean() < x + 1.3 * w and len(rows) > 0.4 * w * h
    assert np.mean(with_outline) > 0.8
    assert label(drawn, "points", tmp_path / "no", "--keep-boxes") == 2
