"""detectron2's ResNet with its feature pyramid, started from published ResNet weights.

They are read as torchvision and timm name their tensors (``layer1.0.conv1.weight``; a detector's
``backbone.body.`` before them is taken off) and as detectron2 does (``res2.0.conv1.weight``), from
.pth or .safetensors files that hold tensors alone. detectron2's own .pkl files are refused: reading
a pickle runs code from it.
"""

from __future__ import annotations

import logging
import re
from typing import Any

import torch
from torch import nn

from bccd_d2.modeling.backbones.weights import LoadReport, State, read_state_dict

logger = logging.getLogger(__name__)

KEY = "MODEL.RESNETS.WEIGHTS"
RESNET_LICENCES = {"timm:resnet50.tv_in1k": "BSD-3-Clause"}  # as published there
_PREFIXES = ("module.", "model.", "backbone.bottom_up.", "bottom_up.", "backbone.body.")
_PART = re.compile(r"^(stem|res[2-5])\.")
_RENAMED = (
    (r"^conv1\.", "stem.conv1."),
    (r"^bn1\.", "stem.conv1.norm."),
    (r"^layer(\d)\.", lambda match: f"res{int(match[1]) + 1}."),
    (r"\.bn(\d)\.", r".conv\1.norm."),
    (r"\.downsample\.0\.", ".shortcut."),
    (r"\.downsample\.1\.", ".shortcut.norm."),
)


def detectron2_name(name: str) -> str | None:
    """The name inside detectron2's ResNet of a published tensor; None for what is no part of it.

    Example:
        detectron2_name("layer1.0.downsample.1.bias") == "res2.0.shortcut.norm.bias"
    """
    for prefix in _PREFIXES:
        name = name.removeprefix(prefix)
    for pattern, replacement in _RENAMED:
        name = re.sub(pattern, replacement, name)
    counter = name.endswith("num_batches_tracked")
    return name if _PART.match(name) and not counter else None


def load_resnet_weights(resnet: nn.Module, source: str) -> LoadReport:
    """Load a published ResNet into detectron2's, in place, tensor for tensor.

    Args:
        source: a local file of tensors, ``timm:NAME`` or ``hf-hub:OWNER/NAME``.

    Raises:
        FileNotFoundError: no such local file.
        OSError: the hub cannot be reached or refuses access.
        ValueError: a pickle, or tensors are missing, of another shape, or of no place in the model.
    """
    state = _tensors(read_state_dict(source, KEY), source)
    target = {n: t for n, t in resnet.state_dict().items() if not n.endswith("batches_tracked")}
    report = LoadReport(source)
    fitting: State = {}
    for name, tensor in state.items():
        short = detectron2_name(name)
        if short is None:
            report.left_out.append(name)
        elif short in target and target[short].shape == tensor.shape:
            fitting[short] = tensor
            report.matched.append(short)
        else:
            report.unexpected.append(f"{short} {tuple(tensor.shape)}")
    report.missing.extend(sorted(set(target) - set(fitting)))
    if report.missing or report.unexpected:
        raise ValueError(
            f"{KEY} does not fit the architecture; nothing was loaded.\n{report}\nPublished "
            'weights need MODEL.RESNETS.NORM "FrozenBN" or "BN", and the DEPTH of their training.'
        )
    resnet.load_state_dict(fitting, strict=False)  # what is missing then are counters of batches
    logger.info("ResNet weights from %s", report)
    return report


def _tensors(checkpoint: Any, source: str) -> State:
    for wrapper in ("model", "state_dict"):
        if isinstance(checkpoint, dict) and isinstance(checkpoint.get(wrapper), dict):
            checkpoint = checkpoint[wrapper]
    if not isinstance(checkpoint, dict) or not any(map(torch.is_tensor, checkpoint.values())):
        raise ValueError(f"{KEY} {source} holds no dictionary of tensors")
    return {name: value for name, value in checkpoint.items() if torch.is_tensor(value)}
