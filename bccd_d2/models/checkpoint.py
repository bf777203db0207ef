"""Checkpoints that are whole or absent, and refuse a model that they do not fit."""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from detectron2.utils import comm
from torch import nn

from bccd_d2.io.atomic import write_bytes_atomic, write_text_atomic
from bccd_d2.modeling.tensors import read_tensors
from bccd_d2.models.file import HEADER, header_of, read_description
from bccd_d2.models.preprocessing import PREPROCESSING

logger = logging.getLogger(__name__)

RUN_FILES = ("model_best.pth", "model_final.pth")  # what a finished run has, the better first
TYPES = "types."  # begins the names of what gives types to found cells, see `modeling.types.head`
_RESUMABLE = re.compile(r"model_(\d+|final)\.pth")


def read_checkpoint(path: str | Path, key: str = "weights") -> dict[str, Any]:
    """A file of weights as `CellCheckpointer` takes it: "model" and what goes with it.

    A model file of ours also gives operating_point and preprocessing, a .pth of training all that
    it holds.

    Raises:
        FileNotFoundError, ValueError: see `modeling.tensors.read_tensors` and `read_description`.
    """
    content = read_tensors(path, key)
    if Path(path).suffix.lower() == ".safetensors":
        tensors = {n: t.float() if t.dtype == torch.float16 else t for n, t in content.items()}
        content = {"model": tensors}
        if HEADER in header_of(path):
            description = read_description(path)
            content |= {name: description[name] for name in ("operating_point", PREPROCESSING)}
    elif "model" not in content:
        content = {"model": content}
    for name in ("model", "ema"):
        if not _is_state(content.get(name, {})):
            raise ValueError(
                f"{key} {path} holds no dictionary of tensors as {name!r}; take a checkpoint of "
                "bccd train or a model's state_dict()"
            )
    return content


def _is_state(found: Any) -> bool:
    return isinstance(found, dict) and all(
        isinstance(name, str) and torch.is_tensor(tensor) for name, tensor in found.items()
    )


def average_weights(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The model's own state dict out of that of its `training.ema.averaged_model`."""
    prefix = "module."
    return {name[len(prefix) :]: v for name, v in state.items() if name.startswith(prefix)}


def resume_file(folder: str | Path) -> Path | None:
    """The checkpoint that a run in ``folder`` can go on from; None where there is none at all.

    It is the one that ``last_checkpoint`` names. Where that file is missing, empty, or names no
    whole checkpoint, it is the furthest whole one in the folder, and the log says so.

    Raises:
        ValueError: there are checkpoints, but none is whole.
    """
    folder = Path(folder)
    tag = folder / "last_checkpoint"
    named = ""
    if tag.is_file():
        named = tag.read_text(encoding="utf-8", errors="replace").strip()
    others = [path for path in folder.glob("*.pth") if _RESUMABLE.fullmatch(path.name)]
    if not tag.is_file() and not others:
        return None
    if Path(named).name == named and named and _iteration(folder / named) is not None:
        return folder / named
    whole = [(done, path) for path in others if (done := _iteration(path)) is not None]
    if not whole:
        raise ValueError(
            f"{tag} names {named!r}, and no whole checkpoint lies in {folder} to go on from: start "
            "anew without --resume"
        )
    done, found = max(whole)
    logger.warning(
        "%s names %r, which is no whole checkpoint; going on from %s (iteration %d)",
        tag, named, found.name, done + 1,
    )  # fmt: skip
    return found


def _iteration(path: Path) -> int | None:
    """The last iteration, from 0, that a checkpoint of training holds; None: not a whole one."""
    try:
        done = read_checkpoint(path)["iteration"]
    except (ValueError, KeyError, OSError):
        return None
    return done if isinstance(done, int) else None


class CellCheckpointer:
    """Saves a run's parts atomically, and is strict about what it loads.

    A run killed while saving keeps its last whole checkpoint; ``model_best`` does not become the
    point to resume from. In place of detectron2's, which unpickles .pkl and .pyth files.

    Args:
        model: whose weights are saved and loaded.
        save_dir: folder; "" to load only.
        use_average: load the moving average of the weights where a checkpoint has one, as
            evaluation does; training goes on from the weights themselves.
        new_parts: beginnings of the names of parameters that a checkpoint need not have: parts
            added to a model that was trained without them.
        parts: further parts with ``state_dict``, by name.
    """

    def __init__(
        self,
        model: nn.Module,
        save_dir: str = "",
        *,
        use_average: bool = False,
        new_parts: Sequence[str] = (),
        **parts: Any,
    ) -> None:
        self.model, self.parts = model, parts
        self.save_dir = save_dir if comm.is_main_process() else ""
        self.use_average = use_average
        self.new_parts = tuple(new_parts)

    def save(self, name: str, *, resumable: bool = True, **extra: Any) -> None:
        """Write ``name``.pth; ``resumable`` says whether ``--resume`` should start from it."""
        if not self.save_dir:
            return
        states = {key: part.state_dict() for key, part in self.parts.items()}
        buffer = io.BytesIO()
        torch.save({"model": self.model.state_dict(), **states, **extra}, buffer)
        path = write_bytes_atomic(Path(self.save_dir) / f"{name}.pth", buffer.getbuffer())
        logger.info("Saved checkpoint %s", path)
        if resumable:
            write_text_atomic(Path(self.save_dir) / "last_checkpoint", path.name)

    def remove(self, name: str) -> None:
        """Delete ``name``.pth where this process writes checkpoints."""
        if self.save_dir:
            (Path(self.save_dir) / f"{name}.pth").unlink(missing_ok=True)

    def load(self, path: str | Path, parts: Sequence[str] | None = None) -> dict[str, Any]:
        """Load the model's weights and ``parts`` (None = all) from a file; what else it holds.

        Raises:
            FileNotFoundError, ValueError: see `read_checkpoint`; or it does not fit the model.
        """
        checkpoint = read_checkpoint(path, "checkpoint")
        if self.use_average and "ema" in checkpoint:
            checkpoint["model"] = average_weights(checkpoint["ema"])
        self._load_model(checkpoint.pop("model"), path)
        for name in self.parts if parts is None else parts:
            if name not in checkpoint:
                continue
            try:
                self.parts[name].load_state_dict(checkpoint.pop(name))
            except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
                raise ValueError(
                    f"checkpoint {path}: its {name} does not fit this run ({error!r:.200}). Use "
                    "the config that it was made with, or another checkpoint."
                ) from error
        return checkpoint

    def _load_model(self, state: dict[str, torch.Tensor], path: str | Path) -> None:
        if state and all(name.startswith("module.") for name in state):  # of DataParallel
            state = average_weights(state)
        own = self.model.state_dict()
        if not any(name.startswith(TYPES) for name in own):  # a typed model begins an untyped one
            state = {name: tensor for name, tensor in state.items() if not name.startswith(TYPES)}
        shapes = [name for name in own if name in state and state[name].shape != own[name].shape]
        missing = [n for n in own if n not in state and not n.startswith(self.new_parts)]
        wrong = [*shapes, *missing, *(name for name in state if name not in own)]
        if wrong:
            raise ValueError(
                f"the checkpoint does not fit the model: {len(wrong)} tensors are missing, "
                f"unexpected or of another shape ({', '.join(wrong[:6])}) in {path}. Use the "
                "config that it was made with."
            )
        self.model.load_state_dict(state, strict=False)
