"""What would end a run hours later, or spoil it unsaid, looked at before the work begins."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from detectron2.data import DatasetCatalog, MetadataCatalog

from bccd_d2.config.load import leaves, taxonomy_of
from bccd_d2.modeling.backbones.weights import check_source
from bccd_d2.modeling.options import classes_of
from bccd_d2.modeling.tensors import check_weights_file
from bccd_d2.training.folder import check_start

logger = logging.getLogger(__name__)

WEAK = "Make outlines of them with: bccd pseudo --dataset FOLDER --out NEW, and train on NEW"
_OWN = ("OUTPUT_DIR", "DATALOADER.", "MODEL.DEVICE", "VERSION")  # change nothing that is learned


def check_datasets(config: Any, keys: Sequence[str]) -> None:
    """Every dataset that the run will ask for is there, and can be trained on where it is to be.

    Args:
        keys: of ``config.DATASETS``, such as "TRAIN" and "VALIDATION".

    Raises:
        ValueError: one is missing; the message says what there is and what to do. Or one to learn
            or to validate on has no masks, not all cells annotated, or no cell at all.
    """
    known = DatasetCatalog.list()
    for key in keys:
        for name in config.DATASETS[key]:
            if name in known:
                if key != "TEST":
                    _check_trainable(config, name, key)
                continue
            prefix = name.rpartition("_")[0] + "_"
            there = [one for one in known if one.startswith(prefix)]
            remedy = "convert it again with other splits, or name another dataset"
            if key == "TEST" and there:
                remedy = f"add DATASETS.TEST '(\"{there[-1]}\",)', or {remedy}"
            if key == "VALIDATION":
                remedy = (
                    "add DATASETS.VALIDATION \"()\" to train without validation, or convert more "
                    "images"
                )
            raise ValueError(
                f"DATASETS.{key} names {name!r}, which the dataset in {config.DATASETS.ROOT} does "
                f"not have (it has {', '.join(there) or 'none'}): {remedy}"
            )


def _check_trainable(config: Any, name: str, key: str) -> None:
    """Raise ValueError for a dataset to learn nothing from, or to choose no threshold on."""
    metadata = MetadataCatalog.get(name)
    root = getattr(metadata, "dataset_root", name)
    kind = getattr(metadata, "annotations", "masks")
    serves = "it serves `bccd train --eval-only` and `bccd compare`, which score by what it has"
    if kind == "boxes" and config.MODEL.META_ARCHITECTURE == "CellRCNN":
        _check_boxes(config, name)
    elif kind != "masks":
        raise ValueError(
            f"DATASETS.{key} names {name!r}, and this dataset has {kind}, no masks: {root} cannot "
            f"train a model by itself. {WEAK}; {serves}"
        )
    if getattr(metadata, "weak", False):
        if key == "TRAIN":
            return
        raise ValueError(
            f"DATASETS.{key} names {name!r}, and {root} holds a model's own outlines, on which no "
            'model is to be chosen: add DATASETS.VALIDATION "()", or name another dataset'
        )
    if not getattr(metadata, "complete", True):
        raise ValueError(
            f"DATASETS.{key} names {name!r}, where only some of the cells are annotated: {root} "
            f"would teach that the others are background; {serves}"
        )
    if getattr(metadata, "cells", None) == 0:
        remedy = "convert images that have cells, or other splits"
        if key == "VALIDATION":
            remedy += ", or add DATASETS.VALIDATION \"()\" to train without validation"
        raise ValueError(
            f"DATASETS.{key} names {name!r}, and this split of {root} has no cells: {remedy}"
        )


def _check_boxes(config: Any, name: str) -> None:
    """Raise ValueError for settings that a Mask R-CNN cannot learn boxes with."""
    warps = [key for key in ("COPY_PASTE", "AFFINE", "ELASTIC", "ERASE") if config.INPUT.EXTRA[key]]
    given = [f"INPUT.EXTRA.{key} 0" for key in warps]
    if config.MODEL.OUTLINE.ENABLED or config.MODEL.REDRAW.METHOD:
        given += ["MODEL.OUTLINE.ENABLED False", "MODEL.REDRAW.METHOD ''"]
    if config.DATASETS.VALIDATION and config.SOLVER.BEST_METRIC.startswith("segm/"):
        given += ["SOLVER.BEST_METRIC bbox/AP50"]
    if given:
        raise ValueError(
            f"{name!r} has boxes, which may overlap, and no outlines: to learn from them add "
            f"{' '.join(given)}. {WEAK}"
        )


def labels_of(names: Sequence[str]) -> list[str]:
    """What the cells of registered datasets are called, each name once, in alphabetical order."""
    return sorted({label for name in names for label in MetadataCatalog.get(name).thing_classes})


def check_labels(config: Any) -> None:
    """A detector of several classes can learn each of them from the training data's labels.

    Raises:
        ValueError: a label means nothing to the classes, or no label means one of them.
    """
    classes, taxonomy = classes_of(config), taxonomy_of(config)
    if len(classes) == 1 or config.MODEL.META_ARCHITECTURE != "CellRCNN":
        return
    taught = np.zeros(len(classes), dtype=bool)
    for name in dict.fromkeys(config.DATASETS.TRAIN):
        try:
            table = taxonomy.table(labels_of([name]), classes)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
        taught |= table[table.sum(axis=1) == 1].any(axis=0)
    if not taught.all():
        missing = [name for name, there in zip(classes.names, taught, strict=True) if not there]
        raise ValueError(
            f"no label of {', '.join(config.DATASETS.TRAIN)} means {missing[0]!r} alone, so "
            "nothing would teach it: leave it out of MODEL.CLASSES.NAMES, or convert data that "
            "have it"
        )


def check_schedule(config: Any) -> None:
    """The learning rate gets off the ground.

    Raises:
        ValueError: the warm-up takes the whole run, which then learns next to nothing.
    """
    solver = config.SOLVER
    if solver.WARMUP_ITERS >= solver.MAX_ITER and solver.WARMUP_FACTOR < 1:
        raise ValueError(
            f"SOLVER.WARMUP_ITERS is {solver.WARMUP_ITERS}, but the run ends after "
            f"{solver.MAX_ITER} iterations, before the learning rate has risen: add "
            f"SOLVER.WARMUP_ITERS {solver.MAX_ITER // 10}"
        )


def check_weights(config: Any, eval_only: bool = False, resume: bool = False) -> None:
    """Pass files of weights that are there and of a kind that is read; nothing of them is read.

    Raises:
        FileNotFoundError, ValueError: see `modeling.tensors.check_weights_file` and
            `folder.check_start`.
    """
    if config.MODEL.WEIGHTS:
        check_weights_file(config.MODEL.WEIGHTS, "MODEL.WEIGHTS")
    if not eval_only:  # a checkpoint has them all
        check_source(config.MODEL.VIT.WEIGHTS)
        check_source(config.MODEL.RESNETS.WEIGHTS, "MODEL.RESNETS.WEIGHTS")
        check_start(config.OUTPUT_DIR, config.MODEL.WEIGHTS, resume)


def log_changes(config: Any) -> None:
    """Say which keys of a resumed run differ from those that it began with: all of them act now.

    Raises:
        ValueError: see `changed_keys`.
    """
    for key, (old, new) in changed_keys(Path(config.OUTPUT_DIR) / "config.yaml", config).items():
        logger.warning("%s is %s from here on, was %s", key, new, old)


def changed_keys(before: str | Path, config: Any) -> dict[str, tuple[Any, Any]]:
    """What a resumed run's config says otherwise than the one it goes on from.

    Args:
        before: the ``config.yaml`` of the run so far; {} where there is none.
        config: the config now.

    Returns:
        (old, new) by dotted key; keys that change nothing learned are left out.

    Raises:
        ValueError: the file is no YAML of a config.
    """
    path = Path(before)
    if not path.is_file():
        return {}
    try:
        old = dict(leaves(yaml.safe_load(path.read_text(encoding="utf-8"))))
    except (yaml.YAMLError, AttributeError, UnicodeDecodeError) as error:
        raise ValueError(
            f"{path} is no config ({error}); delete it, and --resume goes on without comparing"
        ) from error
    new = dict(leaves(yaml.safe_load(config.dump())))
    names = [key for key in new if key in old and old[key] != new[key]]
    return {key: (old[key], new[key]) for key in names if not key.startswith(_OWN)}
