"""What a user is told where something cannot go on: the whole message, the file and the remedy."""

from __future__ import annotations

import errno
import re

from bccd_d2.io.text import printable

EXTRAS = {  # library: the extra of setup.py that brings it
    "gradio": "app",
    "imagecodecs": "tiff",
    "matplotlib": "tune",
    "optuna": "tune",
    "pandas": "table",
    **dict.fromkeys(("torch", "torchvision", "timm", "detectron2", "onnx", "onnxscript"), "train"),
    "openvino": "openvino",
}
_REMEDIES = {
    errno.ENOSPC: "free some space, or choose another disk",
    errno.EDQUOT: "free some of your quota, or choose another disk",
    errno.EFBIG: "choose a file system without that limit",
    errno.EACCES: "choose a file or folder that you may use",
    errno.EPERM: "choose a file or folder that you may use",
    errno.EROFS: "choose a folder that can be written",
    errno.ENOENT: "check the path",
    errno.ENOTDIR: "a file stands where a folder should; check the path",
    errno.EISDIR: "name a file in it",
    errno.EMFILE: "use fewer --processes, or raise `ulimit -n`",
    errno.ENAMETOOLONG: "use a shorter name",
    errno.EIO: "the disk or network drive fails; copy the data elsewhere",
}
_RAISED = re.compile(r"^(?:\w+\.)*\w+(?:Error|Exception): ", re.M)
_KINDS = (ValueError, KeyError, OSError, ImportError, MemoryError, FloatingPointError)
_NAMES = {"OutOfMemoryError", "ProcessRaisedException", "ProcessExitedException"}  # of torch


def expected(error: BaseException) -> bool:
    """Whether a user can bring it about; else it is a fault of ours and keeps its traceback.

    A module of ours that cannot be imported is our fault.
    """
    ours = isinstance(error, ImportError) and (error.name or "").split(".")[0] == "bccd_d2"
    return (isinstance(error, _KINDS) and not ours) or type(error).__name__ in _NAMES


def explain(error: BaseException) -> str:
    """The whole message of an error: what is wrong, with which file, and what to do.

    Errors of worker processes are told as those of the worker. What a terminal would obey in names
    is escaped.
    """
    return printable(_message(error), lines=True)


def _message(error: BaseException) -> str:
    if type(error).__name__ == "ProcessRaisedException" or "worker process" in str(error)[:80]:
        return _of_worker(str(error))
    if isinstance(error, ModuleNotFoundError) and error.name in EXTRAS:
        return f"{error.name} is missing: pip install 'bccd_d2[{EXTRAS[error.name]}]'"
    if isinstance(error, UnicodeError):
        return f"{error}; save the file as UTF-8 text"
    if isinstance(error, KeyError):
        return _missing(error)
    if isinstance(error, OSError) and error.errno is not None:
        return _of_system(error)
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        first = (str(error).splitlines() or ["no memory is left"])[0]
        return f"out of memory ({first}); use smaller tiles, crops or batches"
    return str(error) or f"{type(error).__name__} without a message"


def _missing(error: KeyError) -> str:
    """A KeyError's message; where it is but the key, a sentence."""
    text = error.args[0] if error.args else ""
    if isinstance(text, str) and " " in text:
        return text
    return f"{text!r} is missing in what was read; was the file written by another version?"


def _of_system(error: OSError) -> str:
    files = [str(name) for name in (error.filename, error.filename2) if name is not None]
    text = f"{' and '.join(files)}: {error.strerror}" if files else str(error.strerror)
    remedy = _REMEDIES.get(error.errno or 0)
    return f"{text}; {remedy}" if remedy else text


def _of_worker(text: str) -> str:
    """The last exception in the traceback that a worker process sent."""
    return _RAISED.split(text)[-1].strip()
