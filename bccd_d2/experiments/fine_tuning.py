"""Teach a model one microscope: some images of it that are annotated in whatever way, and minutes.

A part of the images is held out. The new model is kept only where it scores better on them than the
one that it started from; both are scored as `bccd predict` uses them, with a size of the cells that
is estimated from the images.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from detectron2.engine import HookBase
from torch import nn
from tqdm import tqdm

from bccd_d2.data.catalog import load_split, register_dataset
from bccd_d2.data.convert.pairing import Skip
from bccd_d2.data.convert.run import AnnotationSource, ConversionReport, ConvertOptions, convert
from bccd_d2.evaluation.evaluators import evaluator_for
from bccd_d2.experiments.budget import Budget, Spent, clock_of, plan, threads_for
from bccd_d2.experiments.weak_labels import BACKGROUND, check_model, make_weak_labels
from bccd_d2.inference.diameter import common_diameter, estimate_diameter
from bccd_d2.inference.predictor import PredictOptions, predict_cells
from bccd_d2.io.atomic import write_json_atomic, write_text_atomic
from bccd_d2.io.dataset_file import read_description
from bccd_d2.io.images import read_image
from bccd_d2.io.lock import hold_folder
from bccd_d2.modeling.instances import instances_of
from bccd_d2.models.checkpoint import CellCheckpointer
from bccd_d2.models.load import TrainedModel, load_model
from bccd_d2.models.point import OperatingPoint
from bccd_d2.models.preprocessing import PREPROCESSING, Preprocessing
from bccd_d2.training.run import prepare, train

logger = logging.getLogger(__name__)

RECORD = "finetune.json"
HELD_OUT = "val"
SCORES = {  # kind of annotations: of all cells, of some
    "masks": (("instances", "F1@.5"), ("instances", "recall@.5")),
    "boxes": (("boxes", "F1@.5"), ("boxes", "recall@.5")),
    "points": (("points", "alone"), ("points", "alone")),
}
FINER = {"masks": ("segm", "AP"), "boxes": ("bbox", "AP")}  # of all cells; where the score ties


@dataclass(frozen=True)
class HeldOutScore:
    """What a model scores on the held-out images.

    Attributes:
        name: of the score, such as "F1@.5".
        value: higher is better.
        images: how many there are.
        finer: AP over IoU .5 to .95, which decides where two values are equal: one held-out image
            of twenty cells has few different F1. NaN where the annotations allow none.
    """

    name: str
    value: float
    images: int
    finer: float = math.nan

    def beats(self, other: HeldOutScore) -> bool:
        """Whether the value is higher, or equal with a higher `finer`."""
        return self.value > other.value or (
            self.value == other.value and self.finer > other.finer
        )


@dataclass(frozen=True)
class FineTuneOptions:
    """How a model is taught.

    Attributes:
        minutes: of training: processor time on a CPU, the clock's on a GPU.
        held_out: share of the images to score on, at least one; 0 keeps the new model unchecked.
        rate: learning rate as a share of the one that the start was trained with.
        batch: crops a step, at most.
        seed: of the choice of images and of the training.
    """

    minutes: float = 10.0
    held_out: float = 0.25
    rate: float = 0.1
    batch: int = 4
    seed: int = 0

    def __post_init__(self) -> None:
        for name, good, wanted in (
            ("minutes", self.minutes > 0, "above 0"),
            ("held_out", 0 <= self.held_out < 1, "in [0, 1)"),
            ("rate", self.rate > 0, "above 0"),
            ("batch", self.batch >= 1, "at least 1"),
        ):
            if not good:
                raise ValueError(f"{name} must be {wanted}, got {getattr(self, name)}")


@dataclass(frozen=True)
class FineTuned:
    """What came of it.

    Attributes:
        out: a folder that can be given as a model: the new one, or the start where that is better.
        kept: it is the new one.
        score: what was scored, such as "F1@.5".
        before, after: of the start and of the new model on the held-out images; None without any.
        finer: AP of both, where those are equal and AP decided; None else.
        train_images, held_out_images: how many.
        minutes: of training, of ``clock`` "processor" or "wall".
        skipped: files that could not be used, with reasons.
    """

    out: Path
    kept: bool
    score: str
    before: float | None
    after: float | None
    finer: tuple[float, float] | None
    train_images: int
    held_out_images: int
    minutes: float
    clock: str
    skipped: tuple[str, ...]


def fine_tune(
    start: TrainedModel,
    places: dict[str, Any],
    out: str | Path,
    annotations: AnnotationSource | None = None,
    reading: Mapping[str, Any] | None = None,
    options: FineTuneOptions | None = None,
    progress: bool = False,
) -> FineTuned:
    """Train ``start`` on images of one microscope, and keep what is better in ``out``.

    Boxes and points of the images to learn from become outlines first, by the start itself; the
    held-out ones are scored by what they are annotated with. The score threshold stays that of the
    start: one chosen on a handful of images would flatter itself.

    Args:
        start: the model to begin with.
        places: "root", or "images" and "masks", of `data.convert.run.convert`.
        out: folder for data, training and the model.
        annotations: see there.
        reading: of `ConvertOptions`, how masks become cells: ``mask_kind``, ``classes``.
        progress: show progress bars where the terminal can.

    Raises:
        FileNotFoundError, ValueError, OSError: what was given cannot work; said before any minutes
            are spent.
    """
    options = options or FineTuneOptions()
    out = Path(out)
    with hold_folder(out, "fine-tuning"):
        if annotations is not None and annotations.option in ("boxes", "points"):
            check_model(start)
        how = ConvertOptions(val_fraction=options.held_out, seed=options.seed, **(reading or {}))
        report = convert(**places, out=out / "data", options=how, annotations=annotations)
        _check_data(report, options.held_out > 0)
        root, skips = _outlined(start, out, progress)
        skipped = [f"{skip.file}: {skip.reason}" for skip in (*report.skips, *skips)]
        config = _config(start, root, out / "training", options)
        prepare(config.clone(), ("TRAIN",))
        before = _score(start, out / "data") if options.held_out else None
        spent = _train(config, options.minutes, progress)
        new = load_model(str(out / "training"), device=start.device)
        after = None if before is None else _score(new, out / "data")
        kept = before is None or after is None or after.beats(before)
        _write_model(new if kept else start, start, out)
        images = (len(load_split(root, "train")), 0 if before is None else before.images)
        told, time = _told(before, after), (spent.minutes, spent.clock)
        result = FineTuned(out, kept, *told, *images, *time, tuple(skipped))
        _write_record(result, start, options)
    return result


def _told(
    before: HeldOutScore | None, after: HeldOutScore | None
) -> tuple[str, float | None, float | None, tuple[float, float] | None]:
    """What `FineTuned` says of the scores."""
    if before is None or after is None:
        return "", None, None, None
    tied = before.value == after.value and not math.isnan(before.finer + after.finer)
    return before.name, before.value, after.value, (before.finer, after.finer) if tied else None


def _outlined(start: TrainedModel, out: Path, progress: bool) -> tuple[Path, Sequence[Skip]]:
    """The dataset of masks to learn from, made of boxes or points where need be."""
    if read_description(out / "data")["annotations"] == "masks":
        return out / "data", ()
    weak = make_weak_labels(start, out / "data", out / "weak", progress=progress)
    return weak.out, weak.skips


def _write_record(result: FineTuned, start: TrainedModel, options: FineTuneOptions) -> None:
    said = asdict(result) | {"start": start.name, "start_sha256": start.digest()}
    said.pop("out")
    write_json_atomic(result.out / RECORD, said | {"options": asdict(options)}, indent=1)


def _check_data(report: ConversionReport, hold_out: bool) -> None:
    """Say what is odd of a converted dataset; refuse one without anything to learn or score on."""
    for warning in report.audit["findings"]["warnings"]:
        logger.warning(warning)
    description = read_description(report.out)
    counts, kind = description["counts"], description.get("annotations", "masks")
    ignored = set(description["options"].get("ignore") or ())
    others = [n for n in description.get("categories", ()) if BACKGROUND.search(n)]
    others = [name for name in others if name not in ignored]
    if others and kind != "masks":
        raise ValueError(
            f"{', '.join(others)} among the annotations are no cells to the model: add --ignore "
            f"{','.join(others)}"
        )
    if not counts.get("train", {}).get("cells"):
        raise ValueError("no image to learn from has a cell: annotate more images")
    if hold_out and not counts.get(HELD_OUT, {}).get("images"):
        raise ValueError(
            "only one image can be used, so none is left to score on: annotate another one, or add "
            "--no-holdout to keep the new model unchecked"
        )
    if hold_out and not counts[HELD_OUT]["cells"]:
        raise ValueError(
            "the held-out images have no cell to score on: add another --seed, annotate more "
            "images, or add --no-holdout to keep the new model unchecked"
        )


def _config(start: TrainedModel, root: Path, folder: Path, options: FineTuneOptions) -> Any:
    """The start's own config, from its weights on, for a short run on one dataset."""
    config = start.config.clone()
    config.defrost()
    data, solver = config.DATASETS, config.SOLVER
    data.ROOT, data.MORE = str(root), ()
    data.TRAIN, data.VALIDATION, data.TEST = ("bccd_train",), (), ()
    config.MODEL.WEIGHTS = start.source
    config.MODEL.DEVICE = start.device
    config.OUTPUT_DIR = str(folder)
    config.SEED = options.seed
    solver.BASE_LR *= options.rate
    solver.ACCUMULATE = 1
    solver.IMS_PER_BATCH = min(options.batch, solver.IMS_PER_BATCH)
    config.DATALOADER.NUM_WORKERS = 0
    return config


