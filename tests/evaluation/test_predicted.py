"""Predictions in files are scored as those of a model are, and without PyTorch."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from bccd_d2.cli import main
from bccd_d2.data.catalog import split_metadata
from bccd_d2.evaluation.evaluators import CellEvaluator, evaluator_for
from bccd_d2.evaluation.predicted import read_predictions
from bccd_d2.export.coco import to_results
from bccd_d2.io.atomic import write_png_atomic
from bccd_d2.io.label_images import read_label_file, write_label_map

from ..report.conftest import write_small_dataset


@pytest.fixture
def dataset(tmp_path):
    return write_small_dataset(tmp_path / "squares")


@pytest.fixture
def truth(dataset):
    evaluator = evaluator_for("x", metadata=split_metadata(dataset, "test"), max_detections=9)
    evaluator.reset()
    return evaluator.images()


def label_folder(dataset, truth, folder, *, drop=0):
    """Label images of the truth without the first ``drop`` cells of each image."""
    folder.mkdir()
    for true in truth.values():
        stem = true.file_name.rsplit("/", 1)[-1].rsplit(".", 1)[0]
        labels = true.cells.to_label_map()
        write_label_map(folder / f"{stem}_cp_masks.tif", np.where(labels > drop, labels, 0))
    return folder


def test_label_images_and_coco_results_of_the_truth_are_perfect(dataset, truth, tmp_path, capsys):
    labels = label_folder(dataset, truth, tmp_path / "labels")
    given = ["evaluate", "--dataset", str(dataset), "--split", "test"]
    assert main([*given, "--predictions", str(labels), "--out", str(tmp_path / "a")]) == 0
    scores = json.loads((tmp_path / "a" / "scores.json").read_text())["scores"]
    assert scores["segm"]["AP"] == scores["instances"]["F1@.5"] == scores["pixels"]["Dice"] == 1
    assert "AP" in capsys.readouterr().out
    results = tmp_path / "a" / "coco_instances_results.json"  # what it wrote can be read again
    assert main([*given, "--predictions", str(results), "--out", str(tmp_path / "b")]) == 0
    assert json.loads((tmp_path / "b" / "scores.json").read_text())["scores"] == scores


def test_annotations_of_other_images_are_asked_about(dataset, truth, tmp_path, capsys):
    labels = label_folder(dataset, truth, tmp_path / "labels")
    call = ["evaluate", "--dataset", str(dataset), "--split", "test", "--out", str(tmp_path / "o")]
    assert main([*call, "--predictions", str(labels)]) == 0 and not capsys.readouterr().err
    for path in labels.iterdir():
        write_label_map(path, np.roll(read_label_file(path), (23, 31), (0, 1)))
    assert main([*call, "--predictions", str(labels)]) == 0
    assert "of the true cells were found: are the annotations of these" in capsys.readouterr().err


def test_missing_cells_and_scores_count(dataset, truth, tmp_path):
    """6 of them, one gone from each image that has some; the worst-scored below a threshold."""
    labels = label_folder(dataset, truth, tmp_path / "labels", drop=1)
    found = read_predictions(labels, truth)
    total = sum(len(true.cells) for true in truth.values())
    some = sum(len(true.cells) > 0 for true in truth.values())
    assert sum(map(len, found.values())) == total - some
    lines = ["image,label,score"]
    for file in sorted(labels.glob("*.tif")):
        count = int(read_label_file(file).max())
        lines += [f"{file.stem.removesuffix('_cp_masks')},{k + 1},0.{9 - k}" for k in range(count)]
    (labels / "scores.csv").write_text("\n".join(lines) + "\n")
    ranked = read_predictions(labels, truth)
    assert max(cells.scores.max(initial=0) for cells in ranked.values()) == pytest.approx(0.9)
    evaluator = CellEvaluator("x", metadata=split_metadata(dataset, "test"), max_detections=9,
                              score_threshold=0.85)  # fmt: skip
    evaluator.reset()
    for image_id, cells in ranked.items():
        evaluator.add(image_id, cells)
    scores = evaluator.evaluate()["instances"]
    assert scores["recall@.5"] == pytest.approx(some / total) and scores["precision@.5"] == 1
    (labels / "scores.csv").write_text("\n".join(lines[:-1]) + "\n")
    with pytest.raises(ValueError, match=r"cells, but scores.csv \d for it"):
        read_predictions(labels, truth)


def test_binary_masks_are_not_one_cell_an_image(dataset, truth, tmp_path, capsys):
    """The remedy that the error names works on these very masks."""
    masks = label_folder(dataset, truth, tmp_path / "masks")
    images = tmp_path / "images"
    for file in sorted(masks.glob("*.tif")):
        binary = (read_label_file(file) > 0).astype(np.uint8) * 255
        write_png_atomic(file, binary)
        draw = np.full((*binary.shape, 3), 220, np.uint8)
        draw[binary > 0] = (190, 100, 120)
        write_png_atomic(images / f"{file.stem.removesuffix('_cp_masks')}.png", draw)
    with pytest.raises(ValueError, match="single value, in .* a binary mask.*bccd convert"):
        read_predictions(masks, truth)
    numbered = ["--images", str(images), "--masks", str(masks), "--out", str(tmp_path / "n")]
    assert main(["convert", *numbered]) == 0
    found = read_predictions(tmp_path / "n" / "labels" / "train", truth)
    assert max(map(len, found.values())) > 1


def test_results_of_predict_are_read_with_their_scores(dataset, truth, tmp_path):
    from bccd_d2.export.coco import write_coco

    (tmp_path / "r" / "coco").mkdir(parents=True)
    for true in truth.values():
        stem = true.file_name.rsplit("/", 1)[-1].rsplit(".", 1)[0]
        write_coco(tmp_path / "r" / "coco" / f"{stem}.json", [(true.file_name, true.cells)])
    found = read_predictions(tmp_path / "r", truth)
    assert all(len(found[key]) == len(true.cells) for key, true in truth.items())
    shutil.rmtree(tmp_path / "r" / "coco")
    (tmp_path / "r" / "coco").mkdir()
    with pytest.raises(FileNotFoundError, match="predict on all images of the split"):
        read_predictions(tmp_path / "r", truth)


def test_what_is_not_there_is_named(dataset, truth, tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere do not exist"):
        read_predictions(tmp_path / "nowhere", truth)
    (tmp_path / "x.json").write_text('[{"image_id": 99, "segmentation": [], "score": 1.0}]')
    with pytest.raises(ValueError, match="give COCO results"):
        read_predictions(tmp_path / "x.json", truth)
    cell = next(true for true in truth.values() if len(true.cells)).cells[:1]
    given = to_results(cell, next(i for i, true in truth.items() if len(true.cells)))
    (tmp_path / "x.json").write_text(json.dumps([given[0] | {"bbox": [1, 2, 3.5, 4]}]))
    found = read_predictions(tmp_path / "x.json", truth)[given[0]["image_id"]]
    assert found.scored_boxes.tolist() == [[1, 2, 4.5, 6]]
    (tmp_path / "x.json").write_text(json.dumps([given[0] | {"bbox": [1, 2, 3]}]))
    with pytest.raises(ValueError, match="detected_bbox must have 4 values, got 3"):
        read_predictions(tmp_path / "x.json", truth)
    with pytest.raises(KeyError, match="no such|split"):
        split_metadata(dataset, "dev")
