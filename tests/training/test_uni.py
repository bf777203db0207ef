"""UNI at its real size: the published layout loads exactly, trains and evaluates on the CPU."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

pytest.importorskip("detectron2")


@pytest.mark.slow
def test_uni_loads_trains_two_iterations_and_evaluates(
    tiny_dataset: Path, repo_root: Path, tmp_path: Path, caplog
) -> None:
    import timm
    import train_net

    # As UNI's model card builds it; the file holds that model's state dict and nothing else.
    vit = timm.create_model(
        "vit_large_patch16_224", img_size=224, patch_size=16, init_values=1e-5, num_classes=0
    )
    torch.save(vit.state_dict(), tmp_path / "pytorch_model.bin")
    config = ["--config-file", str(repo_root / "configs" / "uni_maskrcnn.yaml")]
    options = ["MODEL.DEVICE", "cpu", "DATASETS.ROOT", str(tiny_dataset), "OUTPUT_DIR",
               str(tmp_path / "run"), "MODEL.VIT.WEIGHTS", str(tmp_path / "pytorch_model.bin"),
               "SOLVER.EPOCHS", "0", "SOLVER.MAX_ITER", "2", "SOLVER.IMS_PER_BATCH", "1",
               "SOLVER.WARMUP_ITERS", "1", "INPUT.CROP_SIZE", "96", "TEST.EVAL_EPOCHS", "0",
               "TEST.LOSS_BATCHES", "1", "DATALOADER.NUM_WORKERS", "0",
               "SOLVER.PRECISION", "fp32"]  # fmt: skip
    assert train_net.main([*config, *options]) == 0
    log = (tmp_path / "run" / "log.txt").read_text()
    count = len(vit.state_dict())
    assert f"{count} tensors matched, 0 resampled, 0 missing, 0 unexpected, 0 left out" in log
    options[options.index("MODEL.VIT.WEIGHTS") + 1] = ""
    assert train_net.main([*config, "--eval-only", *options]) == 0
    summary = json.loads((tmp_path / "run" / "evaluation" / "metrics.json").read_text())
    assert 0 <= summary["scores"]["segm"]["AP"] <= 1
