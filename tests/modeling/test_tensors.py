"""Weights are read as tensors or not at all; no layout and no suffix gets code through."""

from __future__ import annotations

import os
import pickle
import zipfile

import pytest
import torch
from safetensors.torch import save_file

from bccd_d2.modeling.tensors import SUFFIXES, read_tensors

from ..attacks.payloads import payloads

LAYOUTS = ("pickle", "model zoo", "torch.save", "torch.save of old", "tar", "TorchScript")


@pytest.mark.parametrize("suffix", [*SUFFIXES, ".PTH", ".pkl", ".pyth", ".ckpt", ".tar", ""])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_no_payload_runs(tmp_path, layout: str, suffix: str) -> None:
    path, marker = tmp_path / f"evil{suffix}", tmp_path / "it ran"
    path.write_bytes(payloads(marker)[layout])
    with pytest.raises(ValueError, match=f"evil{suffix} ") as caught:
        read_tensors(path, "MODEL.WEIGHTS")
    assert str(caught.value).startswith("MODEL.WEIGHTS ")
    assert not marker.exists()


def test_the_payloads_are_real(tmp_path) -> None:
    pickle.loads(payloads(tmp_path / "a")["model zoo"])
    (tmp_path / "evil.pth").write_bytes(payloads(tmp_path / "b")["torch.save of old"])
    torch.load(tmp_path / "evil.pth", weights_only=False)
    assert (tmp_path / "a").exists() and (tmp_path / "b").exists()


def test_what_the_refusal_advises_is_read(tmp_path) -> None:
    tensors = {"a": torch.arange(6.0).view(2, 3)}
    save_file(tensors, tmp_path / "a.safetensors")
    torch.save(tensors, tmp_path / "a.pth")
    torch.save(tensors, tmp_path / "a.bin", _use_new_zipfile_serialization=False)
    for name in ("a.safetensors", "a.pth", "a.bin"):
        assert torch.equal(read_tensors(tmp_path / name)["a"], tensors["a"])


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("kept", [0, 1, 40, 0.5, 0.98])
def test_a_cut_file_is_named(tmp_path, suffix: str, kept: float) -> None:
    path = tmp_path / f"cut{suffix}"
    save = save_file if suffix == ".safetensors" else torch.save
    save({"a": torch.zeros(2000)}, path)
    size = path.stat().st_size
    os.truncate(path, int(kept * size) if isinstance(kept, float) else kept)
    with pytest.raises(ValueError, match=rf"cut{suffix} .*[cC]opy it again") as caught:
        read_tensors(path)
    assert "\n" not in str(caught.value)


def test_other_contents_are_named(tmp_path) -> None:
    torch.save([torch.zeros(1)], tmp_path / "list.pth")
    with pytest.raises(ValueError, match="no dictionary of tensors but one list"):
        read_tensors(tmp_path / "list.pth")
    with pytest.raises(FileNotFoundError, match="none.pth"):
        read_tensors(tmp_path / "none.pth")
    with pytest.raises(FileNotFoundError, match="https://a.b/c.pth"):
        read_tensors("https://a.b/c.pth")
    (tmp_path / "folder.pth").mkdir()
    with pytest.raises(ValueError, match="is a folder"):
        read_tensors(tmp_path / "folder.pth")


def test_a_compressed_checkpoint_is_not_inflated(tmp_path) -> None:
    """A file of some kilobytes cannot ask for gigabytes."""
    torch.save({"a": torch.zeros(10**6)}, tmp_path / "a.pth")
    with (
        zipfile.ZipFile(tmp_path / "a.pth") as plain,
        zipfile.ZipFile(tmp_path / "bomb.pth", "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for info in plain.infolist():
            packed.writestr(info.filename, plain.read(info))
    with pytest.raises(ValueError, match="bomb.pth is refused"):
        read_tensors(tmp_path / "bomb.pth")
