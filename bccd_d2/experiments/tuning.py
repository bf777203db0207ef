"""Hyper-parameter search with Optuna: trials in a database, pruned early, resumed after a stop."""

from __future__ import annotations

import csv
import io
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import optuna
from detectron2.engine import HookBase
from optuna.trial import TrialState

from bccd_d2.config.files import SEARCH_SPACES, read_mapping
from bccd_d2.config.load import idle_keys
from bccd_d2.experiments.ablation import own_log_handlers
from bccd_d2.io.atomic import write_text_atomic
from bccd_d2.io.records import read_log
from bccd_d2.training.hooks import watched
from bccd_d2.training.run import run

logger = logging.getLogger(__name__)

FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
Direction = Literal["maximize", "minimize"]
_DIRECTIONS: dict[str, Direction] = {"max": "maximize", "min": "minimize"}


@dataclass(frozen=True)
class SearchOptions:
    """How to search.

    Attributes:
        trials: to finish in all, pruned ones and those of earlier calls included.
        startup: trials before the first is pruned; also before the sampler stops guessing.
        warmup: iterations of a trial before it may be pruned.
        seed: of the sampler.
    """

    trials: int = 20
    startup: int = 5
    warmup: int = 0
    seed: int = 0


def read_space(path: str | Path) -> dict[str, dict[str, Any]]:
    """The search space of a YAML file: config key -> range or choices.

    Args:
        path: a file, or the name of a shipped one: "detector" or "dense".

    Raises:
        FileNotFoundError: no such file.
        ValueError: an entry is neither ``{low, high[, log][, step]}`` nor ``{choices}``.
    """
    path = SEARCH_SPACES.find(path)
    space = read_mapping(path)
    if not space:
        raise ValueError(f"{path} must map config keys to ranges or choices")
    for key, entry in space.items():
        given = set(entry) if isinstance(entry, dict) else set()
        if given != {"choices"} and not {"low", "high"} <= given <= {"low", "high", "log", "step"}:
            raise ValueError(f"{path}: {key} needs low and high (log, step), or choices: {entry}")
    return space


