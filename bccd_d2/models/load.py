"""A trained model as a function from images to cells, found by name, folder or file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from bccd_d2.config.load import finalize, load_config
from bccd_d2.masks.cells import Cells
from bccd_d2.modeling.build import build_model
from bccd_d2.modeling.device import chosen_device
from bccd_d2.modeling.tensors import SUFFIXES, check_weights_file
from bccd_d2.modeling.types.head import UNTYPED
from bccd_d2.models.checkpoint import RUN_FILES, CellCheckpointer
from bccd_d2.models.file import (
    HEADER,
    STARTS,
    config_of,
    find_pretrained,
    header_of,
    portable_config,
    read_description,
)
from bccd_d2.models.model import CellModel
from bccd_d2.models.point import OperatingPoint
from bccd_d2.models.preprocessing import PREPROCESSING, Preprocessing, with_reference

WITHOUT_WEIGHTS = ("OtsuWatershed",)  # meta-architectures with nothing to learn


def run_weights(config: Any, folder: str | Path) -> Path:
    """Where a finished run has the weights to use: its best, or its last without validation."""
    best, last = RUN_FILES
    return Path(folder) / (best if config.DATASETS.VALIDATION else last)


def meant_weights(config: Any, given: str) -> str:
    """The file that a path, a run's folder or a shipped model's name stands for; "" for "".

    Raises:
        KeyError: a word without a suffix that is neither a file nor the name of a shipped model.
    """
    path = Path(given)
    if given and path.is_dir():
        return str(run_weights(config, path))
    if given and not path.exists() and path.name == given and not path.suffix:
        return str(find_pretrained(given))
    return given


def weights_of(config: Any) -> Path:
    """``MODEL.WEIGHTS``, or what the run in ``OUTPUT_DIR`` has to use; it need not exist."""
    return Path(config.MODEL.WEIGHTS or run_weights(config, config.OUTPUT_DIR))


class TrainedModel(CellModel):
    """A model as PyTorch computes it; see `load_model` and `CellModel`.

    Attributes:
        config: frozen.
        net: the module, in eval mode.
    """

    backend = "torch"

    def __init__(
        self,
        name: str,
        config: Any,
        net: nn.Module,
        point: OperatingPoint,
        source: str = "",
        precision: str = "fp32",
    ) -> None:
        super().__init__(name, config, point.score_threshold, source, precision)
        self.config = config
        self.net = net.eval()
        weights = next(net.parameters(), None)
        self.device = "cpu" if weights is None else str(weights.device)

    def _portable(self) -> Mapping[str, Any]:
        return portable_config(self.config)

    @torch.inference_mode()
    def _answer(
        self, images: Sequence[np.ndarray], sizes: Sequence[tuple[int, int]], untyped: bool = False
    ) -> list[Cells]:
        inputs = [
            {
                "image": torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))),
                "height": height,
                "width": width,
                UNTYPED: untyped,
            }
            for image, (height, width) in zip(images, sizes, strict=True)
        ]
        kind = torch.device(self.device).type
        with torch.autocast(kind, torch.bfloat16, enabled=self.precision == "bf16"):
            answers = self.net(inputs)
        return [Cells.from_instances(answer["instances"]) for answer in answers]


def load_trained(config: Any) -> tuple[Any, nn.Module, OperatingPoint, str]:
    """The model of ``MODEL.WEIGHTS``, or of the run's best checkpoint.

    A model without parameters needs no weights; of its cells all count.

    Returns:
        The config with the preprocessing that the model learned with, the model, its
        operating point and the path of the weights, "" for a model without any.

    Raises:
        FileNotFoundError: there is no checkpoint.
        ValueError: it does not fit the config's model, or the config asks for what is none.
    """
    weights = str(weights_of(config))
    learned = config.MODEL.META_ARCHITECTURE not in WITHOUT_WEIGHTS or config.MODEL.TYPES.ENABLED
    if learned and not Path(weights).is_file():
        raise FileNotFoundError(
            f"no weights at {weights}: train first, or add MODEL.WEIGHTS PATH to the command"
        )
    try:
        model = build_model(without_starts(config))
    except ValueError as error:
        raise ValueError(f"model {weights}: {error}" if weights else str(error)) from error
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
