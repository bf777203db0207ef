"""Reading published ViT checkpoints into a timm ViT, tensor for tensor, with a report.

Files are read by `bccd_d2.modeling.tensors`, which runs no code from them.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass, field

import timm
import torch
from huggingface_hub import hf_hub_download
from huggingface_hub.utils import EntryNotFoundError
from timm.layers import resample_abs_pos_embed, resample_patch_embed
from timm.models.vision_transformer import VisionTransformer

from bccd_d2.modeling.tensors import check_weights_file, read_tensors

logger = logging.getLogger(__name__)
State = dict[str, torch.Tensor]

HUBS = ("timm:", "hf-hub:")
HUB_FILES = ("model.safetensors", "pytorch_model.bin")  # the first that a repository has
VIT_KEY = "MODEL.VIT.WEIGHTS"
_WRAPPERS = ("teacher", "student", "model", "state_dict")
_PREFIXES = ("module.", "_orig_mod.", "backbone.", "encoder.")
_NOT_BACKBONE = ("dino_head.", "ibot_head.", "head.", "mask_token", "pre_logits.")
_RENAMED = ((r"^register_tokens$", "reg_token"), (r"\.mlp\.w12\.", ".mlp.fc1."),
            (r"\.mlp\.w3\.", ".mlp.fc2."), (r"^blocks\.\d+\.(\d+)\.", r"blocks.\1."))  # fmt: skip


@dataclass(frozen=True)
class LoadReport:
    """What loading did with every tensor, by timm's names.

    Attributes:
        matched: loaded as they are.
        resampled: loaded after changing the patch kernel or the position grid.
        missing: the model has them, the checkpoint has not.
        unexpected: the checkpoint has them, the model has not; or of another shape.
        left_out: parts of the checkpoint that are no backbone (heads, mask token).
    """

    source: str
    matched: list[str] = field(default_factory=list)
    resampled: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        text = (
            f"{self.source}: {len(self.matched)} tensors matched, {len(self.resampled)} resampled, "
            f"{len(self.missing)} missing, {len(self.unexpected)} unexpected, "
            f"{len(self.left_out)} left out"
        )
        for name in ("resampled", "missing", "unexpected"):
            listed = getattr(self, name)
            if listed:
                more = " ..." if len(listed) > 6 else ""
                text += f"\n  {name}: {', '.join(listed[:6])}{more}"
        return text


def load_vit_weights(vit: VisionTransformer, source: str) -> LoadReport:
    """Load a published checkpoint into ``vit`` in place.

    Args:
        source: a local file as `bccd_d2.modeling.tensors` reads it, ``timm:NAME`` or
            ``hf-hub:OWNER/NAME``.

    Raises:
        FileNotFoundError: no such local file.
        OSError: the hub cannot be reached or refuses access.
        ValueError: the file is no checkpoint of this architecture; the message lists the tensors.
    """
    state, left_out = backbone_state(read_state_dict(source), vit)
    report = LoadReport(source, left_out=left_out)
    target = vit.state_dict()
    loadable = {}
    for name, tensor in state.items():
        fitted = _fit(name, tensor, vit, target[name].shape) if name in target else None
        if fitted is None:
            report.unexpected.append(f"{name} {tuple(tensor.shape)}")
            continue
        loadable[name] = fitted
        kept = fitted is tensor
        (report.matched if kept else report.resampled).append(name)
    report.missing.extend(sorted(set(target) - set(loadable)))
    if report.missing or report.unexpected:
        raise ValueError(
            f"{VIT_KEY} does not fit the architecture; nothing was loaded.\n{report}\n"
            "Set MODEL.VIT.PRESET to the model that the file was made with."
        )
    vit.load_state_dict(loadable)
    logger.info("Backbone weights from %s", report)
    return report


def check_source(source: str, key: str = VIT_KEY) -> None:
    """Pass "", a hub entry (which is not asked) or a file that exists.

    Args:
        key: the config key that named it, for the message.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a kind of file that is not read, because it could run code.
    """
    if not source or source.startswith(HUBS):
        return
    try:
        check_weights_file(source, key)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{error}, 'timm:NAME', 'hf-hub:OWNER/NAME', or '' for random weights"
        ) from error


def read_state_dict(source: str, key: str = VIT_KEY) -> dict:
    """The content of a checkpoint file or hub entry, as published; see `load_vit_weights`."""
    check_source(source, key)
    if source.startswith(HUBS):
        return _read_hub(source, key)
    return read_tensors(source, key)


def _read_hub(source: str, key: str) -> State:
    kind, name = source.split(":", 1)
    try:
        if kind == "timm":
            if not timm.is_model(name):
                raise ValueError(f"timm knows no model {name!r}")
            return timm.create_model(name, pretrained=True, num_classes=0).state_dict()
        return read_tensors(_fetch(name), key)
    except ValueError:
        raise
    except Exception as error:  # The hub client raises a dozen kinds, none of which is kept stable.
        page = f"https://huggingface.co/{'timm/' if kind == 'timm' else ''}{name}"
        raise OSError(
            f"cannot fetch {source} ({type(error).__name__}: {str(error).splitlines()[0]}). If the "
            f"model is gated, ask for access at {page} and run `hf auth login`; without network, "
            f"download its weights file elsewhere and set {key} to that file."
        ) from error


def _fetch(name: str) -> str:
    """The local path of a repository's weights; ``name`` may end in ``@REVISION``."""
    repository, _, revision = name.partition("@")
    for file in HUB_FILES[:-1]:
        try:
            return hf_hub_download(repository, file, revision=revision or None)
        except EntryNotFoundError:
            continue
    return hf_hub_download(repository, HUB_FILES[-1], revision=revision or None)