def _train(config: Any, minutes: float, progress: bool) -> Spent:
    """Train for some minutes."""
    name, clock = clock_of(config.MODEL.DEVICE)
    folder = Path(config.OUTPUT_DIR)
    budget = Budget(minutes * 60, clock, name, folder / "budget.json")
    bar = _Bar(minutes * 60, clock, progress)
    with threads_for(name):
        planned = plan(config, minutes)
        train(prepare(planned, uses=("TRAIN",)), extra_hooks=[_KeepStatistics(), budget, bar])
    return budget.spent


class _KeepStatistics(HookBase):
    """Batch normalisation by the start's running statistics: a few images have poor ones."""

    def before_train(self) -> None:
        for module in self.trainer.model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()


class _Bar(HookBase):
    """A progress bar over the time to be spent."""

    def __init__(self, seconds: float, clock: Callable[[], float], shown: bool) -> None:
        self._seconds, self._clock, self._shown = seconds, clock, shown

    def before_train(self) -> None:
        self._begin = self._clock()
        form = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}{postfix}"
        self._bar = tqdm(
            total=self._seconds, desc="training", bar_format=form, disable=not self._shown or None
        )

    def after_step(self) -> None:
        used = min(self._clock() - self._begin, self._seconds)
        self._bar.update(used - self._bar.n)
        history = self.trainer.storage.history("total_loss")
        self._bar.set_postfix_str(f"loss {history.median(20):.3f}", refresh=False)

    def after_train(self) -> None:
        self._bar.close()


