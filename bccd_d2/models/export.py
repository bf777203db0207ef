"""From a finished run to a model file that can ship: weights, network and card."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from bccd_d2.config.files import find_config
from bccd_d2.config.load import finalize, leaves, load_config
from bccd_d2.io.atomic import write_text_atomic
from bccd_d2.io.records import read_json
from bccd_d2.modeling.build import build_model
from bccd_d2.models.checkpoint import RUN_FILES, CellCheckpointer
from bccd_d2.models.file import (
    FINDER,
    PATHS,
    config_of,
    describe,
    graph_entry,
    read_description,
    register_model,
    stored_tensors,
    write_model_file,
)
from bccd_d2.models.graph import can_be_a_graph, finder_graph, type_graphs, weightless
from bccd_d2.models.parameters import backbone_of
from bccd_d2.models.point import OperatingPoint
from bccd_d2.models.preprocessing import PREPROCESSING, Preprocessing

CARD = """# {name}

| | |
| --- | --- |
| file | `{file}`, {megabytes:.1f} MB, {precision} |
| SHA-256 | `{sha256}` |
| architecture | {architecture}, {parameters:.1f} M parameters |
| scale | {scale} detector pixels for an image pixel |
| operating point | score threshold {threshold:.2f}, chosen on {origin} |
| preprocessing | {preprocessing} |
| recipe | {iterations} steps of {batch} crops of {crop} px, learning rate {rate:g}, {trained_in} |

## Use

    from bccd_d2 import load_pretrained
    cells = load_pretrained("{name}").predict(image)  # (H, W, 3) uint8 RGB

## Scores

{scores}

## Data and licence

To be written: which images it learned from, under which licence, and under which these weights are.

## Command

To be written: the command that trained it, the machine and the time.

## Limits

