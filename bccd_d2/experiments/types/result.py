"""What was learned, as a model in a folder, with what held-out cells say of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from bccd_d2.config.load import finalize
from bccd_d2.experiments.types.calibration import (
    Calibration,
    doubt,
    fit_marked,
    fit_small_marked,
    fit_temperature,
)
from bccd_d2.experiments.types.run import Learned, Learner, TypingOptions
from bccd_d2.io.atomic import write_json_atomic, write_text_atomic
from bccd_d2.io.lock import hold_folder
from bccd_d2.masks.cell_types import TypeOptions, probabilities, rescored, small_chance
from bccd_d2.masks.classes import Classes
from bccd_d2.modeling.build import build_model
from bccd_d2.modeling.options import keys_of
from bccd_d2.modeling.types.head import look_with
from bccd_d2.models.checkpoint import CellCheckpointer
from bccd_d2.models.load import TrainedModel
from bccd_d2.models.point import OperatingPoint
from bccd_d2.models.preprocessing import PREPROCESSING, Preprocessing

RECORD = "types.json"
EVEN = 0.5  # chance that annotators mark a small cell, from which it is reported


@dataclass(frozen=True)
class Typed:
    """A model that gives types.

    Attributes:
        out: its folder, a model for `bccd predict`, `bccd app` and `bccd export weights`.
        classes: what it knows.
        confusion: (K, K) int64, held-out cells by label (rows) and best class (columns); only
            labels that leave one class possible.
        threshold: the score from which a cell is reported.
        calibration: see there.
        f1: of the held-out cells of each dataset that is annotated completely, at the threshold.
    """

    out: Path
    classes: Classes
    confusion: np.ndarray
    threshold: float
    calibration: Calibration
    f1: Mapping[str, float]

    def text(self) -> str:
        """The result for people."""
        lines = ["held-out cells by label (rows) and answer (columns):"]
        width = max(len(name) for name in self.classes.names) + 2
        lines.append(" " * width + "".join(f"{name:>{width}}" for name in self.classes.names))
        for name, row in zip(self.classes.names, self.confusion, strict=True):
            lines.append(f"{name:<{width}}" + "".join(f"{n:>{width}}" for n in row.tolist()))
        scores = ", ".join(f"{name} {value:.3f}" for name, value in self.f1.items())
        lines.append(f"score threshold {self.threshold:.2f}" + (f"; F1 {scores}" if scores else ""))
        lines.append(f"called unsure below a probability of {self.calibration.unsure_below:.2f}")
        return "\n".join(lines)


def learn_types(
    model: TrainedModel,
    folders: Sequence[str | Path],
    out: str | Path,
    options: TypingOptions | None = None,
    progress: bool = False,
) -> Typed:
    """Teach ``model`` types, and write the model that knows them to ``out``.

    Args:
        folders: converted datasets of masks, boxes or points with categories.
        progress: show progress bars where the terminal can.

    Raises:
        FileNotFoundError, KeyError, ValueError: a dataset that cannot be used; see `run.Learner`.
        OSError: ``out`` cannot be written, or is in use.
    """
    options = options or TypingOptions()
    out = Path(out)
    with hold_folder(out, "learning types"):
        learner = Learner(model, folders, options, out, progress)
        learned = learner.learn()
        names = [split.folder.name for split in learner.splits]
        complete = [n for n, split in enumerate(learner.splits) if split.complete]
        firsts = [split.first for split in learner.splits]
        judged = _Judged(learned, options, firsts, complete, model.score_threshold)
        write_typed(model, learned, judged.types, judged.classes, judged.threshold, out)
        confusion = judged.confusion()
        f1 = {names[n]: value for n, value in judged.f1().items()}
        result = Typed(out, judged.classes, confusion, judged.threshold, judged.calibration, f1)
        write_json_atomic(out / RECORD, _record(result, model, folders, options), indent=1)
        return result


class _Judged:
    """What the held-out cells say: calibration first, then threshold and scores."""

    def __init__(
        self,
        learned: Learned,
        options: TypingOptions,
        firsts: Sequence[int],
        complete: Sequence[int],
        threshold: float,
    ) -> None:
        self.learned, self.complete = learned, complete
        examples, allowed = learned.held_out, learned.allowed
        logits = look_with(learned.network, examples.crops, examples.measures)
        temperature, biases = fit_temperature(logits[:, :-1], allowed)
        found, added = ~examples.added, examples.added
        marked: tuple[float, ...] = ()
        if not options.keep_scores:
            marked = fit_marked(examples.scores[found], logits[found, -1], examples.counted[found])
        said = probabilities(logits[:, :-1], temperature, biases)
        self.calibration = Calibration(temperature, biases, marked, doubt(said, allowed))
        self.types = replace(
            options.types, enabled=True, temperature=temperature, biases=biases, counted=marked
        )
        small = options.types.small
        if learned.small is not None:
            of_small = examples.scores[added], logits[added, -1], examples.counted[added]
            channels = small.channels or (16, 32, 48, 64)
            small = replace(small, channels=channels, counted=fit_small_marked(*of_small))
        self.classes = replace(learned.classes, unsure_below=self.calibration.unsure_below)
        self.said = said
        self.scores = rescored(examples.scores, logits[:, -1], self.types)
        self.small = small_chance(examples.scores, logits[:, -1], small.counted) >= EVEN
        self.dataset = np.searchsorted(np.asarray(firsts), examples.images, side="right") - 1
        self.threshold = self._threshold(threshold)
        self.types = replace(self.types, small=replace(small, reported_from=self.threshold))

    def _threshold(self, given: float) -> float:
        """That of the best mean F1 over the complete datasets; as given where scores stay."""
        if not self.types.counted or not self.complete:
            return given
        tried = np.linspace(0.05, 0.95, 91)
        means = [np.mean(list(self._f1_at(at).values()) or [0.0]) for at in tried]
        return float(tried[int(np.argmax(means))])

    def f1(self) -> dict[int, float]:
        """F1 of each complete dataset at the threshold."""
        return self._f1_at(self.threshold)

    def _f1_at(self, at: float) -> dict[int, float]:
        found: dict[int, float] = {}
        for number in self.complete:
            here = self.dataset == number
            examples = self.learned.held_out
            reported = np.where(examples.added, self.small, self.scores >= at)[here]
            counted = examples.counted[here]
            right = int(((counted == 1) & reported).sum())
            wrong = int(((counted == 0) & reported).sum())
            lost = int(((counted == 1) & ~reported).sum()) + self.learned.missed.get(number, 0)
            if right + wrong + lost:
                found[number] = 2 * right / (2 * right + wrong + lost)
        return found

    def confusion(self) -> np.ndarray:
        """(K, K) int64; see `Typed`."""
        known = self.learned.allowed.sum(axis=1) == 1
        table = np.zeros((len(self.classes),) * 2, dtype=np.int64)
        true = self.learned.allowed[known].argmax(axis=1)
        np.add.at(table, (true, self.said[known].argmax(axis=1)), 1)
        return table


def write_typed(
    model: TrainedModel,
    learned: Learned,
    types: TypeOptions,
    classes: Classes,
    threshold: float,
    out: Path,
) -> None:
    """``out`` as a run's folder: the model's own weights and those of its types, and the config."""
    config = model.config.clone()
    config.defrost()
    config.OUTPUT_DIR, config.MODEL.WEIGHTS, config.MODEL.DEVICE = str(out), "", "cpu"
    for keys, group in ((keys_of(types), "TYPES"), (keys_of(classes), "CLASSES")):
        _set(config.MODEL[group], keys)
    net = build_model(finalize(config))
    own = {k: v for k, v in model.net.state_dict().items() if not k.startswith("types.")}
    state = own | {f"types.network.{k}": v for k, v in learned.network.state_dict().items()}
    if learned.small is not None:
        state |= {f"types.small.{k}": v for k, v in learned.small.state_dict().items()}
    net.load_state_dict(state)
    point = OperatingPoint(threshold, "held-out training images")
    parts: dict[str, Any] = {"operating_point": point, PREPROCESSING: Preprocessing.of(config)}
    config = config.clone()
    config.defrost()
    config.MODEL.DEVICE = "auto"
    write_text_atomic(out / "config.yaml", config.dump())
    CellCheckpointer(net, str(out), **parts).save("model_best", resumable=False)


def _set(group: Any, keys: Mapping[str, Any]) -> None:
    for key, value in keys.items():
        if isinstance(value, dict):
            _set(group[key], value)
        else:
            group[key] = value


def _record(
    result: Typed, model: TrainedModel, folders: Sequence[str | Path], options: TypingOptions
) -> dict[str, Any]:
    return {
        "finder": {"name": model.name, "sha256": model.digest()},
        "datasets": [str(folder) for folder in folders],
        "classes": list(result.classes.names),
        "confusion": result.confusion.tolist(),
        "score_threshold": result.threshold,
        "f1": dict(result.f1),
        "calibration": asdict(result.calibration),
        "options": asdict(options),
    }
