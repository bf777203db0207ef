"""Every dense config at small size: trains two steps and evaluates, like any detector."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("detectron2")

from bccd_d2.training.config import load_config
from bccd_d2.training.run import evaluate, prepare, train

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
DENSE = [p for p in sorted(CONFIGS.glob("*.yaml")) if "DenseSegmentor" in p.read_text()]
SMALL = ["MODEL.DEVICE", "cpu", "MODEL.VIT.WEIGHTS", "", "MODEL.VIT.DIM", "32",
         "MODEL.VIT.HEADS", "2", "MODEL.VIT.DEPTH", "2", "MODEL.VIT.GLOBAL_BLOCKS", "()",
         "MODEL.PYRAMID.CHANNELS", "16", "MODEL.UNET.CHANNELS", "(8, 16)",
         "MODEL.DENSE.CHANNELS", "8", "INPUT.CROP_SIZE", "96", "SOLVER.IMS_PER_BATCH", "2",
         "SOLVER.EPOCHS", "0", "SOLVER.MAX_ITER", "2", "SOLVER.WARMUP_ITERS", "1",
         "SOLVER.PATIENCE", "0", "MODEL.VIT.FROZEN_EPOCHS", "0", "TEST.EVAL_EPOCHS", "0",
         "TEST.LOSS_BATCHES", "1", "DATALOADER.NUM_WORKERS", "0"]  # fmt: skip


def small(path: Path, dataset: Path, folder: Path, *options: str) -> Any:
    where = ["DATASETS.ROOT", str(dataset), "OUTPUT_DIR", str(folder)]
    return prepare(load_config(path, [*SMALL, *where, *options]))


def test_there_are_dense_configs() -> None:
    names = {path.stem for path in DENSE}
    assert {"uni_watershed", "dinobloom_semantic", "dinov2_boundary"} <= names
    assert {"cpu_tiny_watershed", "cpu_tiny_flows"} <= names


@pytest.mark.parametrize("path", DENSE, ids=[path.stem for path in DENSE])
def test_it_trains_and_evaluates(path: Path, tiny_dataset: Path, tmp_path: Path) -> None:
    config = small(path, tiny_dataset, tmp_path)
    scores = train(config)
    assert {"segm", "instances", "pixels"} <= set(scores)
    line = json.loads((tmp_path / "metrics.json").read_text().splitlines()[-1])
    for head in config.MODEL.DENSE.HEADS:
        assert {f"loss_{head}", f"validation/loss_{head}"} <= set(line)
    if not config.MODEL.VIT.FROZEN:
        assert line["gradient_norm"] > 0
    tested = evaluate(config)
    assert 0 <= tested["segm"]["AP"] <= 1
    saved = torch.load(tmp_path / "model_best.pth", weights_only=True)
    assert saved["operating_point"]["origin"] == "bccd_val at iteration 2"
