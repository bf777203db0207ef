"""The config: detectron2's defaults plus ours, every key with its unit, unknown keys refused."""

from __future__ import annotations

import difflib
import logging
import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from detectron2.config import CfgNode as CN
from detectron2.config import get_cfg

from bccd_d2.config.files import TAXONOMIES, read_config
from bccd_d2.config.keys import add_bccd_config
from bccd_d2.masks.classes import CELL
from bccd_d2.masks.taxonomy import Taxonomy, Types, read_taxonomy
from bccd_d2.modeling.options import classes_of

logger = logging.getLogger(__name__)

AUTO = "auto"  # for the names of classes: those of the training data
_OF_DETECTORS = ("MODEL.ROI_", "MODEL.RPN.", "MODEL.ANCHOR_GENERATOR.", "MODEL.OUTLINE.",
                 "MODEL.REDRAW.", "TEST.CLEANUP.")  # fmt: skip


def load_config(path: str | Path | None = None, options: Sequence[str] = ()) -> CN:
    """The config of a YAML file (with ``_BASE_``) and trailing ``KEY VALUE`` pairs, not yet frozen.

    Args:
        path: a file, or the name of a shipped config; see `files.find_config`.

    Raises:
        FileNotFoundError, ValueError: see `files.read_config`.
        KeyError: a key that does not exist; the message names the nearest known one.
        ValueError: a value of the wrong type, or keys and values that do not pair up.
    """
    config = get_cfg()
    add_bccd_config(config)
    known = dict(leaves(config))
    if path:
        loaded = read_config(path)
        _refuse_unknown(dict(leaves(loaded)), known, str(path))
        _whole_to_float(loaded, config)
        _merge(lambda values: config.merge_from_other_cfg(CN(values)), loaded, str(path))
    if len(options) % 2:
        raise ValueError(f"options must be KEY VALUE pairs, got {list(options)}")
    _refuse_unknown(options[::2], known, "the command line")
    pairs = list(options)
    for index in range(0, len(pairs), 2):
        if isinstance(known.get(pairs[index]), float) and pairs[index + 1].lstrip("+-").isdigit():
            pairs[index + 1] += ".0"
    _merge(config.merge_from_list, pairs, "the command line")
    odd = [k for k, v in leaves(config) if isinstance(v, float) and not math.isfinite(v)]
    if odd:
        raise ValueError(f"{path or 'the command line'}: {odd[0]} must be a finite number")
    return config


def _merge(merge: Any, values: Any, where: str) -> None:
    try:
        merge(values)
    except (ValueError, AssertionError, TypeError, RecursionError, MemoryError) as error:
        raise ValueError(f"{where}: {str(error) or type(error).__name__}") from error


def _whole_to_float(loaded: dict, config: CN) -> None:
    """Let ``EPOCHS: 20`` stand for 20.0: yacs refuses an int where the default is a float."""
    for key, value in loaded.items():
        if isinstance(value, dict):
            _whole_to_float(value, config[key])
        elif type(value) is int and isinstance(config.get(key), float):
            loaded[key] = float(value)


