"""The one reader of files of weights: tensors and plain values, never code.

A pickle can run any program while it is read. So the door is narrow, whatever a file is called:
safetensors, or what `torch.save` wrote, read with ``weights_only=True``. Before torch 2.6 that
option let two kinds through, tar archives and TorchScript (CVE-2025-32434); they are refused here
by content, for every version of torch.
"""

from __future__ import annotations

import re
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")
_LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # how torch.save began before torch 1.6
_REMEDY = (
    "On a machine where you trust the file, save its tensors alone, as .safetensors or with "
    "torch.save as .pth, and name that file"
)


def check_weights_file(path: str | Path, key: str = "weights") -> Path:
    """The path of a file that `read_tensors` may read, by its name; nothing of it is read.

    Args:
        key: what named the file, such as a config key; it begins the message.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a folder, or a suffix that is none of `SUFFIXES`.
    """
    given, path = str(path), Path(path).expanduser()
    if path.suffix.lower() not in SUFFIXES and not path.is_dir():
        raise ValueError(
            f"{key} {given} is refused: weights are read from {', '.join(SUFFIXES)} alone, because "
            f"reading any other kind can run code from the file. {_REMEDY}."
        )
    if path.is_dir():
        raise ValueError(f"{key} {given} is a folder; name the file of weights in it")
    if not path.is_file():
        raise FileNotFoundError(f"{key} {given} is no file here; name a {' or '.join(SUFFIXES)}")
    return path


def read_tensors(path: str | Path, key: str = "weights") -> dict[str, Any]:
    """What a file of weights holds, on the CPU: tensors by name, for .pth also plain values.

    Args:
        key: what named the file; it begins the message of an error.

    Raises:
        FileNotFoundError: no such file.
        ValueError: another kind of file, one with code in it, an empty or a damaged one; the
            message names the file and the remedy.
    """
    path = check_weights_file(path, key)
    if path.stat().st_size == 0:
        raise ValueError(f"{key} {path} is empty (0 bytes); copy it again or name another file")
    try:
        if path.suffix.lower() == ".safetensors":
            with safe_open(str(path), framework="pt") as stream:
                return {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
        _check_layout(path, key)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except _Refused:
        raise
    except SafetensorError as error:
        raise ValueError(
            f"{key} {path} is no whole, readable safetensors file ({error}); copy it again"
        ) from error
    except Exception as error:  # a damaged file makes torch raise a dozen kinds
        raise _explained(error, path, key) from error
    if not isinstance(content, dict):
        raise ValueError(
            f"{key} {path} holds no dictionary of tensors but one {type(content).__name__}; save "
            "a model's state_dict() instead"
        )
    return content


class _Refused(ValueError):
    """A kind of file that is not read."""


def _check_layout(path: Path, key: str) -> None:
    """Pass the two layouts of `torch.save`; judged by content, for names say nothing."""
    with path.open("rb") as stream:
        start = stream.read(len(_LEGACY))
    if start == _LEGACY and not tarfile.is_tarfile(path):
        return
    if not start.startswith(b"PK\x03\x04"):
        raise _Refused(
            f"{key} {path} is refused: it is a pickle, an archive or damaged, but nothing that "
            f"torch.save wrote. Copy it again if it was. {_REMEDY}."
        )
    records = torch._C.PyTorchFileReader(str(path)).get_all_records()  # what torch itself will see
    with zipfile.ZipFile(path) as archive:
        packed = [one for one in archive.infolist() if one.compress_type != zipfile.ZIP_STORED]
        names = [*records, *(name.partition("/")[2] for name in archive.namelist())]
    if any(name == "constants.pkl" or name.startswith("code/") for name in names):
        raise _Refused(f"{key} {path} is refused: it is a TorchScript program. {_REMEDY}.")
    if packed:
        raise _Refused(f"{key} {path} is refused: torch.save compresses nothing, it is. {_REMEDY}.")


def _explained(error: Exception, path: Path, key: str) -> ValueError:
    text = str(error)
    foreign = re.search(r"GLOBAL ([\w.]+)", text)
    if foreign or "weights_only" in text.lower() or "Weights only" in text:
        what = foreign.group(1) if foreign else "pickled objects"
        return ValueError(
            f"{key} {path} holds more than tensors ({what}) and is refused, because reading it "
            f"would run code from the file. {_REMEDY}."
        )
    first = text.strip().splitlines()[0] if text.strip() else type(error).__name__
    return ValueError(
        f"{key} {path} is no whole, readable checkpoint but cut short or damaged ({first:.150}); "
        "copy it again"
    )
