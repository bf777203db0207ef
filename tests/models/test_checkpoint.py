"""Checkpoints are whole, strict, and only resumable ones are resumed from."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from bccd_d2.models import checkpoint
from bccd_d2.models.checkpoint import CellCheckpointer, resume_file
from bccd_d2.models.point import OperatingPoint


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
    assert resume_file(tmp_path) == tmp_path / "model_0000009.pth"
    assert checkpointer.load(resume_file(tmp_path))["iteration"] == 9


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
    assert checkpointer.load(resume_file(tmp_path))["iteration"] == 1
    torch.testing.assert_close(model.weight, kept)


@pytest.mark.parametrize("other", [nn.Linear(3, 2), nn.Sequential(nn.Linear(2, 2))])
def test_a_checkpoint_that_does_not_fit_is_refused(tmp_path, other: nn.Module) -> None:
    CellCheckpointer(nn.Linear(2, 2), str(tmp_path)).save("a")
    with pytest.raises(ValueError, match="does not fit"):
        CellCheckpointer(other).load(str(tmp_path / "a.pth"))


def test_a_typed_model_begins_an_untyped_one_and_not_the_reverse(tmp_path) -> None:
    typed, plain = nn.Linear(2, 2), nn.Linear(2, 2)
    typed.types = nn.Linear(3, 3)
    for name, model in (("typed", typed), ("plain", plain)):
        CellCheckpointer(model, str(tmp_path)).save(name)
    CellCheckpointer(plain).load(tmp_path / "typed.pth")
    torch.testing.assert_close(plain.weight, typed.weight)
    with pytest.raises(ValueError, match="types.weight"):
        CellCheckpointer(typed).load(tmp_path / "plain.pth")


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


@pytest.fixture
def saved(tmp_path):
    """A folder with checkpoints of iterations 2, 5 and 8; the last is named to go on from."""
    checkpointer = CellCheckpointer(nn.Linear(2, 2), str(tmp_path))
    for iteration in (2, 5, 8):
        checkpointer.save(f"model_{iteration:07d}", iteration=iteration)
    checkpointer.save("model_best", resumable=False)
    return tmp_path


@pytest.mark.parametrize(
    "tag", ["", "gone.pth", "model_best.pth", "../model_0000008.pth", "\x00", None]
)
def test_a_tag_that_names_no_whole_checkpoint_falls_back_and_says_so(saved, tag, caplog) -> None:
    if tag is None:
        (saved / "last_checkpoint").unlink()
    else:
        (saved / "last_checkpoint").write_text(tag)
    assert resume_file(saved) == saved / "model_0000008.pth"
    assert "going on from model_0000008.pth (iteration 9)" in caplog.text


@pytest.mark.parametrize("kept", [0, 100, -20])
def test_a_cut_checkpoint_gives_way_to_the_one_before(saved, kept: int, caplog) -> None:
    newest = saved / "model_0000008.pth"
    newest.write_bytes(newest.read_bytes()[:kept])
    assert resume_file(saved) == saved / "model_0000005.pth"
    assert "names 'model_0000008.pth', which is no whole checkpoint" in caplog.text


def test_nothing_to_go_on_from(saved, tmp_path_factory) -> None:
    assert resume_file(tmp_path_factory.mktemp("empty")) is None
    for path in saved.glob("*.pth"):
        path.write_bytes(b"")
    with pytest.raises(ValueError, match="start anew without --resume"):
        resume_file(saved)


@pytest.mark.parametrize(
    ("part", "value"),
    [("operating_point", 3), ("operating_point", {"score_threshold": "x", "origin": ""}),
     ("operating_point", {"score_threshold": float("nan"), "origin": ""}), ("operating_point", {}),
     ("model", [1]), ("model", {"weight": 1}), ("model", {1: torch.zeros(2)})],
)  # fmt: skip
def test_parts_of_a_wrong_kind_name_the_file(tmp_path, part: str, value) -> None:
    model = nn.Linear(2, 2)
    torch.save({"model": model.state_dict(), part: value}, tmp_path / "a.pth")
    point = OperatingPoint()
    with pytest.raises(ValueError, match=r"a\.pth.*" + part):
        CellCheckpointer(model, operating_point=point).load(tmp_path / "a.pth")
    assert point.score_threshold == 0.5


def test_plain_safetensors_start_a_model(tmp_path) -> None:
    """What the refusal of a pickle advises works."""
    from safetensors.torch import save_file

    source, target = nn.Linear(2, 2), nn.Linear(2, 2)
    save_file(source.state_dict(), tmp_path / "a.safetensors")
    assert CellCheckpointer(target).load(tmp_path / "a.safetensors") == {}
    torch.testing.assert_close(target.weight, source.weight)
