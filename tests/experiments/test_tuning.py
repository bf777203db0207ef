"""The search: spaces, pruning, and a stop in the middle of a trial."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("optuna")
pytest.importorskip("detectron2")

import optuna
from detectron2.utils.events import EventStorage

from bccd_d2.experiments import tuning as search_module
from bccd_d2.experiments.tuning import SearchOptions, open_study, read_space, search, suggest

SPACE = {"SOLVER.BASE_LR": {"low": 1e-4, "high": 1e-2, "log": True},
         "INPUT.CROP_SIZE": {"choices": [64, 96]},
         "SOLVER.WARMUP_ITERS": {"low": 1, "high": 3}}  # fmt: skip


def test_values_lie_in_the_space_and_keep_their_kind() -> None:
    for seed in range(5):
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
        values = suggest(study.ask(), SPACE)
        assert 1e-4 <= values["SOLVER.BASE_LR"] <= 1e-2
        assert values["INPUT.CROP_SIZE"] in (64, 96)
        assert values["SOLVER.WARMUP_ITERS"] in (1, 2, 3)


@pytest.mark.parametrize("text", ["[]", "SOLVER.BASE_LR: 3", "A: {low: 1}", "A: {low: 1, hi: 2}"])
def test_a_broken_space_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "space.yaml").write_text(text)
    with pytest.raises(ValueError, match=r"space\.yaml"):
        read_space(tmp_path / "space.yaml")


@pytest.mark.parametrize("name", ["detector", "dense"])
def test_the_shipped_space_names_keys_that_exist(
    small_config: Callable, tmp_path: Path, name: str
) -> None:
    space = read_space(name)
    trial = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0)).ask()
    changed = search_module._apply(small_config(tmp_path), suggest(trial, space))
    assert trial.params["SOLVER.BASE_LR"] == changed.SOLVER.BASE_LR
    assert len(space) == len(trial.params)
    with pytest.raises(KeyError, match=r"SOLVER\.LRR"):
        search(small_config(tmp_path), {"SOLVER.LRR": {"low": 0.0, "high": 1.0}}, SearchOptions())


def test_a_space_of_detectors_is_refused_for_a_dense_model(small_config, tmp_path: Path) -> None:
    config = small_config(tmp_path)
    config.MODEL.META_ARCHITECTURE = "DenseSegmentor"
    with pytest.raises(ValueError, match=r"BBOX_REG_LOSS_WEIGHT.*--space, such as dense"):
        search(config, read_space("detector"), SearchOptions())


def fake_run(curves: list, calls: list) -> Callable:
    """In place of training: evaluates every 2 of 6 iterations with the scores of a list."""

    def run(config, eval_only, resume, hooks) -> None:
        calls.append(config.OUTPUT_DIR)
        curve = curves[len(calls) - 1]
        trainer = SimpleNamespace(iter=0, max_iter=6)
        hooks[0].trainer = trainer
        with EventStorage(0) as trainer.storage:
            while trainer.iter < trainer.max_iter:
                trainer.storage.iter = trainer.iter
                if trainer.iter % 2:
                    score = curve[trainer.iter // 2]
                    if isinstance(score, BaseException):
                        raise score
                    trainer.storage.put_scalar("segm/AP", score)
                hooks[0].after_step()
                trainer.iter += 1

    return run


def test_pruned_stopped_and_resumed(small_config: Callable, tmp_path: Path, monkeypatch) -> None:
    """Trial 2 is pruned, 3 diverges, 4 is interrupted; the second call finishes it and one more."""
    good, bad = [0.3, 0.5, 0.6], [0.1, 0.2, 0.9]
    curves = [good, good, bad, [FloatingPointError("loss not finite")],
              [0.4, KeyboardInterrupt()], [0.4, 0.6, 0.7], good]  # fmt: skip
    calls: list[str] = []
    monkeypatch.setattr(search_module, "run", fake_run(curves, calls))
    config, options = small_config(tmp_path), SearchOptions(trials=6, startup=2)
    with pytest.raises(KeyboardInterrupt):
        search(config, SPACE, options)
    assert len(calls) == 5
    study = search(config, SPACE, options)
    states = [trial.state.name for trial in study.trials]
    assert states == ["COMPLETE", "COMPLETE", "PRUNED", "PRUNED", "FAIL", "COMPLETE", "COMPLETE"]
    assert study.trials[2].last_step == 2  # worse than the median at the first evaluation
    assert study.trials[5].params == study.trials[4].params and calls[5] == calls[4]
    assert study.best_value == 0.7 and study.best_trial.number == 5
    search(config, SPACE, options)
    assert len(calls) == 7
    rows = list(csv.DictReader((tmp_path / "trials.csv").open()))
    assert len(rows) == 7 and rows[5]["value"] == "0.7" and "SOLVER.BASE_LR" in rows[0]


def test_a_trial_that_measures_nothing_does_not_hold_the_search(
    small_config: Callable, tmp_path: Path, monkeypatch
) -> None:
    ran = []
    monkeypatch.setattr(search_module, "run", lambda *given: ran.append(given))
    study = search(small_config(tmp_path), SPACE, SearchOptions(trials=2))
    assert [trial.state.name for trial in study.trials] == ["PRUNED"] * 2 and len(ran) == 2


def test_a_killed_trial_is_queued_again(tmp_path: Path) -> None:
    options = SearchOptions()
    study = open_study(tmp_path, "maximize", options)
    params = suggest(study.ask(), SPACE)
    again = open_study(tmp_path, "maximize", options)
    assert [t.state.name for t in again.trials] == ["FAIL", "WAITING"]
    trial = again.ask()
    assert suggest(trial, SPACE) == params and trial.user_attrs["folder"] == "trial_000"
    # One that was queued twice is not queued a third time while it waits.
    assert [t.state.name for t in open_study(tmp_path, "maximize", options).trials] == [
        "FAIL", "FAIL", "WAITING"]  # fmt: skip


def test_the_tool_end_to_end(
    small_options: list[str], repo_root: Path, tmp_path: Path, capsys
) -> None:
    import tune

    (tmp_path / "space.yaml").write_text("SOLVER.BASE_LR: {low: 1.0e-4, high: 1.0e-2, log: true}\n")
    call = ["--config-file", str(repo_root / "configs" / "cpu_tiny_maskrcnn.yaml"),
            "--space", str(tmp_path / "space.yaml"), "--trials", "2", *small_options,
            "OUTPUT_DIR", str(tmp_path / "out"), "SOLVER.MAX_ITER", "1", "SOLVER.BEST_METRIC",
            "validation/total_loss", "SOLVER.BEST_MODE", "min",
            "TEST.DETECTIONS_PER_IMAGE", "20"]  # fmt: skip
    assert tune.main(call) == 0
    out = tmp_path / "out"
    assert {"study.db", "trials.csv", "importances.png", "history.png", "curves.png"} <= {
        path.name for path in out.iterdir()
    }
    assert [p.name for p in sorted((out / "trial_001").glob("*.pth"))] == ["model_best.pth"]
    assert "best: validation/total_loss" in capsys.readouterr().out
