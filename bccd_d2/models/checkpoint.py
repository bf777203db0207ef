"""Checkpoints that are whole or absent, and refuse a model that they do not fit."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from detectron2.checkpoint import DetectionCheckpointer
from torch import nn

from bccd_d2.io.atomic import write_bytes_atomic, write_text_atomic
from bccd_d2.models.file import read_checkpoint

RUN_FILES = ("model_best.pth", "model_final.pth")  # what a finished run has, the better first


class OperatingPoint:
    """The score threshold that belongs to a model, with where it was chosen.

    Attributes:
        score_threshold: cells below it are not reported, in [0, 1].
        origin: what it was chosen on, such as "bccd_val at iteration 400".
    """

    def __init__(self, score_threshold: float = 0.5, origin: str = "default") -> None:
        self.score_threshold = score_threshold
        self.origin = origin

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps of it."""
        return {"score_threshold": float(self.score_threshold), "origin": self.origin}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take the values of `state_dict`."""
        self.score_threshold = state["score_threshold"]
        self.origin = state["origin"]


def average_weights(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The model's own state dict out of that of its `training.ema.averaged_model`."""
    prefix = "module."
    return {name[len(prefix) :]: v for name, v in state.items() if name.startswith(prefix)}


def run_weights(config: Any, folder: str | Path) -> Path:
    """Where a finished run has the weights to use: its best, or its last without validation."""
    best, last = RUN_FILES
    return Path(folder) / (best if config.DATASETS.VALIDATION else last)


def weights_of(config: Any) -> Path:
    """``MODEL.WEIGHTS``, or what the run in ``OUTPUT_DIR`` has to use; it need not exist."""
    return Path(config.MODEL.WEIGHTS or run_weights(config, config.OUTPUT_DIR))


class CellCheckpointer(DetectionCheckpointer):
    """`DetectionCheckpointer` that writes atomically and is strict about what it loads.

    A run killed while saving keeps its last whole checkpoint; ``model_best`` does not become the
    point to resume from (detectron2's own marks whatever was saved last).

    Args:
        model: whose weights are saved and loaded.
        save_dir: folder; "" to load only.
        use_average: load the moving average of the weights where a checkpoint has one, as
            evaluation does; training goes on from the weights themselves.
        new_parts: beginnings of the names of parameters that a checkpoint need not have: parts
            added to a model that was trained without them.
        checkpointables: further parts with ``state_dict``, by name.
    """

    def __init__(
        self,
        model: nn.Module,
        save_dir: str = "",
        *,
        use_average: bool = False,
        new_parts: Sequence[str] = (),
        **checkpointables: Any,
    ) -> None:
        super().__init__(model, save_dir, **checkpointables)
        self.use_average = use_average
        self.new_parts = tuple(new_parts)

    def save(self, name: str, *, resumable: bool = True, **extra: Any) -> None:
        """Write ``name``.pth; ``resumable`` says whether ``--resume`` should start from it."""
        if not self.save_dir or not self.save_to_disk:
            return
        parts = {key: part.state_dict() for key, part in self.checkpointables.items()}
        buffer = io.BytesIO()
        torch.save({"model": self.model.state_dict(), **parts, **extra}, buffer)
        path = write_bytes_atomic(Path(self.save_dir) / f"{name}.pth", buffer.getbuffer())
        self.logger.info("Saved checkpoint %s", path)
        if resumable:
            self.tag_last_checkpoint(path.name)

    def remove(self, name: str) -> None:
        """Delete ``name``.pth where this process writes checkpoints."""
        if self.save_dir and self.save_to_disk:
            (Path(self.save_dir) / f"{name}.pth").unlink(missing_ok=True)

    def tag_last_checkpoint(self, last_filename_basename: str) -> None:
        write_text_atomic(Path(self.save_dir) / "last_checkpoint", last_filename_basename)

    def _load_file(self, filename: str) -> dict[str, Any]:
        if str(filename).endswith(".safetensors"):
            return read_checkpoint(filename)
        if not str(filename).endswith(".pth"):
            return super()._load_file(filename)
        loaded = torch.load(filename, map_location="cpu", weights_only=True)
        if self.use_average and "ema" in loaded:
            loaded["model"] = average_weights(loaded["ema"])
        return loaded if "model" in loaded else {"model": loaded}

    def _load_model(self, checkpoint: dict[str, Any]) -> Any:
        incompatible = super()._load_model(checkpoint)
        published = checkpoint.get("matching_heuristics", False)
        wrong = list(incompatible.incorrect_shapes)
        if not published:
            missing = [k for k in incompatible.missing_keys if not k.startswith(self.new_parts)]
            wrong += [*missing, *incompatible.unexpected_keys]
        if wrong:
            listed = ", ".join(str(w) for w in wrong[:6])
            raise ValueError(
                f"the checkpoint does not fit the model: {len(wrong)} tensors are missing, "
                f"unexpected or of another shape ({listed}). Use the config that it was made with."
            )
        return incompatible
