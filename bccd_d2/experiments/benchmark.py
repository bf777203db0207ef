"""Several methods on one test split under one evaluator: models, and other tools' label images."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from detectron2.data import MetadataCatalog
from detectron2.evaluation import inference_on_dataset

from bccd_d2.config.load import load_config, types_of
from bccd_d2.data.convert.tool_labels import read_tool_labels
from bccd_d2.evaluation.base import Evaluator
from bccd_d2.evaluation.entries import COSTS, Entry, pick_scores, read_per_image
from bccd_d2.evaluation.evaluators import evaluator_for
from bccd_d2.evaluation.truth import read_truth
from bccd_d2.experiments.budget import Spent, read_spent, train_within
from bccd_d2.experiments.cost import PeakMemory, Timed, gflops, parameters
from bccd_d2.io.label_images import find_label_file, read_label_scores
from bccd_d2.masks.cells import Cells
from bccd_d2.modeling.instances import instances_of
from bccd_d2.modeling.tensors import check_weights_file
from bccd_d2.models.load import WITHOUT_WEIGHTS, load_trained, meant_weights, weights_of
from bccd_d2.training import loaders
from bccd_d2.training.run import prepare

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Model:
    """A config to compare.

    Attributes:
        name: as it stands in tables and names its folder.
        config_file: a YAML file, or the name of a shipped config.
        weights: see `models.load.meant_weights`; "" for a config that needs none, or is trained
            for the comparison.
    """

    name: str
    config_file: str
    weights: str = ""


@dataclass(frozen=True)
class LabelFolder:
    """A folder with one label image a test image, perhaps with scores; see `io.label_images`.

    Attributes:
        score_threshold: cells below it count for AP only.
        components: the files are binary masks, each component is a cell.
    """

    name: str
    folder: str
    score_threshold: float = 0.0
    components: bool = False

    def scores(self) -> dict[str, np.ndarray] | None:
        """Of each image's cells, from the folder's scores.csv; None where there is none."""
        path = Path(self.folder) / "scores.csv"
        return read_label_scores(path) if path.is_file() else None


def parse_model(text: str) -> Model:
    """A `Model` from ``NAME=CONFIG`` or ``NAME=CONFIG,WEIGHTS``.

    Raises:
        ValueError: it is neither.
    """
    name, _, rest = text.partition("=")
    config_file, _, weights = rest.partition(",")
    if not (name and config_file):
        raise ValueError(f"a model must be NAME=CONFIG or NAME=CONFIG,WEIGHTS, got {text!r}")
    return Model(name, config_file, weights)


def parse_labels(text: str, components: bool = False) -> LabelFolder:
    """A `LabelFolder` from ``NAME=FOLDER`` or ``NAME=FOLDER,THRESHOLD``.

    Raises:
        ValueError: it is something else, or there are no scores for the threshold.
        FileNotFoundError: no such folder.
    """
    name, _, rest = text.partition("=")
    folder, _, threshold = rest.partition(",")
    if not (name and folder):
        raise ValueError(f"label images must be NAME=FOLDER or NAME=FOLDER,THRESHOLD, got {text!r}")
    if not Path(folder).is_dir():
        raise FileNotFoundError(f"folder of label images {folder} does not exist")
    if not threshold:
        labels = LabelFolder(name, folder, components=components)
        if components and labels.scores() is not None:
            raise ValueError(f"{text!r}: scores.csv ranks labels, and --components has none")
        return labels
    try:
        labels = LabelFolder(name, folder, float(threshold))
    except ValueError:
        raise ValueError(f"{text!r}: the threshold {threshold!r} is no number") from None
    if labels.scores() is None:
        raise ValueError(f"{text!r}: a threshold needs scores, but {folder} has no scores.csv")
    return labels


def run_benchmark(
    methods: Sequence[Model | LabelFolder],
    out: str | Path,
    options: Sequence[str] = (),
    train_minutes: float = 0,
    place: str | Path | None = None,
) -> list[Entry]:
    """Score every method on ``DATASETS.TEST``'s first split; the entries in the given order.

    What the evaluator writes goes to ``out/<name>/<split>``, runs to ``out/runs/<name>``. A model
    given without weights takes those of its run there.

    Args:
        options: config keys and values in turn, for all models.
        place: where what the evaluator writes goes, in place of ``out``.
        train_minutes: for each model that learns and is given without weights; see
            `budget.train_within`. A stopped comparison goes on where it was. 0 trains nothing.

    Raises:
        ValueError: names are not unique, or a method does not fit the split.
        FileNotFoundError: weights or a label image are missing.
    """
    names = [one.name for one in methods]
    if not names or len(set(names)) < len(names):
        raise ValueError(f"needs methods with names of their own, got {names}")
    configs = {m.name: _config(m, out, options) for m in methods if isinstance(m, Model)}
    for name, config in configs.items():  # what is missing stops it now
        _check_weights(name, config, train_minutes)
    place = out if place is None else place
    entries = []
    for number, one in enumerate(methods, start=1):
        logger.info("%d of %d: %s", number, len(methods), one.name)
        if isinstance(one, Model):
            config, spent = _trained(configs[one.name], train_minutes)
            entries.append(_score_model(one.name, config, place, spent))
        else:
            entries.append(score_labels(one, prepare(load_config(None, options)), place))
    return entries


def _config(model: Model, out: str | Path, options: Sequence[str]) -> Any:
    config = load_config(model.config_file, options)
    config.MODEL.WEIGHTS = meant_weights(config, model.weights or config.MODEL.WEIGHTS)
    config.OUTPUT_DIR = str(Path(out) / "runs" / model.name)
    return config


def _learns(config: Any) -> bool:
    return config.MODEL.META_ARCHITECTURE not in WITHOUT_WEIGHTS


def _check_weights(name: str, config: Any, train_minutes: float) -> None:
    """Raise for weights that are not there and will not be, or of a kind that is not read."""
    if not config.MODEL.WEIGHTS and (not _learns(config) or train_minutes):
        learns = _learns(config) and not config.MODEL.WEIGHTS
        # Names what cannot be trained before the first hour is spent.
        prepare(config.clone(), ("TRAIN", "VALIDATION", "TEST") if learns else ("TEST",))
        return
    weights = weights_of(config)
    if not weights.is_file():
        raise FileNotFoundError(
            f"{name}: no weights at {weights}; give NAME=CONFIG,WEIGHTS or --train-budget MINUTES"
        )
    check_weights_file(weights, f"{name}: weights")


def _trained(config: Any, minutes: float) -> tuple[Any, Spent | None]:
    """The config with weights, trained now where that is asked for, and what training took."""
    if config.MODEL.WEIGHTS or not _learns(config):
        return config, None
    if not minutes:
        return config, read_spent(config.OUTPUT_DIR)
    weights, spent = train_within(config, minutes)
    config = config.clone()
    config.MODEL.WEIGHTS = str(weights)
    return config, spent


def _score_model(name: str, config: Any, out: str | Path, spent: Spent | None) -> Entry:
    config, model, point, _ = load_trained(prepare(config, ("TEST",)))
    split = config.DATASETS.TEST[0]
    folder = Path(out) / name / split
    evaluator = evaluator_for(
        split,
        max_detections=config.TEST.DETECTIONS_PER_IMAGE,
        output_dir=folder,
        score_threshold=point.score_threshold,
        types=types_of(config),
    )
    timed = Timed(model)
    with PeakMemory(config.MODEL.DEVICE) as memory:
        results = inference_on_dataset(timed, loaders.test_loader(config, split), evaluator)
    first = next(iter(loaders.test_loader(config, split)))
    on_cpu = not config.MODEL.DEVICE.startswith("cuda")
    values = (
        parameters(model) / 1e6,
        gflops(model, first),
        timed.median(),
        timed.median(processor=True) if on_cpu else None,
        memory.megabytes,
        spent.minutes if spent else None,
        spent.iterations if spent else None,
    )
    cost: dict[str, float | None] = dict(zip(COSTS, values, strict=True))
    return _entry(name, results, folder, evaluator, point.score_threshold, cost)


def score_labels(labels: LabelFolder, config: Any, out: str | Path) -> Entry:
    """The entry of a folder of label images, on ``DATASETS.TEST``'s first split.

    Without a scores.csv (see `io.label_images.read_label_scores`) every cell counts alike, and AP
    is that of one operating point, so below what the tool could reach with scores.

    Raises:
        FileNotFoundError: an image of the split has no label image.
        ValueError: a label image is unreadable, not of its image's size, or not that of its scores.
    """
    split = config.DATASETS.TEST[0]
    folder = Path(out) / labels.name / split
    cap, threshold = config.TEST.DETECTIONS_PER_IMAGE, labels.score_threshold
    evaluator = evaluator_for(
        split, max_detections=cap, output_dir=folder, score_threshold=threshold
    )
    evaluator.reset()
    scores = labels.scores()
    for image_id, file_name in evaluator.file_names().items():
        stem = Path(file_name).stem
        path = find_label_file(labels.folder, stem)
        label_map = read_tool_labels(path, labels.components)
        given = None if scores is None else scores.get(stem, np.zeros(0, np.float32))
        if given is not None and len(given) != label_map.max(initial=0):
            raise ValueError(
                f"{path} has {label_map.max(initial=0)} cells, but scores.csv {len(given)} for it"
            )
        cells = Cells.from_label_map(label_map, given)
        evaluator.process([{"image_id": image_id}], [{"instances": instances_of(cells)}])
    return _entry(labels.name, evaluator.evaluate(), folder, evaluator, threshold, {})


def _entry(
    name: str,
    results: Mapping[str, Mapping[str, float]],
    folder: Path,
    evaluator: Evaluator,
    score_threshold: float,
    cost: Mapping[str, float | None],
) -> Entry:
    scores = pick_scores(results, evaluator.kind)
    kept = [cells.above(score_threshold) for cells in evaluator.predictions()]
    predictions = dict(zip(evaluator.file_names().values(), kept, strict=True))
    by_image = scores.get("AP") is not None and evaluator.kind == "masks"
    per_image = read_per_image(folder / "per_image.csv") if by_image else {}
    return Entry(name, scores, per_image, cost, predictions)


def pictures(options: Sequence[str] = ()) -> dict[str, tuple[Path, Cells]]:
    """For each file name of the test split, as entries have it, its path and its true cells."""
    metadata = MetadataCatalog.get(prepare(load_config(None, options)).DATASETS.TEST[0])
    truth = read_truth(metadata.json_file).values()
    return {t.file_name: (Path(metadata.image_root) / t.file_name, t.cells) for t in truth}
