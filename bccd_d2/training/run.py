"""Training and evaluation from a config: what `bccd train` calls in every process."""

from __future__ import annotations

import functools
import logging
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from detectron2.data import DatasetCatalog
from detectron2.engine import hooks
from detectron2.evaluation import inference_on_dataset
from detectron2.utils import comm
from detectron2.utils.logger import setup_logger
from torch import nn

from bccd_d2.config.load import finalize, take_classes, types_of
from bccd_d2.data.catalog import find_dataset, register_dataset
from bccd_d2.evaluation.evaluators import evaluator_for
from bccd_d2.evaluation.table import format_scores
from bccd_d2.evaluation.thresholds import SweepTable, choose
from bccd_d2.io.atomic import write_json_atomic, write_text_atomic
from bccd_d2.io.dataset_file import read_description
from bccd_d2.io.lock import hold_folder
from bccd_d2.modeling.backbones.presets import get_preset
from bccd_d2.modeling.device import chosen_device
from bccd_d2.models.checkpoint import resume_file
from bccd_d2.models.load import WITHOUT_WEIGHTS, load_trained, without_starts
from bccd_d2.models.preprocessing import with_reference
from bccd_d2.training import loaders
from bccd_d2.training.build import Training, assemble
from bccd_d2.training.checks import (
    check_datasets,
    check_labels,
    check_schedule,
    check_weights,
    labels_of,
    log_changes,
)
from bccd_d2.training.folder import set_aside
from bccd_d2.training.provenance import write_record

logger = logging.getLogger(__name__)

TRAINING, EVALUATING = ("TRAIN", "VALIDATION"), ("TEST",)  # of config.DATASETS


def run(
    config: Any,
    eval_only: bool = False,
    resume: bool = False,
    extra_hooks: Sequence[hooks.HookBase] = (),
) -> dict[str, dict[str, Any]]:
    """Prepare, then train or evaluate, with logs in ``OUTPUT_DIR``: what every process is to do.

    Returns:
        Scores on validation after training, on test with ``eval_only``; {} off the main process.

    Raises:
        BlockingIOError: another process trains, or evaluates, into the same folder.
    """
    what = "evaluation" if eval_only else "training"
    folder = Path(config.OUTPUT_DIR) / ("evaluation" if eval_only else "")
    with hold_folder(folder, what, first=comm.is_main_process(), gather=comm.all_gather):
        return _run(config, eval_only, resume, extra_hooks)


def _run(
    config: Any, eval_only: bool, resume: bool, extra_hooks: Sequence[hooks.HookBase]
) -> dict[str, dict[str, Any]]:
    for name in ("detectron2", "fvcore", "bccd_d2"):
        setup_logger(config.OUTPUT_DIR, distributed_rank=comm.get_rank(), name=name)
    start = time.perf_counter()
    config = prepare(config, uses=EVALUATING if eval_only else TRAINING)
    description = read_description(config.DATASETS.ROOT)
    results = evaluate(config) if eval_only else train(config, resume, extra_hooks)
    if comm.is_main_process():
        what = "evaluation" if eval_only else "training"
        record = Path(config.OUTPUT_DIR) / ("evaluation" if eval_only else "") / "run.json"
        seconds = time.perf_counter() - start
        write_record(record, what, seconds, config.MODEL.DEVICE, description, again=resume)
    if results and comm.is_main_process():
        names = config.DATASETS.TEST if eval_only else config.DATASETS.VALIDATION
        logger.info("scores on %s\n%s", ", ".join(names), format_scores(results))
        logger.info("written to %s", config.OUTPUT_DIR)
    return results


def prepare(config: Any, uses: Sequence[str] = ()) -> Any:
    """Register the dataset, choose the device, derive and freeze; the config that training uses.

    Args:
        uses: of ``config.DATASETS``, such as "TRAIN": what the work will ask for and must be there.

    Raises:
        KeyError: no such backbone preset.
        FileNotFoundError: no converted dataset.
        ValueError: see `config.finalize`, `device.chosen_device`, `checks.check_datasets`.
    """
    get_preset(config.MODEL.VIT.PRESET)
    folder = config.DATASETS.ROOT or find_dataset()
    register_dataset(folder)
    for number, more in enumerate(config.DATASETS.MORE, start=2):
        register_dataset(more, prefix=f"bccd{number}")
    config.defrost()
    config.DATASETS.ROOT = str(folder)
    config.MODEL.DEVICE = chosen_device(config.MODEL.DEVICE)
    check_datasets(config, uses)
    known = DatasetCatalog.list()
    train = [name for name in config.DATASETS.TRAIN if name in known]
    take_classes(config, labels_of(train))
    if "TRAIN" in uses:
        check_labels(config)
    return finalize(config, train_images=len(loaders.records(train)))


def take_datasets(config: Any, folders: Sequence[str]) -> None:
    """Set ``config.DATASETS``, not frozen, so that one run learns from several converted folders.

    The first is the root, with validation and test images; a folder given twice counts twice.

    Raises:
        ValueError: the config names another root, or other training images than the root's.
    """
    given, root = config.DATASETS, str(folders[0])
    if given.ROOT and Path(given.ROOT) != Path(root):
        raise ValueError(f"--dataset {root} contradicts DATASETS.ROOT {given.ROOT}: leave one out")
    given.ROOT = root
    different = list(dict.fromkeys(str(folder) for folder in folders))
    if len(folders) == 1:
        return
    if tuple(given.TRAIN) != ("bccd_train",):
        raise ValueError("several --dataset choose DATASETS.TRAIN: leave that key out")
    prefixes = {folder: f"bccd{number}" for number, folder in enumerate(different, start=1)}
    prefixes[root] = "bccd"
    given.MORE = tuple(different[1:])
    given.TRAIN = tuple(f"{prefixes[str(folder)]}_train" for folder in folders)


