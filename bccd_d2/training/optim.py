"""Learning rates: layer by layer, on resuming, and of a schedule of another length."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import torch
from torch import nn

from bccd_d2.modeling.backbones.vit import layer_index


def parameter_groups(
    model: nn.Module,
    *,
    lr: float,
    weight_decay: float,
    depth: int = 0,
    layer_decay: float = 1.0,
    backbone_factor: float = 1.0,
    weight_decay_norm: float = 0.0,
) -> list[dict[str, Any]]:
    """Trainable parameters grouped by learning rate and weight decay.

    The learning rate of ViT block i is ``lr * backbone_factor * layer_decay ** (depth - i)``, that
    of what lies below all blocks one step lower, that of everything after them ``lr`` (Bao et al.,
    BEiT, arXiv 2106.08254, as ViTDet uses it). Vectors (biases, norms, LayerScale) and position
    embeddings and prefix tokens take ``weight_decay_norm``.

    Args:
        depth: number of ViT blocks; 0 for a model without a ViT.
    """
    groups: dict[tuple[float, float], list[nn.Parameter]] = defaultdict(list)
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        rate = lr
        if depth and ".vit." in name:
            rate = lr * backbone_factor * layer_decay ** (depth + 1 - layer_index(name, depth))
        plain = parameter.ndim <= 1 or name.endswith(("pos_embed", "cls_token", "reg_token"))
        groups[rate, weight_decay_norm if plain else weight_decay].append(parameter)
    return [
        {"params": parameters, "lr": rate, "weight_decay": decay}
        for (rate, decay), parameters in groups.items()
    ]


def learning_rates(optimizer: torch.optim.Optimizer) -> list[dict[str, Any]]:
    """What a config says of each group of parameters: initial_lr, weight_decay and betas."""
    names = ("initial_lr", "weight_decay", "betas")
    return [{name: group[name] for name in names} for group in optimizer.param_groups]


def set_learning_rates(
    optimizer: torch.optim.Optimizer, asked: list[dict[str, Any]], schedule: Any
) -> None:
    """Let a resumed run go on with the rates that its config asks for.

    A checkpoint holds those it was written with; where they are the same nothing changes.

    Args:
        asked: of `learning_rates`, before the checkpoint was loaded.
        schedule: of `build.build_schedule`.
    """
    for group, wanted in zip(optimizer.param_groups, asked, strict=True):
        if group["initial_lr"] != wanted["initial_lr"]:
            group["lr"] *= wanted["initial_lr"] / group["initial_lr"]
        group.update(wanted)
    schedule.base_lrs = [wanted["initial_lr"] for wanted in asked]


def stretch_schedule(schedule: Any, iterations: int) -> None:
    """Let a schedule of `build.build_schedule` end after another number of iterations, from now on.

    Warm-up and decay keep their shares of the whole.
    """
    schedule._max_iter = iterations
