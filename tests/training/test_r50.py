"""The ResNet50-FPN configs train two steps and evaluate on the CPU."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("detectron2")

SMALL = ["MODEL.DEVICE", "cpu", "MODEL.RESNETS.WEIGHTS", "", "MODEL.RESNETS.WIDTH_PER_GROUP", "8",
         "MODEL.RESNETS.STEM_OUT_CHANNELS", "32", "MODEL.RESNETS.RES2_OUT_CHANNELS", "32",
         "MODEL.FPN.OUT_CHANNELS", "32", "MODEL.ROI_BOX_HEAD.FC_DIM", "32",
         "MODEL.ROI_MASK_HEAD.CONV_DIM", "32", "INPUT.CROP_SIZE", "96",
         "SOLVER.IMS_PER_BATCH", "2", "SOLVER.EPOCHS", "0", "SOLVER.MAX_ITER", "2",
         "SOLVER.WARMUP_ITERS", "0", "TEST.EVAL_EPOCHS", "0", "TEST.LOSS_BATCHES", "1",
         "DATALOADER.NUM_WORKERS", "0"]  # fmt: skip


@pytest.mark.parametrize("name", ["r50fpn", "r50fpn_tuned", "r50fpn_scratch"])
def test_it_trains_two_steps_and_evaluates(
    name: str, tiny_dataset: Path, repo_root: Path, tmp_path: Path
) -> None:
    import train_net

    config = ["--config-file", str(repo_root / "configs" / f"{name}_maskrcnn.yaml")]
    options = [*SMALL, "DATASETS.ROOT", str(tiny_dataset), "OUTPUT_DIR", str(tmp_path)]
    if name == "r50fpn_scratch":  # 32 groups do not divide 8 channels
        options += ["MODEL.RESNETS.WIDTH_PER_GROUP", "32"]
    assert train_net.main([*config, *options]) == 0
    lines = [json.loads(line) for line in (tmp_path / "metrics.json").read_text().splitlines()]
    rates = [line["lr"] for line in lines if "lr" in line]
    assert rates[-1] == pytest.approx(0.5e-4 if name != "r50fpn_scratch" else 1.5e-4)
    assert train_net.main([*config, "--eval-only", *options]) == 0
    scores = json.loads((tmp_path / "evaluation" / "metrics.json").read_text())["scores"]
    assert 0 <= scores["segm"]["AP"] <= 1
