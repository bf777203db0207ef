"""A frozen ViT stays bit for bit as it is, and then trains from the top down."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from detectron2.engine import HookBase
from torch import nn

from bccd_d2.modeling.backbones.vit import TimmViT, create_vit
from bccd_d2.training.run import prepare, train
from bccd_d2.training.unfreeze import Unfreezing, trained_parts

VIT = "backbone.net.vit."
TOP, LOW, STEM = f"{VIT}blocks.1.mlp.fc1.weight", f"{VIT}blocks.0.mlp.fc1.weight", f"{VIT}pos_embed"
FREEZING = ["MODEL.VIT.FROZEN_ITERS", "2", "MODEL.VIT.UNFREEZE_ITERS", "1", "SOLVER.MAX_ITER", "5",
            "SOLVER.WEIGHT_DECAY", "0.5", "SOLVER.BASE_LR", "0.01", "SOLVER.WARMUP_ITERS", "0",
            "DATASETS.VALIDATION", "()"]  # fmt: skip


def test_parts_by_iteration() -> None:
    assert [trained_parts(i, 2, 3, 4) for i in range(13)] == [0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4]
    assert [trained_parts(i, 2, 0, 4) for i in range(4)] == [0, 0, 4, 4]


class Weights(HookBase):
    """Copies of some weights before the first and after each step."""

    def __init__(self) -> None:
        self.seen: list[dict[str, torch.Tensor]] = []

    def _copy(self) -> None:
        state = self.trainer.model.state_dict()
        self.seen.append({name: state[name].clone() for name in (TOP, LOW, STEM)})

    def before_train(self) -> None:
        self._copy()

    def after_step(self) -> None:
        self._copy()

    def moved(self) -> list[set[str]]:
        """Which of the weights each step moved."""
        pairs = zip(self.seen, self.seen[1:], strict=False)
        return [{n for n in old if not torch.equal(old[n], new[n])} for old, new in pairs]


def test_parts_join_one_by_one_and_weight_decay_spares_the_rest(
    small_config: Callable, tmp_path: Path
) -> None:
    weights = Weights()
    train(prepare(small_config(tmp_path, *FREEZING)), extra_hooks=[weights])
    assert weights.moved() == [set(), set(), {TOP}, {TOP, LOW}, {TOP, LOW, STEM}]


def test_a_resumed_run_knows_what_trains(small_config: Callable, tmp_path: Path) -> None:
    """Three steps, then two more in a new trainer: the iteration alone decides."""
    options = [*FREEZING, "SOLVER.MAX_ITER", "3", "SOLVER.LR_SCHEDULER_NAME", "WarmupMultiStepLR"]
    train(prepare(small_config(tmp_path, *options)))
    weights = Weights()
    options[options.index("3")] = "5"
    config = prepare(small_config(tmp_path, *options, "SOLVER.MAX_ITER", "5"))
    train(config, resume=True, extra_hooks=[weights])
    assert weights.moved() == [{TOP, LOW}, {TOP, LOW, STEM}]


def test_frozen_blocks_drop_no_path_also_after_an_evaluation() -> None:
    kwargs = {"embed_dim": 32, "num_heads": 2, "depth": 4, "drop_path_rate": 0.5}
    vit = TimmViT(create_vit("vit_tiny_patch16_224", grid=4, **kwargs))
    vit.train_top(2)
    vit.eval()
    vit.train()
    assert [block.training for block in vit.vit.blocks] == [False, False, True, True]
    trainable = {name for name, p in vit.named_parameters() if p.requires_grad}
    assert "vit.norm.weight" in trainable and "vit.pos_embed" not in trainable
    assert not any(name.startswith("vit.blocks.1.") for name in trainable)
    vit.train_top(5)
    assert all(block.training for block in vit.vit.blocks)
    assert all(p.requires_grad for p in vit.parameters())


def test_a_model_without_a_vit_is_refused() -> None:
    with pytest.raises(ValueError, match="no ViT"):
        Unfreezing([m for m in nn.Linear(1, 1).modules() if hasattr(m, "train_top")], 1, 1)


def test_two_processes(small_options: list[str], repo_root: Path, tmp_path: Path) -> None:
    """DistributedDataParallel waits for no gradient of a frozen part, and averages thawed ones."""
    tool, config = repo_root / "tools/train_net.py", repo_root / "configs/cpu_tiny_maskrcnn.yaml"
    call = [sys.executable, str(tool), "--config-file", str(config), "--num-gpus", "2"]
    options = [*small_options, *FREEZING, "OUTPUT_DIR", str(tmp_path), "SOLVER.CHECKPOINT_PERIOD",
               "1", "SOLVER.MAX_ITER", "4", "SOLVER.ACCUMULATE", "2",
               "SOLVER.IMS_PER_BATCH", "4"]  # fmt: skip
    subprocess.run([*call, *options], check=True, timeout=300)
    saved = [torch.load(tmp_path / name, weights_only=True)["model"] for name in
             ("model_0000001.pth", "model_0000002.pth", "model_final.pth")]  # fmt: skip
    moved = [{n for n in (TOP, LOW, STEM) if not torch.equal(a[n], b[n])} for a, b in
             zip(saved, saved[1:], strict=False)]  # fmt: skip
    assert moved == [{TOP}, {TOP, LOW}]
