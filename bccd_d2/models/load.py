"""A trained model as a function from images to cells, found by name, folder or file."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from bccd_d2.config.load import classes_of, finalize, load_config
from bccd_d2.data.preprocess import Preprocessor, resize_image, scaled_size
from bccd_d2.masks.cells import Cells
from bccd_d2.modeling.build import build_model
from bccd_d2.modeling.device import chosen_device
from bccd_d2.modeling.tensors import SUFFIXES, check_weights_file
from bccd_d2.models.checkpoint import RUN_FILES, CellCheckpointer, OperatingPoint
from bccd_d2.models.file import (
    DECIDING,
    HEADER,
    STARTS,
    config_of,
    file_sha256,
    find_pretrained,
    header_of,
    portable_config,
    read_description,
)
from bccd_d2.models.preprocessing import (
    PREPROCESSING,
    Preprocessing,
    preprocess_options,
    with_reference,
)

logger = logging.getLogger(__name__)

PRECISIONS = ("fp32", "bf16")
WITHOUT_WEIGHTS = ("OtsuWatershed",)  # meta-architectures with nothing to learn


def run_weights(config: Any, folder: str | Path) -> Path:
    """Where a finished run has the weights to use: its best, or its last without validation."""
    best, last = RUN_FILES
    return Path(folder) / (best if config.DATASETS.VALIDATION else last)


def weights_of(config: Any) -> Path:
    """``MODEL.WEIGHTS``, or what the run in ``OUTPUT_DIR`` has to use; it need not exist."""
    return Path(config.MODEL.WEIGHTS or run_weights(config, config.OUTPUT_DIR))


class TrainedModel:
    """What a config and its weights say of images; see `load_model`.

    Attributes:
        name: the model file's own, else the run folder's or the file's.
        score_threshold: the operating point that was chosen with the model, in [0, 1].
        diameter: px, at the model's own scale, of the cells that it was trained on; None for a
            model that was trained on images of one scale alone.
        classes: what its cells may be.
        looks_at_whole: the preprocessing of a part depends on the colours of the whole image.
        source: file of the weights; "" for a model without any.
        precision: "fp32" or "bf16", what the network computes in.
        config: frozen.
        net: the module, in eval mode.
    """

    def __init__(
        self,
        name: str,
        config: Any,
        net: nn.Module,
        point: OperatingPoint,
        source: str = "",
        precision: str = "fp32",
    ) -> None:
        if precision not in PRECISIONS:
            raise ValueError(f"precision must be one of {PRECISIONS}, got {precision!r}")
        self.name, self.config, self.source, self.precision = name, config, source, precision
        self.score_threshold = float(point.score_threshold)
        given = config.INPUT
        self.diameter = given.DIAMETER / given.IMAGE_SCALE if given.DIAMETER else None
        self.classes = classes_of(config)
        self.net = net.eval()
        self._look = preprocess_options(config)
        self.looks_at_whole = self._look.stain is not None and self._look.stain_strength > 0

    @property
    def device(self) -> str:
        """Where the model computes, such as "cpu" or "cuda:0"."""
        weights = next(self.net.parameters(), None)
        return "cpu" if weights is None else str(weights.device)

    def digest(self) -> str:
        """SHA-256 of the weights' file; "" for a model without weights."""
        return file_sha256(self.source) if self.source else ""

    def identity(self) -> str:
        """SHA-256 of the weights, of what the config says on answering, and of the precision."""
        kept = portable_config(self.config).items()
        deciding = {key: value for key, value in kept if key.startswith(DECIDING)}
        text = self.digest() + json.dumps(deciding, sort_keys=True)
        text += "" if self.precision == "fp32" else self.precision
        return hashlib.sha256(text.encode()).hexdigest()

    @torch.inference_mode()
    def __call__(
        self,
        images: Sequence[np.ndarray],
        *,
        zoom: float = 1.0,
        whole: np.ndarray | None = None,
    ) -> list[Cells]:
        """The candidates of each image, in its own frame, of all scores the model gives.

        Images of one size go through the model together, others one by one; the answer does not
        depend on that.

        Args:
            images: (H, W, 3) uint8 RGB each.
            zoom: factor on top of the model's own scale, for cells of another size.
            whole: (h, w, 3) uint8 RGB, pixels that stand for the colours of the whole image that
                ``images`` are parts of; None = each image stands for itself.
        """
        inputs = [self._input(image, zoom, whole) for image in images]
        kind = torch.device(self.device).type
        with torch.autocast(kind, torch.bfloat16, enabled=self.precision == "bf16"):
            if len({given["image"].shape for given in inputs}) == 1:
                answers = self.net(inputs)
            else:
                answers = [answer for given in inputs for answer in self.net([given])]
        found = [Cells.from_instances(answer["instances"]) for answer in answers]
        self._warn_about_cap(found)
        return found

    def _input(self, image: np.ndarray, zoom: float, whole: np.ndarray | None) -> dict[str, Any]:
        height, width = image.shape[:2]
        size = scaled_size((height, width), self.config.INPUT.IMAGE_SCALE * zoom)
        part = resize_image(image, size)
        part = Preprocessor(self._look)(part, image if whole is None else whole, "")
        pixels = torch.from_numpy(np.ascontiguousarray(part.transpose(2, 0, 1)))
        return {"image": pixels, "height": height, "width": width}

    def _warn_about_cap(self, found: Sequence[Cells]) -> None:
        cap = self.config.TEST.DETECTIONS_PER_IMAGE
        if any((cells.scores >= self.score_threshold).sum() >= cap for cells in found):
            logger.warning(
                "an image or tile has %d cells or more, and no more are reported: use smaller "
                "tiles, or raise TEST.DETECTIONS_PER_IMAGE",
                cap,
            )


