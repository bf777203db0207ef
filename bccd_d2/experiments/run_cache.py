"""Train or evaluate only what an earlier call with the same config and data did not finish."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from detectron2.engine import HookBase

from bccd_d2.io.atomic import write_json_atomic
from bccd_d2.io.records import read_json
from bccd_d2.models.load import run_weights, weights_of
from bccd_d2.training.folder import set_aside
from bccd_d2.training.launch import Processes, launch
from bccd_d2.training.run import prepare, run

_EVALUATED = {"weights": str, "operating_point": dict, "scores": {str: {str: float}}}


def ensure_trained(config: Any, processes: Processes, extra_hooks: Sequence[HookBase] = ()) -> Path:
    """Train to the end unless that was done; a run that was interrupted goes on where it was.

    What counts as the same run is the config and the conversion of the dataset, both recorded in
    ``OUTPUT_DIR/inputs.json``. A run of other inputs in that folder is set aside.

    Args:
        extra_hooks: see `run.train`.

    Returns:
        The best checkpoint; the last one where ``DATASETS.VALIDATION`` is empty.
    """
    folder = Path(config.OUTPUT_DIR)
    record = folder / "inputs.json"
    inputs = run_inputs(config)
    same = record.is_file() and read_json(record, dict, "delete the folder") == inputs
    if not (same and (folder / "model_final.pth").is_file()):
        if not same:
            set_aside(folder)
        write_json_atomic(record, inputs)
        launch(run, processes, config, False, True, extra_hooks)
    return run_weights(config, folder)


def ensure_evaluated(config: Any, processes: Processes) -> dict[str, Any]:
    """Score ``MODEL.WEIGHTS``, or the run's best checkpoint, on ``DATASETS.TEST``.

    Nothing is done where that was done since the checkpoint was written.

    Returns:
        The content of ``OUTPUT_DIR/evaluation/metrics.json``: weights, operating_point, scores.
    """
    folder = Path(config.OUTPUT_DIR)
    summary = folder / "evaluation" / "metrics.json"
    model = weights_of(config)
    if summary.is_file() and summary.stat().st_mtime >= model.stat().st_mtime:
        done = read_json(summary, _EVALUATED, "delete it")
        if (done["weights"], done.get("datasets")) == (str(model), list(config.DATASETS.TEST)):
            return done
    launch(run, processes, config, True, False)
    return read_json(summary, _EVALUATED, "delete it")


def run_inputs(config: Any) -> dict[str, str]:
    """Hashes of a config, prepared, and of the conversion of its datasets."""
    prepared = prepare(config.clone())
    folders = (prepared.DATASETS.ROOT, *prepared.DATASETS.MORE)
    conversions = b"".join((Path(folder) / "dataset.json").read_bytes() for folder in folders)
    return {
        "config": hashlib.sha256(prepared.dump().encode()).hexdigest(),
        "dataset": hashlib.sha256(conversions).hexdigest(),
    }