def backbone_state(checkpoint: dict, vit: VisionTransformer) -> tuple[State, list[str]]:
    """The backbone's tensors under timm's names, and the names of what was left out.

    Unwraps ``teacher``, ``student``, ``model`` and ``state_dict``, strips the prefixes of training
    wrappers, and translates DINOv2's names (Oquab et al., arXiv 2304.07193) to timm's.

    Raises:
        ValueError: the content is no dictionary of tensors.
    """
    state = checkpoint
    while isinstance(state, dict):
        inner = next((w for w in _WRAPPERS if isinstance(state.get(w), dict)), None)
        if inner is None:
            break
        state = state[inner]
    if not isinstance(state, dict) or not any(torch.is_tensor(v) for v in state.values()):
        raise ValueError("the checkpoint holds no dictionary of tensors")
    kept: State = {}
    left_out = []
    for name, tensor in state.items():
        short = _timm_name(name)
        if short.startswith(_NOT_BACKBONE) or not torch.is_tensor(tensor):
            left_out.append(name)
        else:
            kept[short] = tensor
    return _split_class_position(kept, vit), left_out


def _timm_name(name: str) -> str:
    stripped = True
    while stripped:
        stripped = False
        for prefix in _PREFIXES:
            if name.startswith(prefix):
                name, stripped = name[len(prefix) :], True
    for pattern, replacement in _RENAMED:
        name = re.sub(pattern, replacement, name)
    return name


def _split_class_position(state: State, vit: VisionTransformer) -> State:
    """Move the class token's position into the class token for models that keep none for it.

    DINOv2 with registers publishes a position for the class token; timm's version of it
    (``no_embed_class``) adds that to the token once and for all, which is the same function.
    """
    position = state.get("pos_embed")
    if position is None or position.ndim != 3 or not vit.no_embed_class or "cls_token" not in state:
        return state
    tokens = position.shape[1]
    if round((tokens - 1) ** 0.5) ** 2 != tokens - 1:
        return state
    return state | {
        "cls_token": state["cls_token"] + position[:, :1],
        "pos_embed": position[:, 1:],
    }


def _fit(
    name: str, tensor: torch.Tensor, vit: VisionTransformer, shape: torch.Size
) -> torch.Tensor | None:
    """The tensor in the wanted shape: itself, resampled, or None where neither is possible."""
    if tensor.shape == shape:
        return tensor
    if name == "patch_embed.proj.weight" and tensor.ndim == 4 and tensor.shape[:2] == shape[:2]:
        return resample_patch_embed(tensor.float(), list(shape[2:]))
    if name == "pos_embed" and tensor.ndim == 3 and tensor.shape[-1] == shape[-1]:
        prefix = 0 if vit.no_embed_class else vit.num_prefix_tokens
        side = round((tensor.shape[1] - prefix) ** 0.5)
        if side * side == tensor.shape[1] - prefix:
            grid = list(vit.patch_embed.grid_size)
            return resample_abs_pos_embed(
                tensor, new_size=grid, old_size=[side, side], num_prefix_tokens=prefix
            )
    return None
