"""Checkpoints are whole, strict, and only resumable ones are resumed from."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from bccd_d2.models import checkpoint
from bccd_d2.models.checkpoint import CellCheckpointer, OperatingPoint


def test_round_trip_with_operating_point(tmp_path) -> None:
    source, point = nn.Linear(2, 2), OperatingPoint(0.37, "bccd_val at iteration 5")
    CellCheckpointer(source, str(tmp_path), operating_point=point).save("model_final")
    target, read = nn.Linear(2, 2), OperatingPoint()
    path = str(tmp_path / "model_final.pth")
    CellCheckpointer(target, operating_point=read).load(path, ["operating_point"])
    torch.testing.assert_close(target.weight, source.weight)
    assert (read.score_threshold, read.origin) == (0.37, "bccd_val at iteration 5")


def test_best_is_not_what_resume_starts_from(tmp_path) -> None:
    checkpointer = CellCheckpointer(nn.Linear(2, 2), str(tmp_path))
    checkpointer.save("model_0000009", iteration=9)
    checkpointer.save("model_best", resumable=False)
    assert checkpointer.get_checkpoint_file().endswith("model_0000009.pth")
    assert checkpointer.resume_or_load("", resume=True)["iteration"] == 9


def test_a_save_that_dies_leaves_the_last_checkpoint(tmp_path, monkeypatch) -> None:
    model = nn.Linear(2, 2)
    checkpointer = CellCheckpointer(model, str(tmp_path))
    checkpointer.save("model_final", iteration=1)
    kept = model.weight.detach().clone()

    def die(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr(checkpoint, "write_bytes_atomic", die)
    nn.init.zeros_(model.weight)
    with pytest.raises(OSError, match="no space"):
        checkpointer.save("model_final", iteration=2)
    assert checkpointer.resume_or_load("", resume=True)["iteration"] == 1
    torch.testing.assert_close(model.weight, kept)


@pytest.mark.parametrize("other", [nn.Linear(3, 2), nn.Sequential(nn.Linear(2, 2))])
def test_a_checkpoint_that_does_not_fit_is_refused(tmp_path, other: nn.Module) -> None:
    CellCheckpointer(nn.Linear(2, 2), str(tmp_path)).save("a")
    with pytest.raises(ValueError, match="does not fit"):
        CellCheckpointer(other).load(str(tmp_path / "a.pth"))


def test_only_named_new_parts_may_be_missing(tmp_path) -> None:
    old = nn.Sequential()
    old.add_module("body", nn.Linear(2, 2))
    CellCheckpointer(old, str(tmp_path)).save("old")
    path = str(tmp_path / "old.pth")
    grown = nn.Sequential()
    grown.add_module("body", nn.Linear(2, 2))
    grown.add_module("extra", nn.Linear(2, 2))
    with pytest.raises(ValueError, match="extra"):
        CellCheckpointer(grown, new_parts=("other.",)).load(path)
    CellCheckpointer(grown, new_parts=("extra.",)).load(path)
    torch.testing.assert_close(grown.body.weight, old.body.weight)
    with pytest.raises(ValueError, match="body"):
        CellCheckpointer(nn.Linear(2, 2), new_parts=("weight", "bias")).load(path)
