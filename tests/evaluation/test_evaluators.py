"""The evaluator against the pure functions, its files read back, its refusals, two processes."""

from __future__ import annotations

import csv
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("detectron2", reason="run tools/install_detectron2.py")

from detectron2.data import MetadataCatalog  # noqa: E402
from detectron2.structures import Boxes, Instances  # noqa: E402

from bccd_d2.evaluation.coco import area_bins, coco_scores  # noqa: E402
from bccd_d2.evaluation.evaluators import CellEvaluator  # noqa: E402
from bccd_d2.evaluation.scores import dataset_scores, score_image  # noqa: E402
from bccd_d2.evaluation.table import format_scores  # noqa: E402
from bccd_d2.evaluation.thresholds import sweep  # noqa: E402
from bccd_d2.evaluation.truth import read_truth  # noqa: E402
from bccd_d2.masks.cells import Cells  # noqa: E402
from bccd_d2.masks.rle import rle_to_json, rle_to_mask  # noqa: E402

PERCENTILES = {33: 200.0, 67: 240.0}


def write_truth(path: Path, truth: list[Cells]) -> Path:
    images, annotations = [], []
    for image_id, cells in enumerate(truth, start=1):
        height, width = cells.image_size
        name = f"train/original/{image_id}.png"
        images.append({"id": image_id, "file_name": name, "height": height, "width": width})
        for rle in cells.rles:
            annotation = {"id": len(annotations) + 1, "image_id": image_id, "category_id": 1}
            annotations.append(annotation | {"segmentation": rle_to_json(rle), "iscrowd": 0})
    categories = [{"id": 1, "name": "cell"}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    path.write_text(json.dumps(content))
    return path


def instances_of(cells: Cells, *, masks: bool = False, boxes: bool = True) -> Instances:
    instances = Instances(cells.image_size)
    instances.scores = torch.from_numpy(cells.scores.copy())
    instances.pred_classes = torch.zeros(len(cells), dtype=torch.int64)
    if boxes:
        instances.pred_boxes = Boxes(torch.from_numpy(cells.boxes))
    if masks:
        stack = [rle_to_mask(rle) for rle in cells.rles]
        instances.pred_masks = torch.from_numpy(np.stack(stack))
    else:
        instances.pred_rles = cells.rles
    return instances


def run(evaluator: CellEvaluator, predictions: list[Cells], **options) -> dict:
    evaluator.reset()
    for image_id, cells in enumerate(predictions, start=1):
        evaluator.process([{"image_id": image_id}], [{"instances": instances_of(cells, **options)}])
    return evaluator.evaluate()


@pytest.fixture
def dataset(dense, tmp_path):
    """A registered dataset of the dense images; its name."""
    name = f"evaluator_{tmp_path.name}"
    path = write_truth(tmp_path / "instances_val.json", dense[0])
    MetadataCatalog.get(name).set(
        json_file=str(path),
        area_percentiles=dict(PERCENTILES),
        thing_dataset_id_to_contiguous_id={1: 0},
    )
    yield name
    MetadataCatalog.pop(name)


def test_groups_equal_the_pure_functions(dense, dataset) -> None:
    truth, predictions = dense
    evaluator = CellEvaluator(dataset, max_detections=300, score_threshold=0.4)
    results = run(evaluator, predictions)
    assert list(results) == ["bbox", "segm", "instances", "interior", "pixels"]
    bins = area_bins(PERCENTILES)
    for task in ("bbox", "segm"):
        wanted = coco_scores(truth, predictions, task=task, max_detections=300, bins=bins)
        assert results[task] == wanted.values
        assert "AP_medium" in results[task]
        np.testing.assert_array_equal(evaluator.curves[task], wanted.precision)
    images = [score_image(t, p, 0.4) for t, p in zip(truth, predictions, strict=True)]
    for group, values in dataset_scores(images).items():
        assert results[group] == values
    table = evaluator.sweep([0.3, 0.6])
    np.testing.assert_array_equal(table.f1, sweep(truth, predictions, [0.3, 0.6]).f1)
    assert [len(cells) for cells in evaluator.predictions()] == [len(p) for p in predictions]
    assert [len(cells) for cells in evaluator.truth()] == [len(t) for t in truth]


def test_bitmaps_score_as_their_rles(dense, dataset) -> None:
    predictions = [cells[:20] for cells in dense[1]]
    evaluator = CellEvaluator(dataset, max_detections=300)
    rles = run(evaluator, predictions)
    evaluator.reset()
    for image_id, cells in enumerate(predictions, start=1):
        instances = instances_of(cells, masks=len(cells) > 0, boxes=False)
        evaluator.process([{"image_id": image_id}], [{"instances": instances}])
    assert evaluator.evaluate() == rles


def test_perfect_and_nothing(dense, dataset) -> None:
    evaluator = CellEvaluator(dataset, max_detections=300)
    perfect = run(evaluator, dense[0])
    for group, key in (
        ("segm", "AP"),
        ("bbox", "AP"),
        ("instances", "PQ"),
        ("interior", "F1@.75"),
        ("pixels", "Dice"),
        ("pixels", "IoU_image_mean"),
    ):
        assert perfect[group][key] == 1.0
    nothing = run(evaluator, [Cells.empty(cells.image_size) for cells in dense[0]])
    assert {group: set(values) for group, values in nothing.items()} == {
        group: set(values) for group, values in perfect.items()
    }
    assert nothing["segm"]["AP"] == nothing["bbox"]["AP50"] == nothing["instances"]["PQ"] == 0.0
    assert nothing["pixels"]["Dice"] == 0.0
    assert all(math.isfinite(v) for values in nothing.values() for v in values.values())


def test_files_hold_what_was_returned(dense, dataset, tmp_path) -> None:
    folder = tmp_path / "evaluation"
    evaluator = CellEvaluator(dataset, max_detections=300, output_dir=folder, score_threshold=0.3)
    results = run(evaluator, dense[1])
    assert sorted(path.name for path in folder.iterdir()) == [
        "coco_instances_results.json",
        "per_image.csv",
        "scores.json",
        "verdicts.json",
    ]
    summary = json.loads((folder / "scores.json").read_text())
    assert summary["scores"] == results
    assert (summary["score_threshold"], summary["images"]) == (0.3, len(dense[0]))
    assert np.mean(summary["precision_curves"]["segm"]) == pytest.approx(
        results["segm"]["AP"], abs=1e-5
    )
    with open(folder / "per_image.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["file_name"] for row in rows] == [
        f"train/original/{i}.png" for i in range(1, len(dense[0]) + 1)
    ]
    errors = [abs(float(row["count_error"])) for row in rows]
    assert np.mean(errors) == pytest.approx(results["instances"]["count_mae"])
    dice = [float(row["pixel_Dice"]) for row in rows]
    assert np.mean(dice) == pytest.approx(results["pixels"]["Dice_image_mean"])
    assert np.percentile(dice, 75) == pytest.approx(results["pixels"]["Dice_image_q75"])


def test_written_results_score_the_same_in_pycocotools(dense, dataset, tmp_path) -> None:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    evaluator = CellEvaluator(dataset, max_detections=100, output_dir=tmp_path)
    truth = dense[0][:4] + [Cells.empty(c.image_size) for c in dense[0][4:]]
    write_truth(tmp_path / "instances_val.json", truth)
    results = run(evaluator, dense[1])
    content = json.loads((tmp_path / "instances_val.json").read_text())
    for annotation in content["annotations"]:
        annotation |= {"area": 1, "bbox": [0, 0, 1, 1]}
    (tmp_path / "full.json").write_text(json.dumps(content))
    coco = COCO(str(tmp_path / "full.json"))
    found = coco.loadRes(str(tmp_path / "coco_instances_results.json"))
    reference = COCOeval(coco, found, "segm")
    reference.evaluate()
    reference.accumulate()
    reference.summarize()
    assert results["segm"]["AP"] == pytest.approx(reference.stats[0], abs=1e-6)


def test_truth_that_was_converted_again_is_read_again(dense, dataset, tmp_path) -> None:
    evaluator = CellEvaluator(dataset, max_detections=300)
    assert run(evaluator, dense[0])["instances"]["recall@.5"] == 1.0
    write_truth(tmp_path / "instances_val.json", [cells[:4] for cells in dense[0]])
    assert run(evaluator, dense[0])["instances"]["truth"] == 4 * 5


def test_a_cap_below_the_densest_image_is_told(dense, dataset, caplog) -> None:
    with caplog.at_level("WARNING"):
        run(CellEvaluator(dataset, max_detections=100), dense[0])
    assert "only 100 detections count" in caplog.text


def test_refusals_name_the_image(dense, dataset) -> None:
    evaluator = CellEvaluator(dataset, max_detections=300)
    evaluator.reset()
    with pytest.raises(KeyError, match="image 99 is not in the ground truth"):
        evaluator.process([{"image_id": 99}], [{"instances": instances_of(dense[1][0])}])
    with pytest.raises(ValueError, match=r"original/1.png: .*scale them"):
        evaluator.process([{"image_id": 1}], [{"instances": instances_of(Cells.empty((9, 9)))}])
    evaluator.process([{"image_id": 1}], [{"instances": instances_of(dense[1][0])}])
    with pytest.raises(ValueError, match=r"5 of 6 images .* first is train/original/2.png"):
        evaluator.evaluate()
    with pytest.raises(ValueError, match="max_detections"):
        CellEvaluator(dataset, max_detections=0)
    with pytest.raises(ValueError, match="score_threshold"):
        CellEvaluator(dataset, max_detections=5, score_threshold=50)


def test_broken_truth_is_refused_by_name(tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere.json"):
        read_truth(tmp_path / "nowhere.json")
    path = tmp_path / "truth.json"
    for text, reason in (
        ("{", "is not valid json"),
        ('{"images": []}', "annotations is missing"),
        ("[]", "must be an object"),
    ):
        path.write_text(text)
        with pytest.raises(ValueError, match=rf"truth.json.*{reason}.*; convert the dataset again"):
            read_truth(path)
    write_truth(path, [])
    with pytest.raises(ValueError, match="holds no images"):
        read_truth(path)
    polygon = {"image_id": 1, "segmentation": [[0, 0, 3, 0, 3, 3, 0, 3]]}
    image = {"id": 1, "file_name": "a.png", "height": 4, "width": 4}
    path.write_text(json.dumps({"images": [image], "annotations": [polygon]}))
    assert read_truth(path)[1].cells.areas.tolist() == [9]
    path.write_text(json.dumps({"images": [image], "annotations": [polygon | {"segmentation": 1}]}))
    with pytest.raises(ValueError, match="expected an RLE"):
        read_truth(path)


def test_the_table_shows_the_main_scores(dense, dataset) -> None:
    results = run(CellEvaluator(dataset, max_detections=300), dense[1])
    lines = format_scores(results).splitlines()
    assert len(lines) == 11 and max(len(line) for line in lines) < 100
    assert lines[0].split()[:3] == ["AP", "AP50", "AP75"]
    assert lines[1].split()[:2] == ["masks", f"{results['segm']['AP']:.3f}"]
    background = next(line for line in lines if line.startswith("background")).split()[1]
    assert background == f"{results['pixels']['background_IoU']:.3f}"
    bias = next(line for line in lines if line.startswith("all cells")).split()[-1]
    assert bias == f"{results['instances']['count_bias']:+.2f}"
    two = {f"{name}/{group}": v for name in ("one", "two") for group, v in results.items()}
    assert [line for line in format_scores(two).splitlines() if line in ("one", "two")]
    assert format_scores({}) == ""
    assert "-" in format_scores({"segm": {"AP": 0.5}, "bbox": {"AP75": 0.5}})


TWO_RANKS = """
import json, pickle, sys
from detectron2.data import MetadataCatalog
from detectron2.utils import comm
from bccd_d2.evaluation.evaluators import CellEvaluator
from bccd_d2.training.launch import Processes, launch

def work(folder):
    rank = comm.get_rank()
    MetadataCatalog.get("two_ranks").set(json_file=f"{folder}/instances_val.json")
    evaluator = CellEvaluator("two_ranks", max_detections=300, output_dir=f"{folder}/out")
    evaluator.reset()
    with open(f"{folder}/predictions.pkl", "rb") as stream:
        predictions = pickle.load(stream)
    for image_id, instances in list(predictions.items())[rank::2]:
        evaluator.process([{"image_id": image_id}], [{"instances": instances}])
    results = evaluator.evaluate()
    with open(f"{folder}/rank{rank}.json", "w") as stream:
        json.dump(results, stream)

if __name__ == "__main__":
    launch(work, Processes(per_machine=2), sys.argv[1])
"""


def test_two_processes_answer_as_one(dense, dataset, tmp_path) -> None:
    import pickle

    predictions = {i: instances_of(cells) for i, cells in enumerate(dense[1], start=1)}
    (tmp_path / "predictions.pkl").write_bytes(pickle.dumps(predictions))
    (tmp_path / "two_ranks.py").write_text(TWO_RANKS)
    root = str(Path(__file__).parents[2])
    paths = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    subprocess.run(
        [sys.executable, str(tmp_path / "two_ranks.py"), str(tmp_path)],
        env=os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
        check=True,
        timeout=180,
    )
    assert json.loads((tmp_path / "rank1.json").read_text()) == {}
    together = json.loads((tmp_path / "rank0.json").read_text())
    assert (tmp_path / "out" / "scores.json").is_file()
    MetadataCatalog.get(dataset).area_percentiles.clear()
    assert together == run(CellEvaluator(dataset, max_detections=300), dense[1])
