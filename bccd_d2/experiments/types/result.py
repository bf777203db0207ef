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
    fit_small_marked,
    fit_temperature,
)
from bccd_d2.experiments.types.habits import fit_habit, look_of
from bccd_d2.experiments.types.run import Learned, Learner, TypingOptions
from bccd_d2.io.atomic import write_json_atomic, write_text_atomic
from bccd_d2.io.lock import hold_folder
from bccd_d2.masks.cell_types import ELSEWHERE, TypeOptions, probabilities, rescored
from bccd_d2.masks.classes import Classes
from bccd_d2.masks.habits import Habit, Look
from bccd_d2.modeling.build import build_model
from bccd_d2.modeling.options import keys_of
from bccd_d2.modeling.types.head import look_with
from bccd_d2.models.checkpoint import CellCheckpointer
from bccd_d2.models.load import TrainedModel
from bccd_d2.models.point import OperatingPoint
from bccd_d2.models.preprocessing import PREPROCESSING, Preprocessing

RECORD = "types.json"
LEAST_THRESHOLD = 0.01  # of a finder that reports all: what annotators leave out has room below it


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
        followed: datasets whose annotators' habit is followed on images that look like theirs.
    """

    out: Path
    classes: Classes
    confusion: np.ndarray
    threshold: float
    calibration: Calibration
    f1: Mapping[str, float]
    followed: tuple[str, ...] = ()

    def text(self) -> str:
        """The result for people."""
        lines = ["held-out cells by label (rows) and answer (columns):"]
        width = max(len(name) for name in self.classes.names) + 2
        lines.append(" " * width + "".join(f"{name:>{width}}" for name in self.classes.names))
        for name, row in zip(self.classes.names, self.confusion, strict=True):
            lines.append(f"{name:<{width}}" + "".join(f"{n:>{width}}" for n in row.tolist()))
        scores = ", ".join(f"{name} {value:.3f}" for name, value in self.f1.items())
        lines.append(f"score threshold {self.threshold:.2f}" + (f"; F1 {scores}" if scores else ""))
        for name in self.followed:
            lines.append(f"images that look like those of {name}: cells that its annotators leave "
                         "out score less; elsewhere all scores are the model's own")  # fmt: skip
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
        threshold = max(model.score_threshold, LEAST_THRESHOLD)
        judged = _Judged(learned, options, firsts, complete, threshold)
        write_typed(model, learned, judged.types, judged.classes, judged.threshold, out)
        confusion = judged.confusion()
        f1 = {names[n]: value for n, value in judged.f1().items()}
        followed = tuple(names[n] for n in judged.followed)
        result = Typed(
            out, judged.classes, confusion, judged.threshold, judged.calibration, f1, followed
        )
        write_json_atomic(out / RECORD, _record(result, model, folders, options), indent=1)
        return result


class _Judged:
    """What the held-out cells say: calibration first, then habits and scores."""

    def __init__(
        self,
        learned: Learned,
        options: TypingOptions,
        firsts: Sequence[int],
        complete: Sequence[int],
        threshold: float,
    ) -> None:
        self.learned, self.complete, self.threshold = learned, complete, threshold
        examples, allowed = learned.held_out, learned.allowed
        logits = look_with(learned.network, examples.crops, examples.measures)
        temperature, biases = fit_temperature(logits[:, :-1], allowed)
        self.said = probabilities(logits[:, :-1], temperature, biases)
        small = replace(options.types.small, reported_from=threshold)
        self.dataset = self._dataset_of(examples.images, firsts)
        owner = self._dataset_of(np.arange(len(learned.colours)), firsts)
        self.looks = [
            look_of(learned.colours[owner == number], learned.colours[owner != number])
            for number in range(len(firsts))
        ]
        if learned.small is not None:
            # Where nobody marks small cells, one without a mark may well be one.
            told = examples.added & np.isin(self.dataset, learned.naming)
            of_small = examples.scores[told], logits[told, -1], examples.counted[told]
            channels = small.channels or (16, 32, 48, 64)
            looks = [self.looks[number] for number in learned.naming]
            where = tuple(look.row() for look in looks if look is not None)
            where = where if len(where) == len(looks) else ()
            weights = fit_small_marked(*of_small)
            small = replace(small, channels=channels, counted=weights, where=where)
        self.small, self.marked = small, logits[:, -1]
        self.scores = np.zeros(len(examples))
        for number in range(len(firsts)):
            self._rescore(number)
        habits = {} if options.keep_scores else self._habits()
        for number, habit in habits.items():
            self._rescore(number, habit)
        self.followed = sorted(habits)
        rows = tuple(habits[number].row() for number in self.followed)
        self.calibration = Calibration(temperature, biases, rows, doubt(self.said, allowed))
        self.classes = replace(learned.classes, unsure_below=self.calibration.unsure_below)
        self.types = replace(
            options.types, enabled=True, temperature=temperature, biases=biases, counted=rows,
            small=self.small,
        )  # fmt: skip

    @staticmethod
    def _dataset_of(images: np.ndarray, firsts: Sequence[int]) -> np.ndarray:
        return np.searchsorted(np.asarray(firsts), images, side="right") - 1

    def _rescore(self, number: int, habit: Habit | None = None) -> None:
        """Set the scores of a dataset's held-out cells."""
        here = self.dataset == number
        examples = self.learned.held_out[here]
        stranger = self.small.where and number not in self.learned.naming
        small = replace(self.small, counted=ELSEWHERE) if stranger else self.small
        known = examples.scores, self.marked[here], small, habit, examples.added
        self.scores[here] = rescored(*known)

    def _habits(self) -> dict[int, Habit]:
        """By dataset, of the complete ones, those that are worth following."""
        looks = ((n, self.looks[n]) for n in self.complete)
        habits = {n: self._habit(n, look) for n, look in looks if look is not None}
        return {n: habit for n, habit in habits.items() if habit is not None}

    def _habit(self, number: int, look: Look) -> Habit | None:
        examples, reported = self.learned.held_out, self.scores >= self.threshold
        found = (self.dataset == number) & ~examples.added

        def f1(kept: np.ndarray) -> float:
            now = reported.copy()
            now[found] = kept
            return self._f1(number, now)

        of_found = examples.scores[found], self.marked[found], examples.counted[found]
        return fit_habit(*of_found, f1, self.threshold, look)

    def f1(self) -> dict[int, float]:
        """F1 of each complete dataset at the threshold."""
        reported = self.scores >= self.threshold
        return {number: self._f1(number, reported) for number in self.complete}

    def _f1(self, number: int, reported: np.ndarray) -> float:
        """F1 of a dataset's held-out cells; 0 without any."""
        here = self.dataset == number
        counted, kept = self.learned.held_out.counted[here], reported[here]
        right, wrong = int(((counted == 1) & kept).sum()), int(((counted == 0) & kept).sum())
        lost = int(((counted == 1) & ~kept).sum()) + self.learned.missed.get(number, 0)
        return 2 * right / max(2 * right + wrong + lost, 1)

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
    point = OperatingPoint(threshold, f"that of {model.name}")
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
        "followed": list(result.followed),
        "calibration": asdict(result.calibration),
        "options": asdict(options),
    }