def load_trained(config: Any) -> tuple[Any, nn.Module, OperatingPoint, str]:
    """The model of ``MODEL.WEIGHTS``, or of the run's best checkpoint.

    A model without parameters needs no weights; of its cells all count.

    Returns:
        The config with the preprocessing that the model learned with, the model, its
        operating point and the path of the weights, "" for a model without any.

    Raises:
        FileNotFoundError: there is no checkpoint.
        ValueError: it does not fit the config's model.
    """
    weights = str(weights_of(config))
    learned = config.MODEL.META_ARCHITECTURE not in WITHOUT_WEIGHTS
    if learned and not Path(weights).is_file():
        raise FileNotFoundError(
            f"no weights at {weights}: train first, or add MODEL.WEIGHTS PATH to the command"
        )
    model = build_model(without_starts(config))
    if not learned:
        return with_reference(config), model, OperatingPoint(0.0, "no data: all cells count"), ""
    point = OperatingPoint()
    preprocessing = Preprocessing()
    parts: dict[str, Any] = {"operating_point": point, PREPROCESSING: preprocessing}
    CellCheckpointer(model, use_average=True, **parts).load(weights, list(parts))
    return preprocessing.given_to(config), model, point, weights


def without_starts(config: Any) -> Any:
    """A frozen copy whose backbone starts from no weights: a checkpoint has them all.

    So no hub is asked, and no file that the training began from needs to be there any more.
    """
    config = config.clone()
    config.defrost()
    config.merge_from_list([part for key in STARTS for part in (key, "")])
    config.freeze()
    return config


def load_model(
    name_or_path: str = "", config_file: str = "", device: str = "auto", precision: str = "fp32"
) -> TrainedModel:
    """The model of a shipped name, a run's folder, a .pth or a .safetensors file.

    A .safetensors file of ours carries its config; beside a .pth lies the run's ``config.yaml``.

    Args:
        name_or_path: "" = the model that ships with the package; with a ``config_file`` the best
            checkpoint of its ``OUTPUT_DIR``, or no weights where the model has none.
        config_file: a YAML file, or a shipped config by name, in place of the model's own config.
        device: "auto" takes a GPU where there is one; "cpu", "cuda", "cuda:1", ...
        precision: "fp32", or "bf16": see `segmenter.load_pretrained`.

    Raises:
        FileNotFoundError: no such file, no config beside it, or nothing ships.
        KeyError: a name that is none of the shipped models.
        ValueError: a file that is damaged or does not fit its config, or no such device.
    """
    name, weights, config = _find(str(name_or_path), str(config_file))
    config.MODEL.DEVICE = chosen_device(device)
    if weights:
        config.MODEL.WEIGHTS = weights
    config, net, point, source = load_trained(finalize(config))
    return TrainedModel(name or Path(source).stem or "model", config, net, point, source, precision)


def _find(given: str, config_file: str) -> tuple[str, str, Any]:
    """Name, weights ("" = the config's own) and config of what the user gave."""
    path = Path(given)
    if not given and config_file:
        config = load_config(config_file)
        named = Path(config.OUTPUT_DIR).name
        return _stem(config_file, config) or named, "", config
    if path.is_dir() and given:
        weights = next((path / name for name in RUN_FILES if (path / name).is_file()), None)
        if weights is None:
            raise FileNotFoundError(f"folder {path} holds none of {', '.join(RUN_FILES)}")
        return path.resolve().name, str(weights), load_config(config_file or _beside(path))
    is_file = path.is_file() or path.suffix.lower() in SUFFIXES
    path = check_weights_file(path) if is_file else find_pretrained(given)
    if path.suffix == ".safetensors" and (not config_file or HEADER in header_of(path)):
        description = read_description(path)
        config = load_config(config_file) if config_file else config_of(description, path)
        return description["name"], str(path), config
    return path.stem, str(path), load_config(config_file or _beside(path.parent))


def _stem(config_file: str, config: Any) -> str:
    """A model without weights is named by its config."""
    return Path(config_file).stem if config.MODEL.META_ARCHITECTURE in WITHOUT_WEIGHTS else ""


def _beside(folder: Path) -> Path:
    config = folder / "config.yaml"
    if not config.is_file():
        raise FileNotFoundError(
            f"{folder} has no config.yaml: give the config that the model was trained with"
        )
    return config
