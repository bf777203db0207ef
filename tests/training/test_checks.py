"""What is checked before a run begins, and what a resumed or unvalidated run says of itself."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

pytest.importorskip("detectron2")

from bccd_d2.data.convert.run import ConvertOptions, convert
from bccd_d2.modeling.device import chosen_device
from bccd_d2.models.point import OperatingPoint
from bccd_d2.training.checks import changed_keys
from bccd_d2.training.run import evaluate, prepare, run, train


def one_image(folder: Path, discs: list[tuple[int, int]], count: int = 1) -> Path:
    """A converted dataset of images with discs of one radius at the same places."""
    for number in range(count):
        mask = np.zeros((120, 160), np.uint8)
        for centre in discs:
            cv2.circle(mask, centre, 14, 255, -1)
        image = np.full((*mask.shape, 3), 230, np.uint8)
        image[mask > 0] = (150, 90, 160)
        image[number] = number  # no two are the same
        for name, pixels in (("images", image), ("masks", mask)):
            (folder / name).mkdir(parents=True, exist_ok=True)
            assert cv2.imwrite(str(folder / name / f"{number}.png"), pixels)
    places = {"images": folder / "images", "masks": folder / "masks", "out": folder / "coco"}
    convert(**places, options=ConvertOptions(workers=1))
    return folder / "coco"


def test_a_dataset_without_validation_is_named_before_training_and_the_remedy_works(
    tmp_path, small_config
):
    root = one_image(tmp_path, [(40, 40), (110, 70)])
    options = ["DATASETS.ROOT", str(root), "SOLVER.MAX_ITER", "3"]
    config = small_config(tmp_path / "run", *options)
    with pytest.raises(ValueError, match=r"'bccd_val'.*it has bccd_train.*add DATASETS.VALIDATION"):
        run(config)
    config = small_config(tmp_path / "run", *options, "DATASETS.VALIDATION", "()")
    run(config)
    assert (tmp_path / "run" / "model_final.pth").is_file()


def test_cells_of_one_size_reach_the_end_of_a_validation(tmp_path, small_config):
    root = one_image(tmp_path, [(40, 40), (110, 70)], count=4)
    config = small_config(tmp_path / "run", "DATASETS.ROOT", str(root), "SOLVER.MAX_ITER", "3")
    scores = run(config)
    assert "AP" in scores["segm"] and "AP_small" not in scores["segm"]


def test_a_missing_test_split_is_named(tmp_path, small_config):
    root = one_image(tmp_path, [(40, 40)], count=4)
    config = small_config(tmp_path / "run", "DATASETS.ROOT", str(root))
    with pytest.raises(ValueError, match="DATASETS.TEST names 'bccd_test'"):
        run(config, eval_only=True)


def test_a_run_that_ends_in_its_warm_up_is_refused_and_the_remedy_works(tmp_path, small_config):
    options = ["SOLVER.MAX_ITER", "20", "SOLVER.WARMUP_ITERS", "1000"]
    with pytest.raises(ValueError, match=r"add SOLVER.WARMUP_ITERS 2$"):
        train(prepare(small_config(tmp_path, *options)))
    train(prepare(small_config(tmp_path, "SOLVER.MAX_ITER", "2", "SOLVER.WARMUP_ITERS", "0")))


@pytest.mark.parametrize("name", ["cuda", "cuda:9", "gpu7"])
def test_a_device_that_is_not_there_is_named(name):
    if name == "cuda" and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(ValueError, match=f"device {name!r}.*give auto"):
        chosen_device(name)
    assert chosen_device("cpu") == "cpu" and chosen_device("auto") in ("cpu", "cuda")


def test_resuming_takes_the_rates_that_are_asked_for(tmp_path, small_config, caplog):
    first = ["SOLVER.MAX_ITER", "4", "SOLVER.WARMUP_ITERS", "0", "DATASETS.VALIDATION", "()",
             "SOLVER.LR_SCHEDULER_NAME", "WarmupMultiStepLR", "SOLVER.STEPS", "()"]  # fmt: skip
    train(prepare(small_config(tmp_path, *first)))
    later = [*first, "SOLVER.MAX_ITER", "6", "SOLVER.BASE_LR", "1e-6", "SOLVER.WEIGHT_DECAY", "0.3"]
    with caplog.at_level(logging.WARNING, "bccd_d2"):
        train(prepare(small_config(tmp_path, *later)), resume=True)
    assert re.search(r"SOLVER.BASE_LR is 1e-06 from here on, was 0\.\d+", caplog.text)
    saved = torch.load(tmp_path / "model_final.pth", weights_only=True)
    groups = saved["trainer"]["optimizer"]["param_groups"]
    assert {group["lr"] for group in groups} == {1e-6}
    assert {group["weight_decay"] for group in groups} == {0.0, 0.3}
    assert "BASE_LR: 1.0e-06" in (tmp_path / "config.yaml").read_text()


def test_changed_keys_leave_out_what_changes_nothing(tmp_path, small_config):
    config = small_config(tmp_path)
    (tmp_path / "config.yaml").write_text(config.dump())
    later = small_config(tmp_path / "x", "DATALOADER.NUM_WORKERS", "3", "INPUT.FLIP", "False")
    assert changed_keys(tmp_path / "config.yaml", later) == {"INPUT.FLIP": (True, False)}
    assert changed_keys(tmp_path / "none.yaml", later) == {}
    (tmp_path / "bad.yaml").write_text("a: [")
    with pytest.raises(ValueError, match="bad.yaml is no config"):
        changed_keys(tmp_path / "bad.yaml", later)


def test_fine_tuning_without_validation_keeps_the_threshold(tmp_path, small_config, caplog):
    train(prepare(small_config(tmp_path / "a", "SOLVER.MAX_ITER", "3")))
    start = tmp_path / "a" / "model_final.pth"
    saved = torch.load(start, weights_only=True)
    torch.save(saved | {"operating_point": OperatingPoint(0.77, "folds").state_dict()}, start)
    options = ["SOLVER.MAX_ITER", "3", "DATASETS.VALIDATION", "()", "MODEL.WEIGHTS", str(start)]
    with caplog.at_level(logging.WARNING, "bccd_d2"):
        train(prepare(small_config(tmp_path / "b", *options)))
    assert "the score threshold stays 0.77 (folds)" in caplog.text
    kept = torch.load(tmp_path / "b" / "model_final.pth", weights_only=True)["operating_point"]
    assert kept == {"score_threshold": 0.77, "origin": "folds"}


def test_scores_of_polygons_are_those_of_masks(tmp_path, small_config):
    root = one_image(tmp_path, [(40, 40), (110, 70)], count=4)
    options = ConvertOptions(workers=1, polygons=True)
    places = {"images": tmp_path / "images", "masks": tmp_path / "masks"}
    convert(**places, out=tmp_path / "polygons", options=options)
    config = small_config(tmp_path / "run", "SOLVER.MAX_ITER", "3", "DATASETS.ROOT", str(root))
    scores = run(config)
    other = ["DATASETS.ROOT", str(tmp_path / "polygons"), "DATASETS.TEST", "('bccd_val',)"]
    weights = ["MODEL.WEIGHTS", str(tmp_path / "run" / "model_best.pth")]
    found = evaluate(prepare(small_config(tmp_path / "again", *other, *weights)))
    assert found["segm"]["AP"] == pytest.approx(scores["segm"]["AP"])
