"""Every benchmark runs to its end on small input and prints its ratio or its figures."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from .small import SMALL_DETECTOR

pytest.importorskip("detectron2")

REPO = Path(__file__).resolve().parents[1]


def run(name: str, *options: object) -> str:
    """What a benchmark prints."""
    call = [sys.executable, str(REPO / "benchmarks" / name), *map(str, options)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(call, capture_output=True, text=True, timeout=240, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_convert(tiny_smears):
    assert "ratio" in run("convert.py", "--root", tiny_smears, "--images", 2, "--workers", 1)


def test_scale(tiny_smears):
    options = ["--images", tiny_smears / "test" / "original", "--weights", "cpu_best",
               "--counts", 1, 2, "--processes", 1]  # fmt: skip
    [row] = [line for line in run("scale.py", *options).splitlines() if line.startswith("| 1 |")]
    megabytes = [float(cell) for cell in row.split("|")[4:6]]
    assert 50 < min(megabytes) and max(megabytes) < 2000


def test_mapper(tiny_dataset):
    options = ["--images", 1, "--rounds", 1, "--crop", 64, "--split", "train"]
    assert "samples" in run("mapper.py", "--dataset", tiny_dataset, *options)


def test_light(tiny_smears):
    options = ["--images", tiny_smears / "test" / "original", "--weights", "cpu_best", "--count", 2]
    rows = [row for row in run("light.py", *options).splitlines() if "all outputs" in row]
    assert len(rows) == 2 and all(float(row.split("|")[2]) > 0 for row in rows)


def test_evaluate():
    assert "pycocotools" in run("evaluate.py", "--images", 1)


def test_train_step(tiny_dataset):
    config = REPO / "configs" / "cpu_tiny_maskrcnn.yaml"
    options = ["--steps", 1, "--rounds", 1, "--batches", 1, "--loader-steps", 1, "--threads", 1]
    small = [*SMALL_DETECTOR, "INPUT.CROP_SIZE", 64, "DATASETS.ROOT", tiny_dataset]
    small += ["INPUT.STAIN.METHOD", "reinhard"]  # its reference is fitted first
    printed = run("train_step.py", "--config-file", config, *options, *small)
    assert "ratio" in printed
    [line] = [one for one in printed.splitlines() if one.startswith("bare loop: ")]
    images, operations = (float(part.split()[0]) for part in line[11:].split(", "))
    assert images > 0 and operations > 0


@pytest.mark.parametrize("config", ["configs/otsu_watershed.yaml", ""])
def test_large_image(config):
    chosen = ["--config-file", REPO / config] if config else []
    printed = run("large_image.py", "--size", 700, "--save", "labels", "csv", *chosen)
    assert "peak memory" in printed and ", 0 cells" not in printed


def test_peers():
    assert "ours" in run("peers.py", "--count", 2, "--no-r50")


def test_diameter(tiny_dataset):
    printed = run("diameter.py", "--dataset", tiny_dataset, "--images", 1, "--sizes", 60)
    rows = [line.split(" | ") for line in printed.splitlines()[2:]]
    assert [cells[2:5] for cells in rows] == [["as it is", "1", "0"], ["60 px", "1", "0"]]
    assert all(float(cells[5].rstrip("%")) < 25 for cells in rows)


def test_pretraining(tiny_dataset, tmp_path):
    """Two arms on the same image; what rows.json has is not done again."""
    arm = "cpu_tiny_flows MODEL.UNET.CHANNELS (8,8) INPUT.CROP_SIZE 64 DATALOADER.SAMPLES 2"
    scores = dict.fromkeys(["AP", "AP50", "AP75", "PQ", "F1", "Dice", "count error"], 0.0)
    row = {"arm": "done", "images": 1, "seed": 0, "steps": 2, "minutes": 0.1} | scores
    (tmp_path / "rows.json").write_text(json.dumps([row | {"AP": 0.9}]))
    options = ["--dataset", tiny_dataset, "--images", 1, "--seeds", 0, "--steps", 2]
    options += ["--out", tmp_path, "--device", "cpu", "--arm", "done=none", "--arm", f"new={arm}"]
    rows = run("pretraining.py", *options).splitlines()[-2:]
    assert rows[0].startswith("| 1 | done | 1 | 2 | 0.900 |")
    assert rows[1].startswith("| 1 | new | 1 | 2 | ") and rows[1].split(" | ")[-1] != " |"


def test_counts():
    assert "mean" in run("counts.py", "shares", "--draws", 2)


def test_annotators(tiny_dataset, tmp_path):
    """Cells of one image score below the threshold: its own threshold finds them all the same."""
    described = json.loads((tiny_dataset / "dataset.json").read_text())["splits"]["train"]
    truth = json.loads((tiny_dataset / described["json"]).read_text())
    first = truth["images"][0]["id"]
    low = sum(cell["image_id"] == first for cell in truth["annotations"])
    high = len(truth["annotations"]) - low
    assert low and high
    results = [
        {key: cell[key] for key in ("image_id", "category_id", "segmentation")}
        | {"score": 0.6 if cell["image_id"] == first else 0.9}
        for cell in truth["annotations"]
    ]
    file = tmp_path / "results.json"
    file.write_text(json.dumps(results))
    options = ["--predictions", file, "--dataset", tiny_dataset, "--split", "train"]
    printed = run("annotators.py", *options)
    assert f"threshold 0.75: {2 * high / (2 * high + low):.3f}" in printed
    assert "its annotations: 1.000" in printed


def test_annotators_leave_out_predicted_types(tiny_dataset, tmp_path):
    """Every cell is found twice, the second time as a platelet."""
    described = json.loads((tiny_dataset / "dataset.json").read_text())["splits"]["train"]
    truth = json.loads((tiny_dataset / described["json"]).read_text())
    categories = [{"id": 1, "name": "red"}, {"id": 2, "name": "platelet"}]
    (tmp_path / "coco").mkdir()
    for image in truth["images"]:
        cells = [a | {"score": 0.9} for a in truth["annotations"] if a["image_id"] == image["id"]]
        every = [c | {"category_id": k} for c in cells for k in (1, 2)]
        content = {"images": [image], "annotations": every, "categories": categories}
        stem = Path(image["file_name"]).stem
        (tmp_path / "coco" / f"{stem}.json").write_text(json.dumps(content))
    options = ["--predictions", tmp_path, "--dataset", tiny_dataset, "--split", "train"]
    assert "threshold 0.75: 0.667" in run("annotators.py", *options)
    assert "threshold 0.75: 1.000" in run("annotators.py", *options, "--leave-out", "platelet")
