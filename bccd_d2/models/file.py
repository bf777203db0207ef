"""Model files: weights as safetensors that carry all it takes to use them, and the shipped ones.

A file holds the tensors, in float16 where asked for, and in its header one JSON text under
"bccd_d2": the model's name, the config, the operating point, the preprocessing and whatever
the maker notes. No code is stored and none is run on reading. Of the config it has every key of
ours and those of detectron2's that differ from detectron2's defaults, so it reads alike under 0.6
and later; paths are left out.

Beside the tensors a file may hold its networks as ONNX graphs (`graph_of`), so that it is used
without PyTorch. Of several networks the first, "finder", finds cells; the names of another's
tensors begin with its own and a point.

The models that ship with the package lie in ``bccd_d2/models/pretrained`` with ``registry.json``,
which names each file with its SHA-256 and says which is the default.
"""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import SafetensorError, safe_open

from bccd_d2.io.atomic import write_bytes_atomic, write_json_atomic
from bccd_d2.io.records import read_json
from bccd_d2.models.preprocessing import PREPROCESSING

if TYPE_CHECKING:
    import torch
    from detectron2.config import CfgNode as CN

FORMAT = 1
HEADER = "bccd_d2"
PRETRAINED = Path(__file__).resolve().parent / "pretrained"
STARTS = ("MODEL.VIT.WEIGHTS", "MODEL.RESNETS.WEIGHTS")  # what a backbone's training began from
PATHS = ("DATASETS.ROOT", "DATASETS.MORE", "DATASETS.TAXONOMY", "MODEL.WEIGHTS", *STARTS,
         "OUTPUT_DIR")  # fmt: skip
PARTS = {"name": str, "config": dict, "operating_point": dict, PREPROCESSING: dict,
         "networks": dict}  # fmt: skip
FINDER = "finder"  # the network that finds cells; its tensors have no prefix
LOOK, SMALL = "types.network", "types.small"  # those of found cells' types, and of small cells
INT8 = ".int8"  # ends the name of a network's graph that computes in 8-bit integers
DECIDING = ("MODEL", "INPUT", "TEST")  # what changes a model's answer


def stored_tensors(
    tensors: Mapping[str, torch.Tensor], *, half: bool = False
) -> dict[str, torch.Tensor]:
    """A model's tensors as a file holds them: on the CPU, detached, with ``half`` as float16.

    Raises:
        ValueError: a tensor does not fit into float16.
    """
    import torch

    kept = {}
    for name, tensor in tensors.items():
        tensor = tensor.detach().cpu().clone().contiguous()
        if half and tensor.is_floating_point():
            smaller = tensor.half()
            if not torch.equal(torch.isfinite(smaller), torch.isfinite(tensor)):
                raise ValueError(f"tensor {name} has values beyond float16: write it in full")
            tensor = smaller
        kept[name] = tensor
    return kept


def write_model_file(
    path: str | Path,
    tensors: Mapping[str, torch.Tensor],
    description: Mapping[str, Any],
) -> str:
    """Write a model file, whole or not at all; its SHA-256.

    Args:
        tensors: the model's state dict, of `stored_tensors` where it is not as a file holds it.
        description: of `describe`.
    """
    from safetensors.torch import save

    text = json.dumps({"format": FORMAT, **description}, allow_nan=False)
    content = save(dict(tensors), {HEADER: text})
    write_bytes_atomic(path, content)
    return hashlib.sha256(content).hexdigest()


def describe(
    name: str, config: Any, operating_point: Mapping[str, Any], preprocessing: Mapping[str, Any]
) -> dict[str, Any]:
    """The description of a model for `write_model_file`.

    Args:
        operating_point: of `checkpoint.OperatingPoint.state_dict`.
        preprocessing: of `preprocessing.Preprocessing.state_dict`.
    """
    return {
        "name": name,
        "config": portable_config(config),
        "operating_point": dict(operating_point),
        PREPROCESSING: dict(preprocessing),
    }


def portable_config(config: Any) -> dict[str, Any]:
    """The config's leaves by dotted key, as the top of this file says."""
    from detectron2.config import get_cfg

    from bccd_d2.config.load import leaves

    theirs = dict(leaves(get_cfg()))
    kept = {
        key: value
        for key, value in leaves(config)
        if key not in PATHS and (key not in theirs or theirs[key] != value)
    }
    kept["MODEL.DEVICE"] = "auto"
    return kept


def config_of(description: Mapping[str, Any], path: str | Path) -> CN:
    """The config in a model file's description, not yet frozen.

    Raises:
        ValueError: it has keys that this version does not know, of those that change answers.
    """
    from bccd_d2.config.load import leaves, load_config

    config = load_config()
    known = dict(leaves(config))
    options: list[Any] = []
    for key, value in description["config"].items():
        if key in PATHS:
            continue
        if key in known:
            options += [key, tuple(value) if isinstance(known[key], tuple) else value]
        elif key.startswith(DECIDING):
            raise ValueError(
                f"model file {path} sets {key}, which this version of bccd_d2 does not know: "
                "install the version that wrote it, or a later one"
            )
    try:
        config.merge_from_list(options)
    except (ValueError, AssertionError, TypeError) as error:
        message = f"model file {path} has a wrong config ({error}); export it again"
        raise ValueError(message) from error
    return config


