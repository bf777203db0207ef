"""When, where, for how long and with which versions a run was: ``run.json``, for its report."""

from __future__ import annotations

import datetime
import importlib.metadata
import logging
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import detectron2
import torch
from detectron2.utils import comm

from bccd_d2 import __version__
from bccd_d2.io.atomic import write_json_atomic
from bccd_d2.io.records import read_json

logger = logging.getLogger(__name__)

PACKAGES = ("torchvision", "timm", "numpy", "faster-coco-eval")


def write_record(
    path: str | Path,
    what: str,
    seconds: float,
    device: str,
    dataset: Mapping[str, Any],
    again: bool,
) -> Path:
    """Add a session to ``path``, or begin the file anew.

    Args:
        what: "training" or "evaluation".
        seconds: how long it took, with everything.
        device: as ``MODEL.DEVICE``.
        dataset: the content of its dataset.json; name and counts are kept.
        again: keep the sessions that the file already holds, as a resumed training does.
    """
    path, sessions = Path(path), []
    if again and path.is_file():
        try:
            sessions = read_json(path, {"sessions": [dict]}, "it is begun anew")["sessions"]
        except ValueError as error:  # a finished training must not fail at its last line
            logger.warning("%s", error)
    session = {
        "what": what,
        "finished": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        "seconds": round(seconds, 3),
        "processes": comm.get_world_size(),
        "machine": describe_machine(device),
        "versions": versions(),
        "dataset": {
            "name": dataset.get("name", "unnamed"),
            "counts": dataset.get("counts", {}),
        },
    }
    return write_json_atomic(path, {"sessions": [*sessions, session]}, indent=1)


def describe_machine(device: str) -> str:
    """The GPU's name, or the processor's with its number of cores."""
    if device.startswith("cuda"):
        return torch.cuda.get_device_name(torch.device(device))
    return f"{os.cpu_count()} cores of {_processor()}"


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    for line in info.read_text(encoding="utf-8").splitlines() if info.is_file() else ():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def versions() -> dict[str, Any]:
    """Versions of what shaped the result; packages not installed by their usual name are absent."""
    found = {
        "bccd_d2": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "detectron2": detectron2.__version__,
    }
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