def check(config: Any, eval_only: bool = False, resume: bool = False) -> None:
    """Find what can be said against a run before any process of it begins.

    Raises:
        KeyError, FileNotFoundError, ValueError: see `prepare` and `checks`.
    """
    ready = prepare(config.clone(), uses=EVALUATING if eval_only else TRAINING)
    check_weights(ready, eval_only, resume)
    if not eval_only:
        check_schedule(ready)


def train(
    config: Any, resume: bool = False, extra_hooks: Sequence[hooks.HookBase] = ()
) -> dict[str, dict[str, Any]]:
    """Train to ``SOLVER.MAX_ITER`` and return the last validation scores ({} off the main process).

    Args:
        config: as `prepare` returns it.
        resume: go on from the last whole checkpoint in ``OUTPUT_DIR``, with optimizer, schedule,
            averaged weights, best score and iteration. Where there is none, or without ``resume``,
            what an earlier run left there is set aside and training starts anew.
        extra_hooks: called after evaluation and before checkpoints are written.
    """
    if config.MODEL.META_ARCHITECTURE in WITHOUT_WEIGHTS:
        raise ValueError(f"{config.MODEL.META_ARCHITECTURE} has nothing to train: add --eval-only")
    check_datasets(config, TRAINING)
    check_schedule(config)
    last = resume_file(config.OUTPUT_DIR) if resume else None
    check_weights(config, resume=resume)
    config = with_reference(config)
    comm.synchronize()  # every process has looked for the checkpoint
    if comm.is_main_process():
        if last is None:
            set_aside(config.OUTPUT_DIR)
        else:
            log_changes(config)
        write_text_atomic(Path(config.OUTPUT_DIR) / "config.yaml", config.dump())
    results: dict[str, dict[str, Any]] = {}
    built = config if last is None else without_starts(config)
    training = assemble(built, functools.partial(_validate, config, results), extra_hooks)
    start = training.restore(last)
    config = training.preprocessing.given_to(config)
    training.trainer.set_loader(
        loaders.train_loader(config, loaders.records(config.DATASETS.TRAIN), start_iter=start)
    )
    training.trainer.train(start, config.SOLVER.MAX_ITER)
    return results


def _validate(
    config: Any, results: dict[str, dict[str, Any]], training: Training
) -> dict[str, dict[str, Any]]:
    """Score on validation and move the operating point to what is best there."""
    config = training.preprocessing.given_to(config)
    names = config.DATASETS.VALIDATION
    with training.trainer.autocast():
        scores, sweep = score(config, training.evaluated, names)
    if sweep is not None:
        point = training.point
        point.score_threshold = choose(sweep)
        point.origin = f"{', '.join(names)} at iteration {training.trainer.iter + 1}"
        scores["operating_point"] = {"score_threshold": point.score_threshold}
        path = Path(config.OUTPUT_DIR) / "threshold_sweep.json"
        write_json_atomic(path, {"origin": point.origin} | sweep.to_dict())
    results.clear()
    results.update(scores)
    return scores


def score(
    config: Any,
    model: nn.Module,
    names: Sequence[str],
    *,
    score_threshold: float = 0.5,
    folder: str | Path | None = None,
) -> tuple[dict[str, dict[str, Any]], SweepTable | None]:
    """Scores of a model on registered datasets; with several, groups are prefixed by the name.

    Args:
        score_threshold: cells below it do not count in instance and pixel scores.
        folder: where scores.json, per_image.csv and the predictions go; None writes nothing.

    Returns:
        {group: {score: value}} and the sweep over thresholds on the first dataset; {} and None off
        the main process.
    """
    results: dict[str, dict[str, Any]] = {}
    sweep = None
    for name in names:
        evaluator = evaluator_for(
            name,
            max_detections=config.TEST.DETECTIONS_PER_IMAGE,
            output_dir=None if folder is None else Path(folder) / name,
            score_threshold=score_threshold,
            types=types_of(config),
        )
        scores = inference_on_dataset(model, loaders.test_loader(config, name), evaluator) or {}
        if scores and sweep is None:
            sweep = evaluator.sweep()
        prefix = f"{name}/" if len(names) > 1 else ""
        results.update({prefix + group: values for group, values in scores.items()})
    return results, sweep


def evaluate(config: Any) -> dict[str, dict[str, Any]]:
    """Score ``MODEL.WEIGHTS``, or the run's best checkpoint, on ``DATASETS.TEST``.

    The score threshold is the one stored with the checkpoint; scores, per-image table,
    predictions and the config used are written under ``OUTPUT_DIR/evaluation``.

    Raises:
        FileNotFoundError: there is no checkpoint.
        ValueError: it does not fit the config's model.
    """
    config, model, point, weights = load_trained(config)
    logger.info("score threshold %.2f, chosen on %s", point.score_threshold, point.origin)
    folder = Path(config.OUTPUT_DIR) / "evaluation"
    results, _ = score(
        config, model, config.DATASETS.TEST, score_threshold=point.score_threshold, folder=folder
    )
    if results and comm.is_main_process():
        summary = {
            "weights": weights,
            "datasets": list(config.DATASETS.TEST),
            "root": os.path.abspath(config.DATASETS.ROOT),
            "operating_point": point.state_dict(),
            "scores": results,
        }
        write_text_atomic(folder / "config.yaml", config.dump())
        write_json_atomic(folder / "metrics.json", summary, indent=1)
    return results
