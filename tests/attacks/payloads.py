"""Files that run a program when they are unpickled, in every layout that torch ever read."""

from __future__ import annotations

import io
import os
import pickle
import tarfile
import zipfile
from pathlib import Path

import torch


class Touch:
    """Unpickling one makes a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = str(marker)

    def __reduce__(self):
        return os.mknod, (self.marker,)


def payloads(marker: Path) -> dict[str, bytes]:
    """Content of a harmful file by the name of its layout; read with code it makes ``marker``."""
    touch = Touch(marker)
    model_zoo = {"model": {"a": touch}, "__author__": "x", "matching_heuristics": True}
    return {
        "pickle": pickle.dumps(touch),
        "model zoo": pickle.dumps(model_zoo),
        "torch.save": _saved({"model": {"a": touch}, "iteration": 3}),
        "torch.save of old": _saved({"model": {"a": touch}}, _use_new_zipfile_serialization=False),
        "tar": _tar(touch),
        "TorchScript": _script(touch),
    }


def _saved(content: object, **options: bool) -> bytes:
    stream = io.BytesIO()
    torch.save(content, stream, **options)
    return stream.getvalue()


def _tar(touch: Touch) -> bytes:
    """The layout of before torch 0.2, which torch 2.5 still reads in spite of weights_only."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for name in ("storages", "tensors", "pickle"):
            content = pickle.dumps(touch)
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def _script(touch: Touch) -> bytes:
    """A checkpoint that claims to be a program, which torch 2.5 would hand to torch.jit.load."""
    stream = io.BytesIO(_saved({"a": touch}))
    with zipfile.ZipFile(stream, "a") as archive:
        archive.writestr("archive/constants.pkl", pickle.dumps(touch))
        archive.writestr("archive/code/__torch__.py", "")
    return stream.getvalue()
