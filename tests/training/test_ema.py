"""The average follows the weights, is what is scored and saved as the best."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from bccd_d2.models.checkpoint import CellCheckpointer, average_weights
from bccd_d2.training import run as run_module
from bccd_d2.training.ema import averaged_model, decay_at
from bccd_d2.training.run import prepare, train


def test_decay_warms_up_to_its_limit() -> None:
    assert decay_at(0, 0.99, 10) == pytest.approx(0.1)
    assert decay_at(90, 0.99, 10) == pytest.approx(0.91)
    assert decay_at(10**6, 0.99, 10) == 0.99
    assert decay_at(0, 0.5, 1) == 0.5


def test_average_of_known_weights() -> None:
    model = nn.Linear(1, 1, bias=False)
    average = averaged_model(model, decay=0.75, warmup=1)
    expected = 8.0
    for value in (8.0, 4.0, 0.0):
        nn.init.constant_(model.weight, value)
        average.update_parameters(model)
        expected = 0.75 * expected + 0.25 * value
    assert average.module.weight.item() == pytest.approx(expected)


@pytest.fixture(scope="module")
def averaged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ema")


def test_what_is_scored_is_the_average_and_so_is_the_best(
    small_config: Callable, averaged: Path, monkeypatch
) -> None:
    scored = []
    score = run_module.score

    def watch(config, model, names, **kwargs):
        scored.append({k: v.clone() for k, v in model.state_dict().items()})
        return score(config, model, names, **kwargs)

    monkeypatch.setattr(run_module, "score", watch)
    options = ["SOLVER.MAX_ITER", "3", "SOLVER.EMA_DECAY", "0.9", "SOLVER.BASE_LR", "0.01"]
    train(prepare(small_config(averaged, *options)))
    final = torch.load(averaged / "model_final.pth", weights_only=True)
    best = torch.load(averaged / "model_best.pth", weights_only=True)
    mean = average_weights(final["ema"])
    name = "roi_heads.mask_head.predictor.weight"
    assert not torch.allclose(mean[name], final["model"][name])
    assert int(final["ema"]["n_averaged"]) == 3
    for key, value in mean.items():
        torch.testing.assert_close(best["model"][key], value, rtol=0, atol=0)
        torch.testing.assert_close(scored[-1][key], value, rtol=0, atol=0)


def test_evaluation_loads_the_average_and_training_the_weights(averaged: Path) -> None:
    path = averaged / "model_final.pth"
    saved = torch.load(path, weights_only=True)
    name = "roi_heads.mask_head.predictor.weight"

    class Like(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            for key, value in saved["model"].items():
                place = self
                *parents, leaf = key.split(".")
                for part in parents:
                    if not hasattr(place, part):
                        place.add_module(part, nn.Module())
                    place = getattr(place, part)
                place.register_buffer(leaf, torch.zeros_like(value))

    for use_average, expected in ((True, average_weights(saved["ema"])), (False, saved["model"])):
        model = Like()
        CellCheckpointer(model, use_average=use_average).load(str(path))
        torch.testing.assert_close(model.state_dict()[name], expected[name])
