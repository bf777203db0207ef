"""One process writes into a folder at a time; the next one is told who is at work there."""

from __future__ import annotations

import contextlib
import datetime
import errno
import json
import logging
import os
import platform
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bccd_d2.io.atomic import PART

try:
    import fcntl
except ImportError:  # Windows: folders are not held there
    fcntl = None  # type: ignore[assignment]  # each use asks first whether it is there

logger = logging.getLogger(__name__)

LOCK = ".in_use.json"  # says who; that it is held is known to the system alone
_TAKEN = (errno.EACCES, errno.EAGAIN)
_held: dict[Path, dict[str, Any]] = {}  # by this process itself


@contextlib.contextmanager
def hold_folder(
    folder: str | Path,
    what: str,
    *,
    first: bool = True,
    gather: Callable[[str], list[str]] = lambda text: [text],
    shared: bool = False,
) -> Iterator[None]:
    """Have a folder to oneself inside the block.

    It is made where it is missing; one that was made and stayed empty goes again.

    The system lets go of the lock when the process ends in whatever way, so what a dead process
    left is taken over. Where the file system knows no locks, a warning says so.

    Args:
        what: is being done, for the message to others, such as "training".
        first: this process takes the lock; the others of a group only wait for it.
        gather: `detectron2.utils.comm.all_gather` where several processes work together: all of
            them fail when the first one does.
        shared: with others that ask for it shared too, and for nothing else.

    Raises:
        BlockingIOError: another process holds it; the message names that one.
        OSError: the folder cannot be made or written.
    """
    problem, path, handle = "", Path(folder).resolve() / LOCK, None
    existed = path.parent.is_dir()
    if first:
        try:
            handle = _take(path, what, shared)
        except OSError as error:
            problem = str(error)
    problem = next((text for text in gather(problem) if text), "")
    if problem:
        raise BlockingIOError(problem) if "in use" in problem else OSError(problem)
    try:
        yield
    finally:
        if handle is not None:
            _let_go(handle, path, shared)
            if not existed:
                with contextlib.suppress(OSError):
                    path.parent.rmdir()


def _let_go(handle: int, path: Path, shared: bool) -> None:
    """Close the lock file; it goes where nobody else shares it."""
    if fcntl is None:  # Windows deletes no file that is open
        os.close(handle)
    if not shared or _alone(handle):
        with contextlib.suppress(PermissionError):  # another process has it open
            path.unlink(missing_ok=True)
    if fcntl is not None:
        os.close(handle)
    _held.pop(path)


def _alone(handle: int) -> bool:
    """Whether nobody else shares the lock any more."""
    if fcntl is None:
        return True
    try:
        fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _take(path: Path, what: str, shared: bool = False) -> int:
    """The open lock file, locked, with this process in it."""
    if path in _held:
        raise _in_use(path, _held[path])
    while True:
        handle = _opened(path)
        try:
            _lock(handle, path, shared)
            if _is(handle, path):
                break
            os.close(handle)  # its holder took the file away a moment ago
        except BlockingIOError:
            os.close(handle)
            raise
    earlier = _content(handle)
    if earlier and not shared:
        logger.info("%s: process %s that held it is gone", path.parent, earlier.get("process"))
        _remove_parts(path.parent)
    who = {
        "process": os.getpid(),
        "host": platform.node(),
        "what": what,
        "since": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
    }
    os.ftruncate(handle, 0)
    os.lseek(handle, 0, os.SEEK_SET)
    os.write(handle, json.dumps(who).encode())
    _held[path] = who
    return handle


def _remove_parts(folder: Path) -> None:
    """Delete what a dead process was writing; not in folders below that are held by themselves."""
    for part in folder.rglob(f".*{PART}"):
        between = [parent for parent in part.parents if folder in parent.parents]
        if not any((parent / LOCK).exists() for parent in between):
            with contextlib.suppress(OSError):
                part.unlink()


def _opened(path: Path) -> int:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o666)
    except OSError as error:
        raise OSError(
            f"cannot write into {path.parent}: {error.strerror}. Choose a writable folder."
        ) from error


def _lock(handle: int, path: Path, shared: bool = False) -> None:
    """Lock for this process alone; POSIX locks are not inherited by its workers."""
    if fcntl is None:
        return
    try:
        kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        fcntl.lockf(handle, kind | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _TAKEN:
            raise _in_use(path, _content(handle)) from error
        logger.warning("%s: no locks on this file system; run one process at a time", path.parent)


def _is(handle: int, path: Path) -> bool:
    if fcntl is None:  # nobody takes the file away
        return True
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(handle), path.stat())
    return False


def _content(handle: int) -> dict[str, Any]:
    with contextlib.suppress(ValueError):
        os.lseek(handle, 0, os.SEEK_SET)
        found = json.loads(os.read(handle, 4096))
        return found if isinstance(found, dict) else {}
    return {}


def _in_use(path: Path, by: dict[str, Any]) -> BlockingIOError:
    who = f"process {by['process']}" if "process" in by else "another process"
    if "host" in by:
        who += f" on {by['host']}, since {by['since']}"
    return BlockingIOError(
        f"{path.parent} is in use by {by.get('what', 'another run')} ({who}). Wait for its end, or "
        "choose another folder."
    )