def suggest(trial: optuna.Trial, space: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """A value for every key of the space; whole where the range's ends are."""
    values = {}
    for key, entry in space.items():
        entry = dict(entry)
        if "choices" in entry:
            values[key] = trial.suggest_categorical(key, entry["choices"])
        elif isinstance(entry["low"], int) and isinstance(entry["high"], int):
            values[key] = trial.suggest_int(key, **entry)
        else:
            values[key] = trial.suggest_float(key, **entry)
    return values


class ReportTrial(HookBase):
    """Tells Optuna the watched score after each evaluation and ends training when it says so.

    Args:
        trial: which trial this is.
        metric: "group/score".
        folder: the trial's; what an interrupted run of it measured is reported first.
    """

    def __init__(self, trial: optuna.Trial, metric: str, folder: str | Path) -> None:
        self._trial = trial
        self._metric = metric
        self.pruned = False
        self.value: float | None = None
        for done, value in measured(Path(folder) / "metrics.json", metric).items():
            self._trial.report(value, done)
            self.value = value

    def after_step(self) -> None:
        done = self.trainer.iter + 1
        last = done == self.trainer.max_iter
        when = self.trainer.storage.latest().get(self._metric, (0.0, -1))[1]
        if not last and when != self.trainer.iter:
            return
        self.value = watched(self._metric, self.trainer.iter)
        self._trial.report(self.value, done)
        if not last and self._trial.should_prune():
            self.pruned = True
            self.trainer.max_iter = done


def measured(metrics: Path, metric: str) -> dict[int, float]:
    """A score by the number of iterations done, out of a run's metrics.json; {} without one."""
    return {int(row["iteration"]): row[metric] for row in read_log(metrics) if metric in row}


def open_study(folder: str | Path, direction: Direction, options: SearchOptions) -> optuna.Study:
    """The study in ``folder/study.db``, new or as an earlier call left it.

    A trial that an earlier call did not finish is put in the queue again with its values and its
    folder, so that it goes on from its last checkpoint. One call at a time works on a folder.
    """
    Path(folder).mkdir(parents=True, exist_ok=True)
    study = optuna.create_study(
        storage=f"sqlite:///{Path(folder).resolve() / 'study.db'}",
        study_name="search",
        direction=direction,
        load_if_exists=True,
        pruner=optuna.pruners.MedianPruner(options.startup, options.warmup),
    )
    # The sampler's random state is not stored; the number of trials keeps it from repeating itself.
    study.sampler = optuna.samplers.TPESampler(
        n_startup_trials=options.startup, seed=options.seed + len(study.trials)
    )
    newest = {
        trial.user_attrs.get("folder", _folder(trial.number)): trial for trial in study.trials
    }
    for name, trial in newest.items():
        if trial.state == TrialState.RUNNING:
            study.tell(trial.number, state=TrialState.FAIL)
        if trial.state in (TrialState.RUNNING, TrialState.FAIL):
            study.enqueue_trial(trial.params, user_attrs={"folder": name})
            logger.info("trial %d was interrupted; it goes on as a new one", trial.number)
    return study


def search(config: Any, space: Mapping[str, Any], options: SearchOptions) -> optuna.Study:
    """Train trials until as many are finished as wanted.

    A trial's value is ``SOLVER.BEST_METRIC`` of the last evaluation, in ``SOLVER.BEST_MODE``. It is
    measured on the validation images, so what the search finds has to be confirmed on others.

    Args:
        config: not yet prepared; each trial changes the keys of the space. ``OUTPUT_DIR`` gets
            study.db, trials.csv and a folder a trial.
        space: see `read_space`.
        options: how many and how.

    Raises:
        KeyError: the space names an unknown config key.
        ValueError: nothing to validate on, a value that a key does not take, or a key that changes
            nothing in such a model.
    """
    idle = idle_keys(config, space)
    if idle:
        raise ValueError(f"the search space has {', '.join(idle)}, of detectors alone, and the "
                         "model is none: give another --space, such as dense")  # fmt: skip
    if not config.DATASETS.VALIDATION:
        raise ValueError("DATASETS.VALIDATION is empty: the search needs scores to compare")
    _apply(config, dict.fromkeys(space))
    study = open_study(config.OUTPUT_DIR, _DIRECTIONS[config.SOLVER.BEST_MODE], options)
    while len(study.get_trials(deepcopy=False, states=FINISHED)) < options.trials:
        study.optimize(lambda trial: _objective(config, space, trial), n_trials=1)
        write_text_atomic(Path(config.OUTPUT_DIR) / "trials.csv", trials_csv(study))
    return study


def trials_csv(study: optuna.Study) -> str:
    """A line a trial: number, state, value, iterations reported, seconds, folder, parameters."""
    keys = sorted({key for trial in study.trials for key in trial.params})
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["trial", "state", "value", "iterations", "seconds", "folder", *keys])
    for trial in study.trials:
        seconds = trial.duration.total_seconds() if trial.duration else ""
        row = [trial.number, trial.state.name, trial.value, trial.last_step, seconds]
        row += [trial.user_attrs.get("folder", ""), *(trial.params.get(key, "") for key in keys)]
        writer.writerow(["" if value is None else value for value in row])
    return text.getvalue()


def _folder(number: int) -> str:
    return f"trial_{number:03d}"


def _apply(config: Any, values: Mapping[str, Any]) -> Any:
    """A copy of the config with the values in it; None leaves a key as it is."""
    changed = config.clone()
    changed.defrost()
    for key, value in values.items():
        node = changed
        *parents, leaf = key.split(".")
        for part in parents:
            node = node.get(part, {})
        if leaf not in node:
            raise KeyError(f"the search space names the unknown config key {key}")
        if value is not None:
            whole = isinstance(node[leaf], float) and type(value) is int
            changed.merge_from_list([key, float(value) if whole else value])
    return changed


def _objective(config: Any, space: Mapping[str, Any], trial: optuna.Trial) -> float:
    values = suggest(trial, space)
    folder = trial.user_attrs.get("folder", _folder(trial.number))
    trial.set_user_attr("folder", folder)
    changed = _apply(config, values)
    changed.OUTPUT_DIR = str(Path(config.OUTPUT_DIR) / folder)
    hook = ReportTrial(trial, config.SOLVER.BEST_METRIC, changed.OUTPUT_DIR)
    try:
        with own_log_handlers():
            run(changed, False, True, [hook])
    except FloatingPointError as error:
        raise optuna.TrialPruned(str(error)) from error
    # What is left behind is small: the best weights, without the optimizer's state.
    for path in Path(changed.OUTPUT_DIR).glob("model_*.pth"):
        if path.name != "model_best.pth":
            path.unlink()
    (Path(changed.OUTPUT_DIR) / "last_checkpoint").unlink(missing_ok=True)
    if hook.pruned:
        raise optuna.TrialPruned("worse than the median")
    if hook.value is None:  # it had ended in an earlier call, and its metrics.json is gone
        raise optuna.TrialPruned("nothing was measured")
    return hook.value