def read_description(path: str | Path) -> dict[str, Any]:
    """What a model file says about its model: name, config, operating_point, preprocessing, ...

    Raises:
        FileNotFoundError: no such file.
        ValueError: no safetensors, or not one of `write_model_file`.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"model file {path} does not exist")
    text = header_of(path).get(HEADER)
    if text is None:
        raise ValueError(
            f"{path} holds weights but says nothing of their config: give a file made by "
            "bccd export weights"
        )
    return checked_description(text, path)


def checked_description(text: str, path: Path) -> dict[str, Any]:
    """The description in a header, with each part of the kind that it must be of.

    Raises:
        ValueError: it is none.
    """
    try:
        description = json.loads(text)
        version = int(description["format"])
        description.setdefault("networks", {})
        wrong = [key for key, kind in PARTS.items() if not isinstance(description[key], kind)]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ValueError(
            f"model file {path} describes itself wrongly ({error!r:.150}); export it again"
        ) from error
    if version > FORMAT:
        raise ValueError(
            f"model file {path} is of format {version}, this version of bccd_d2 "
            f"reads up to {FORMAT}: install a later one"
        )
    if wrong:
        raise ValueError(
            f"model file {path} describes itself wrongly ({', '.join(wrong)}); export it again"
        )
    return description


def graph_of(
    description: Mapping[str, Any], network: str = FINDER
) -> tuple[bytes, list[str]] | None:
    """A network's ONNX graph and the names of the tensors it takes; None where it has none.

    Raises:
        ValueError: it is damaged.
    """
    said = description.get("networks", {}).get(network)
    if said is None:
        return None
    try:
        names = [str(name) for name in said["weights"]]
        return zlib.decompress(base64.b64decode(said["graph"], validate=True)), names
    except (ValueError, TypeError, KeyError, zlib.error) as error:
        message = f"the graph of its network {network!r} is damaged: copy it again"
        raise ValueError(message) from error


def graph_entry(graph: bytes, weights: Sequence[str]) -> dict[str, Any]:
    """A network as `graph_of` reads it; ``weights`` are the names of the tensors it takes."""
    return {"graph": base64.b64encode(zlib.compress(graph, 9)).decode(), "weights": list(weights)}


def with_header(content: bytes, description: Mapping[str, Any]) -> bytes:
    """A model file's content with another description; its tensors stay as they are.

    The header is a length in 8 bytes and so much JSON, filled up to a multiple of 8 with spaces.
    """
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    text = json.dumps({**description, "format": FORMAT}, allow_nan=False)
    header["__metadata__"] = {**header.get("__metadata__", {}), HEADER: text}
    written = json.dumps(header).encode()
    written += b" " * (-len(written) % 8)
    return len(written).to_bytes(8, "little") + written + content[8 + length :]


def external_layout(arrays: Mapping[str, np.ndarray]) -> dict[str, int]:
    """Where each array begins, in bytes, when they stand one after the other by name."""
    starts, start = {}, 0
    for name in sorted(arrays):
        starts[name] = start
        start += arrays[name].nbytes
    return starts


def read_arrays(path: str | Path) -> dict[str, np.ndarray]:
    """The tensors of a model file by name, as they are stored.

    Raises:
        ValueError: it is no safetensors file.
    """
    try:
        with safe_open(str(path), framework="np") as stream:
            return {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, TypeError) as error:
        raise ValueError(f"model file {path} is unreadable ({error}); copy it again") from error


def header_of(path: str | Path) -> dict[str, str]:
    """The texts in a safetensors file's header, by name.

    Raises:
        ValueError: it is no safetensors file.
    """
    try:
        with safe_open(str(path), framework="np") as stream:
            return stream.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise ValueError(f"model file {path} is unreadable ({error}); copy it again") from error


def file_sha256(path: str | Path) -> str:
    """Hexadecimal SHA-256 of a file's content."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def read_registry(folder: str | Path | None = None) -> dict[str, Any]:
    """``registry.json`` of the shipped models: default (a name or "") and models."""
    path = Path(folder or PRETRAINED) / "registry.json"
    if not path.is_file():
        return {"default": "", "models": {}}
    entry = {"file": str, "sha256": str, "bytes?": int}
    shape = {"default": str, "models": {str: entry}}
    return read_json(path, shape, "install bccd_d2 again")


def register_model(path: str | Path, *, default: bool = False) -> dict[str, Any]:
    """Enter a model file into the registry of its own folder; the new entry.

    Args:
        default: it becomes the model that `find_pretrained` gives for "".

    Raises:
        FileNotFoundError, ValueError: see `read_description`.
    """
    path = Path(path)
    name = read_description(path)["name"]
    registry = read_registry(path.parent)
    entry = {"file": path.name, "sha256": file_sha256(path), "bytes": path.stat().st_size}
    registry["models"][name] = entry
    if default or not registry["default"]:
        registry["default"] = name
    write_json_atomic(path.parent / "registry.json", registry, indent=1)
    return entry


def find_pretrained(name: str = "", folder: str | Path | None = None) -> Path:
    """The file of a shipped model, its checksum verified; "" is the default model.

    Raises:
        FileNotFoundError: no model ships with this installation, or its file is missing.
        KeyError: no such model; the message lists those there are.
        ValueError: the file is not the one that was registered.
    """
    folder = Path(folder or PRETRAINED)
    registry = read_registry(folder)
    models = registry["models"]
    if not name and not registry["default"]:
        raise FileNotFoundError(
            "no model ships with this installation of bccd_d2: train one (bccd train) and "
            "give its run folder, a .pth or a .safetensors file"
        )
    name = name or registry["default"]
    if name not in models:
        raise KeyError(
            f"{name!r} is no file, no folder and none of the shipped models "
            f"({', '.join(sorted(models)) or 'there are none'})"
        )
    path = folder / models[name]["file"]
    if not path.is_file():
        raise FileNotFoundError(f"model file {path} is missing: install bccd_d2 again")
    found = file_sha256(path)
    if found != models[name]["sha256"]:
        raise ValueError(
            f"model file {path} has SHA-256 {found}, but {models[name]['sha256']} was registered: "
            "it is damaged or another file; install bccd_d2 again"
        )
    return path