def leaves(node: dict, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Each value of a config with its dotted key, such as ``MODEL.VIT.DEPTH``."""
    for key, value in node.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict):
            yield from leaves(value, f"{name}.")
        else:
            yield name, value


def _refuse_unknown(keys: Iterable[str], known: Iterable[str], where: str) -> None:
    unknown = [key for key in keys if key not in known and key != "VERSION"]
    if not unknown:
        return
    lines = []
    for key in unknown:
        near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
        lines.append(f"{key} (did you mean {near[0]}?)" if near else key)
    raise KeyError(f"{where} sets unknown config keys: {'; '.join(lines)}")


def taxonomy_of(config: CN) -> Taxonomy:
    """What ``DATASETS.TAXONOMY`` says of labels; with "" every name stands for itself.

    Raises:
        FileNotFoundError, ValueError: see `read_taxonomy` and `Shipped.find`.
    """
    named = config.DATASETS.TAXONOMY
    return read_taxonomy(TAXONOMIES.find(named)) if named else Taxonomy()


def types_of(config: CN) -> Types | None:
    """What labels mean to the classes of the config's model; None for a model of one class.

    Raises:
        FileNotFoundError, ValueError: see `classes_of` and `taxonomy_of`.
    """
    classes = classes_of(config)
    return Types(classes, taxonomy_of(config)) if len(classes) > 1 else None


def take_classes(config: CN, labels: Sequence[str]) -> None:
    """Complete ``config.MODEL.CLASSES``, not frozen: names, and their parents and colours.

    ``NAMES`` ("auto",) become the labels, those apart that say no type, such as "cell" and
    "difficult". Parents and colours come from ``DATASETS.TAXONOMY`` where they are not given.

    Args:
        labels: of the data to learn from.

    Raises:
        ValueError: there is none to take; see also `taxonomy_of` and `Classes`.
    """
    given, taxonomy = config.MODEL.CLASSES, taxonomy_of(config)
    if tuple(given.NAMES) == (AUTO,):
        named = {taxonomy.node(label): label for label in reversed(labels)}
        given.NAMES = tuple(sorted(name for node, name in named.items() if node != CELL))
        if not given.NAMES:
            raise ValueError(
                "MODEL.CLASSES.NAMES auto takes the labels of the training data, which has no "
                "types: convert it with --classes or --types, or leave the key out"
            )
    filled = taxonomy.classes(given.NAMES)
    if len(filled) > 1:
        given.PARENTS = given.PARENTS or filled.parents
        given.COLOURS = given.COLOURS or filled.colours


def finalize(config: CN, train_images: int | None = None) -> CN:
    """Derive what depends on other keys, check what cannot work, and freeze the config.

    Epochs become iterations, given the number of training images, and the one cap,
    ``TEST.DETECTIONS_PER_IMAGE``, also raises the proposals kept at test time.

    Raises:
        ValueError: settings that contradict each other.
    """
    config.defrost()
    _check(config)
    cap = config.TEST.DETECTIONS_PER_IMAGE
    rpn = config.MODEL.RPN
    rpn.POST_NMS_TOPK_TEST = max(rpn.POST_NMS_TOPK_TEST, 2 * cap)
    rpn.PRE_NMS_TOPK_TEST = max(rpn.PRE_NMS_TOPK_TEST, rpn.POST_NMS_TOPK_TEST)
    heads, types = config.MODEL, config.MODEL.TYPES
    heads.ROI_HEADS.NUM_CLASSES = 1 if types.ENABLED else len(classes_of(config))
    if heads.ROI_HEADS.NUM_CLASSES > 1:  # a cell's place and outline do not depend on its type
        heads.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG = True
        heads.ROI_MASK_HEAD.CLS_AGNOSTIC_MASK = True
    if train_images:
        _epochs_to_iterations(config, train_images)
    config.freeze()
    return config


def _epochs_to_iterations(config: CN, train_images: int) -> None:
    epoch = max(1, round(train_images / config.SOLVER.IMS_PER_BATCH))
    if config.SOLVER.EPOCHS > 0:
        config.SOLVER.MAX_ITER = max(1, round(config.SOLVER.EPOCHS * epoch))
    if config.TEST.EVAL_EPOCHS > 0:
        config.TEST.EVAL_PERIOD = max(1, round(config.TEST.EVAL_EPOCHS * epoch))
    vit = config.MODEL.VIT
    if vit.FROZEN_EPOCHS > 0:
        vit.FROZEN_ITERS = max(1, round(vit.FROZEN_EPOCHS * epoch))
    if vit.UNFREEZE_EPOCHS > 0:
        vit.UNFREEZE_ITERS = max(1, round(vit.UNFREEZE_EPOCHS * epoch))
    if config.SOLVER.STEP_FRACTIONS:
        fractions = config.SOLVER.STEP_FRACTIONS
        config.SOLVER.STEPS = tuple(round(f * config.SOLVER.MAX_ITER) for f in fractions)
    logger.info(
        "%d training images, %d iterations an epoch, %d iterations in all",
        train_images, epoch, config.SOLVER.MAX_ITER,
    )  # fmt: skip


def _check(config: CN) -> None:
    solver = config.SOLVER
    if solver.PRECISION not in ("fp32", "bf16", "fp16"):
        raise ValueError(f"SOLVER.PRECISION must be fp32, bf16 or fp16, got {solver.PRECISION!r}")
    if solver.PRECISION == "fp16" and not str(config.MODEL.DEVICE).startswith("cuda"):
        raise ValueError("SOLVER.PRECISION fp16 needs a GPU; use bf16 or fp32 on the CPU")
    if solver.ACCUMULATE < 1 or solver.IMS_PER_BATCH % solver.ACCUMULATE:
        raise ValueError(
            f"SOLVER.ACCUMULATE ({solver.ACCUMULATE}) must divide SOLVER.IMS_PER_BATCH "
            f"({solver.IMS_PER_BATCH})"
        )
    if config.INPUT.FORMAT != "RGB" or config.INPUT.MASK_FORMAT != "bitmask":
        raise ValueError("INPUT.FORMAT must be RGB and INPUT.MASK_FORMAT bitmask in this package")
    if config.TEST.DETECTIONS_PER_IMAGE < 1:
        raise ValueError("TEST.DETECTIONS_PER_IMAGE must be at least 1")
    _check_heads(config.MODEL)
    _check_recipe(config)


def is_detector(config: CN) -> bool:
    """Whether the model of a config has boxes."""
    return config.MODEL.META_ARCHITECTURE == "CellRCNN"


def idle_keys(config: CN, keys: Iterable[str]) -> list[str]:
    """Those of the keys that are of detectors alone, where the model is none."""
    return [] if is_detector(config) else [key for key in keys if key.startswith(_OF_DETECTORS)]


def _check_heads(model: CN) -> None:
    typed = len(model.CLASSES.NAMES) > 1 and model.META_ARCHITECTURE == "CellRCNN"
    if typed and model.ROI_HEADS.NAME != "CellROIHeads":
        raise ValueError(
            f"MODEL.ROI_HEADS.NAME {model.ROI_HEADS.NAME} gives a cell one box for each class, and "
            f"MODEL.CLASSES.NAMES has {len(model.CLASSES.NAMES)}: take CellROIHeads"
        )
    wants = {
        "ROI_MASK_HEAD.FINE": model.ROI_MASK_HEAD.FINE,
        "OUTLINE.ENABLED": model.OUTLINE.ENABLED,
    }
    for key, on in wants.items():
        if on and not model.PYRAMID.STEM:
            raise ValueError(f"MODEL.{key} needs MODEL.PYRAMID.STEM above 0, 32 for instance")
    dense = model.REDRAW.METHOD and model.REDRAW.FOREGROUND == "dense"
    if dense and not model.OUTLINE.ENABLED:
        raise ValueError(f"MODEL.REDRAW.METHOD {model.REDRAW.METHOD} needs MODEL.OUTLINE.ENABLED")


def _check_recipe(config: CN) -> None:
    solver, vit = config.SOLVER, config.MODEL.VIT
    periodic = config.TEST.EVAL_PERIOD > 0 or config.TEST.EVAL_EPOCHS > 0
    thaws = vit.FROZEN_ITERS > 0 or vit.FROZEN_EPOCHS > 0
    gradual = vit.UNFREEZE_ITERS > 0 or vit.UNFREEZE_EPOCHS > 0
    checks = [
        (solver.BEST_MODE in ("max", "min"), f"BEST_MODE must be max or min: {solver.BEST_MODE!r}"),
        (0 <= solver.EMA_DECAY < 1, f"EMA_DECAY must lie in [0, 1), got {solver.EMA_DECAY}"),
        (solver.EMA_WARMUP >= 1, f"EMA_WARMUP must be at least 1, got {solver.EMA_WARMUP}"),
        (solver.PATIENCE >= 0, f"PATIENCE must be at least 0, got {solver.PATIENCE}"),
        (
            solver.PATIENCE == 0 or (periodic and config.DATASETS.VALIDATION),
            "PATIENCE needs evaluations: set TEST.EVAL_PERIOD and DATASETS.VALIDATION",
        ),
        (not (vit.FROZEN and thaws), "MODEL.VIT.FROZEN and FROZEN_ITERS contradict each other"),
        (thaws or not gradual, "MODEL.VIT.UNFREEZE_ITERS needs FROZEN_ITERS or FROZEN_EPOCHS"),
    ]
    for passed, message in checks:
        if not passed:
            raise ValueError(message)
