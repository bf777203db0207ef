"""Pictures of a search: they exist, and the decisive parameter stands first."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("optuna")
pytest.importorskip("matplotlib")

import optuna
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

from bccd_d2.report.search_plots import BEST_SHARE, draw_search


def study(trials: int) -> optuna.Study:
    """Trials whose value is x, with a parameter y that does nothing."""
    made = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0))

    def objective(trial: optuna.Trial) -> float:
        trial.suggest_float("y", 0, 1)
        value = trial.suggest_float("x", 0, 1)
        trial.report(value, 10)
        return value

    made.optimize(objective, n_trials=trials)
    return made


def test_three_pictures(tmp_path: Path) -> None:
    written = draw_search(study(12), tmp_path)
    assert {path.name for path in written} == {"importances.png", "history.png", "curves.png"}
    assert all(path.read_bytes()[:4] == b"\x89PNG" for path in written)


def test_one_trial_has_no_importances(tmp_path: Path) -> None:
    assert {p.name for p in draw_search(study(1), tmp_path)} == {"history.png", "curves.png"}


def test_the_decisive_parameter_stands_first() -> None:
    evaluator = PedAnovaImportanceEvaluator(target_quantile=BEST_SHARE)
    assert next(iter(get_param_importances(study(12), evaluator=evaluator))) == "x"