To be written: what it was not tested on.
"""


def export_run(
    run: str | Path,
    out: str | Path,
    name: str,
    *,
    config_file: str | Path = "",
    half: bool = False,
    default: bool = False,
) -> dict[str, Path]:
    """Write ``<out>/<name>.safetensors``, its card and its entry in the registry of the folder.

    A card that exists is left alone: people write in it. The averaged weights are taken where the
    checkpoint has them, as in evaluation.

    A dense model's network goes in as an ONNX graph, so that the file needs no PyTorch.

    Args:
        run: a run's folder (its model_best.pth, else model_final.pth), a .pth file or a model file.
        config_file: a file, or a shipped config by name, in place of the ``config.yaml`` beside
            the checkpoint.
        half: floating point tensors as float16; compare the scores before and after.
        default: this becomes the model that ships as the default.

    Returns:
        Paths by the names "weights", "card" and "registry".

    Raises:
        FileNotFoundError: no checkpoint or no config.
        ValueError: they do not fit each other, the checkpoint has no operating point, or the name
            is no plain file name.
    """
    if not name or Path(name).name != name or name.startswith("."):
        raise ValueError(f"name must be a plain file name without a folder, got {name!r}")
    checkpoint, config_path = _locate(Path(run), config_file)
    config, model, point, preprocessing = _load(checkpoint, config_path)
    description = describe(name, config, point.state_dict(), preprocessing.state_dict())
    path = Path(out) / f"{name}.safetensors"
    tensors = stored_tensors(model.state_dict(), half=half)
    networks = _networks(model, {one: tensor.numpy() for one, tensor in tensors.items()})
    if networks:
        description |= {"networks": networks}
    write_model_file(path, tensors, description)
    entry = register_model(path, default=default)
    card = path.with_suffix(".md")
    if not card.is_file():
        scores = checkpoint.parent / "evaluation" / "metrics.json"
        write_text_atomic(card, _card(name, entry, config, model, (point, half, scores)))
    return {"weights": path, "card": card, "registry": path.parent / "registry.json"}


def _networks(model: Any, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """The graphs of a dense model's networks, by their names; {} of any other model.

    Args:
        arrays: the tensors of its model file, the graphs' weights.
    """
    if not can_be_a_graph(model):
        return {}
    entries = {FINDER: graph_entry(*weightless(finder_graph(model), arrays))}
    types = getattr(model, "types", None)
    for name, graph in ({} if types is None else type_graphs(types)).items():
        entries[name] = graph_entry(*weightless(graph, arrays, f"{name}."))
    return entries


def _load(
    checkpoint: Path, config_file: Path | None
) -> tuple[Any, Any, OperatingPoint, Preprocessing]:
    if config_file is None:
        config = config_of(read_description(checkpoint), checkpoint)
    else:
        config = load_config(config_file)
    config.MODEL.DEVICE = "cpu"
    given = dict(leaves(config))
    for key in PATHS:
        config.merge_from_list([key, type(given[key])()])
    model = build_model(finalize(config))
    point, preprocessing = OperatingPoint(origin=""), Preprocessing()
    parts: dict[str, Any] = {"operating_point": point, PREPROCESSING: preprocessing}
    CellCheckpointer(model, use_average=True, **parts).load(str(checkpoint), list(parts))
    if not point.origin:
        raise ValueError(
            f"{checkpoint} has no operating point: take a checkpoint of bccd train"
        )
    return preprocessing.given_to(config), model, point, preprocessing


def _locate(run: Path, config_file: str | Path) -> tuple[Path, Path | None]:
    """The checkpoint and the config of a run; None where the file has its own."""
    folder = run if run.is_dir() else run.parent
    found = [folder / name for name in RUN_FILES] if run.is_dir() else [run]
    checkpoint = next((path for path in found if path.is_file()), None)
    if checkpoint is None:
        wanted = f"expected {' or '.join(map(str, found))}" if run.is_dir() else "it does not exist"
        raise FileNotFoundError(f"no checkpoint at {run}: {wanted}")
    if config_file:
        return checkpoint, find_config(config_file)
    if checkpoint.suffix == ".safetensors":
        return checkpoint, None
    config = folder / "config.yaml"
    if not config.is_file():
        raise FileNotFoundError(f"config {config} does not exist: give the one of the training")
    return checkpoint, config


def _card(
    name: str, entry: dict[str, Any], config: Any, model: torch.nn.Module, rest: tuple[Any, ...]
) -> str:
    point, half, scores = rest
    stain = config.INPUT.STAIN.METHOD or "no stain normalisation"
    return CARD.format(
        name=name,
        file=entry["file"],
        megabytes=entry["bytes"] / 1e6,
        precision="float16" if half else "float32",
        sha256=entry["sha256"],
        architecture=f"{config.MODEL.META_ARCHITECTURE} on {backbone_of(config)[0]}",
        parameters=sum(p.numel() for p in model.parameters()) / 1e6,
        scale=config.INPUT.IMAGE_SCALE,
        threshold=point.score_threshold,
        origin=point.origin,
        preprocessing=f"{stain}, denoise {config.INPUT.DENOISE:g}, CLAHE {config.INPUT.CLAHE:g}",
        iterations=config.SOLVER.MAX_ITER,
        batch=config.SOLVER.IMS_PER_BATCH,
        crop=config.INPUT.CROP_SIZE,
        rate=config.SOLVER.BASE_LR,
        trained_in=config.SOLVER.PRECISION,
        scores=_scores(scores),
    )


def _scores(path: Path) -> str:
    """A table of the run's own evaluation; a sentence where there was none."""
    if not path.is_file():
        return "Not measured yet: run bccd train --eval-only before exporting."
    shape = {"scores": {str: {str: (float, None, bool)}}, "datasets": [str]}
    summary = read_json(path, shape, "evaluate again")
    wanted = {"segm": ("AP", "AP50", "AP75"), "instances": ("F1@.5", "PQ", "count_mae"),
              "pixels": ("Dice",), "types": ("mAP50", "accuracy")}  # fmt: skip
    columns, values = [], []
    for group, names in wanted.items():
        for score in names:
            value = summary["scores"].get(group, {}).get(score)
            if value is not None:
                columns.append(score)
                values.append(f"{value:.3f}")
    rows = [columns, ["---"] * len(columns), values]
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return f"On {', '.join(summary['datasets'])}, at the operating point:\n\n{table}"
