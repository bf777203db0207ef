"""The fixed preprocessing (stain, denoising, contrast): fitted once, kept with the model."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bccd_d2.data.preprocess import PreprocessOptions
from bccd_d2.data.stain import StainStatistics, check_method, fit_reference
from bccd_d2.io.atomic import write_json_atomic
from bccd_d2.io.records import read_json

logger = logging.getLogger(__name__)

PREPROCESSING = "treatment"  # the name under which checkpoints and model files keep it


def preprocess_options(config: Mapping[str, Any]) -> PreprocessOptions:
    """The preprocessing that ``INPUT`` of a config, or of nested dicts, asks for.

    Raises:
        ValueError: a stain method without its reference; see `with_reference`.
    """
    given = config["INPUT"]
    method, reference = given["STAIN"]["METHOD"], given["STAIN"]["REFERENCE"]
    stain = None
    if method:
        check_method(method)
        if not reference:
            raise ValueError(
                "INPUT.STAIN.REFERENCE is empty: take the one of the model's checkpoint "
                "(Preprocessing.given_to) or fit one to the training images (with_reference)"
            )
        stain = StainStatistics(method, tuple(reference))
    strength = given["STAIN"]["STRENGTH"]
    return PreprocessOptions(stain, strength, given["DENOISE"], given["CLAHE"])


def with_reference(config: Any) -> Any:
    """The config with ``INPUT.STAIN.REFERENCE`` filled from ``DATASETS.TRAIN`` where it is missing.

    Measuring an image takes some milliseconds beside reading it. The result is kept in
    ``DATASETS.ROOT`` as stain_<method>_<first training set>.json, beside the names of the images
    that it was measured on, and used again for the same ones.

    Returns:
        The config itself when nothing is missing, else a frozen copy.
    """
    stain = config.INPUT.STAIN
    if not stain.METHOD or stain.REFERENCE:
        return config
    from detectron2.data import DatasetCatalog
    from detectron2.utils import comm

    check_method(stain.METHOD)
    names = list(config.DATASETS.TRAIN)
    records = [record for name in names for record in DatasetCatalog.get(name)]
    files = [record["file_name"] for record in records]
    given = records[0].get("max_value") if records else None
    images = [Path(file).name for file in files]
    path = Path(config.DATASETS.ROOT or ".") / f"stain_{stain.METHOD}_{names[0]}.json"
    shape = {"images": [str], "values": [float]}
    kept = read_json(path, shape, "delete it") if path.is_file() else {}
    if kept.get("images") == images:
        values = kept["values"]
    else:
        values = list(fit_reference(files, stain.METHOD, given).values)
        logger.info("%s reference of %d images: %s", stain.METHOD, len(files), values)
        if config.DATASETS.ROOT and comm.is_main_process():
            content = {"method": stain.METHOD, "values": values, "images": images}
            write_json_atomic(path, content, indent=1)
    filled = config.clone()
    filled.defrost()
    filled.INPUT.STAIN.REFERENCE = tuple(float(v) for v in values)
    filled.freeze()
    return filled


class Preprocessing:
    """What a checkpoint says about the preprocessing of the images that its model learned from.

    Attributes:
        recorded: method, strength, reference, denoise and clahe; None for a checkpoint from before
            it was recorded.
    """

    def __init__(self, recorded: dict[str, Any] | None = None) -> None:
        self.recorded = recorded

    @classmethod
    def of(cls, config: Any) -> Preprocessing:
        """The preprocessing of a config whose reference is filled in."""
        return cls(_asked_for(config))

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return dict(self.recorded or {})

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take the values of `state_dict`.

        Raises:
            KeyError, TypeError, ValueError: they are no such values.
        """
        if not state:
            self.recorded = None
            return
        numbers = {name: float(state[name]) for name in ("strength", "denoise", "clahe")}
        reference = [float(value) for value in state["reference"]]
        self.recorded = {"method": str(state["method"]), "reference": reference, **numbers}

    def given_to(self, config: Any) -> Any:
        """The config with the recorded reference; as it is when nothing was recorded.

        Raises:
            ValueError: the config asks for another preprocessing than the model learned from.
        """
        if self.recorded is None:
            return config
        wanted = _asked_for(config)
        keys = {"method": "STAIN.METHOD", "strength": "STAIN.STRENGTH", "denoise": "DENOISE",
                "clahe": "CLAHE"}  # fmt: skip
        for name, key in keys.items():
            if wanted[name] != self.recorded[name]:
                raise ValueError(
                    f"INPUT.{key} is {wanted[name]!r}, but the checkpoint was trained with "
                    f"{self.recorded[name]!r}; give INPUT.{key} {self.recorded[name]!r}"
                )
        if list(wanted["reference"]) == self.recorded["reference"]:
            return config
        if wanted["reference"]:
            logger.warning("INPUT.STAIN.REFERENCE gives way to the checkpoint's own")
        filled = config.clone()
        filled.defrost()
        filled.INPUT.STAIN.REFERENCE = tuple(self.recorded["reference"])
        filled.freeze()
        return filled


def _asked_for(config: Any) -> dict[str, Any]:
    """What `Preprocessing.recorded` is for a config."""
    stain = config.INPUT.STAIN
    on = bool(stain.METHOD)
    return {
        "method": stain.METHOD,
        "strength": float(stain.STRENGTH) if on else 0.0,
        "reference": [float(v) for v in stain.REFERENCE] if on else [],
        "denoise": float(config.INPUT.DENOISE),
        "clahe": float(config.INPUT.CLAHE),
    }