def _score(model: TrainedModel, folder: Path) -> HeldOutScore:
    """A model's score on the held-out images, used as `bccd predict` would."""
    name = register_dataset(folder, "finetune", [HELD_OUT])[HELD_OUT]
    description = read_description(folder)
    kind = description.get("annotations", "masks")
    records = load_split(folder, HELD_OUT)
    images = [read_image(r["file_name"], max_value=r["max_value"]) for r in records]
    scale = 1.0
    if model.diameter is not None:
        sizes = [estimate_diameter(model, image, model.diameter) for image in images]
        scale = model.diameter / (common_diameter(sizes).px or model.diameter)
    evaluator = evaluator_for(
        name, max_detections=model.config.TEST.DETECTIONS_PER_IMAGE,
        score_threshold=model.score_threshold,
    )  # fmt: skip
    evaluator.reset()
    options = PredictOptions(model.score_threshold, scale=scale)
    for record, image in zip(records, images, strict=True):
        cells = predict_cells([model], image, options)
        evaluator.process([record], [{"instances": instances_of(cells)}])
    results, complete = evaluator.evaluate(), description.get("complete", True)
    group, score = SCORES[kind][0 if complete else 1]
    finer, ap = FINER[kind] if complete and kind in FINER else ("", "")
    ap_value = float(results.get(finer, {}).get(ap, math.nan))
    return HeldOutScore(score, float(results[group][score]), len(records), ap_value)


def _write_model(model: TrainedModel, start: TrainedModel, out: Path) -> None:
    """``out`` as a run's folder: weights, threshold and config; the last one away from a start."""
    config = model.config.clone()
    config.defrost()
    config.OUTPUT_DIR, config.MODEL.WEIGHTS, config.MODEL.DEVICE = str(out), "", "auto"
    point = OperatingPoint(start.score_threshold, f"that of {start.name}")
    parts: dict[str, Any] = {"operating_point": point, PREPROCESSING: Preprocessing.of(config)}
    write_text_atomic(out / "config.yaml", config.dump())
    CellCheckpointer(model.net, str(out), **parts).save("model_best", resumable=False)
