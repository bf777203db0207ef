"""Processes: those that end with the one they work for, what they hold, what they may use."""

from __future__ import annotations

import os
import threading
from multiprocessing import parent_process
from pathlib import Path


def end_with_parent() -> None:
    """Have this spawned process end at once when its parent does, however that ends.

    A worker whose parent was killed would else finish its queue, and write into its folder.
    """
    threading.Thread(target=_watch, name="end_with_parent", daemon=True).start()


def resident_bytes(process: int) -> int:
    """The memory that a process holds; 0 where the system does not tell or it has ended."""
    try:
        pages = Path(f"/proc/{process}/statm").read_text(encoding="ascii").split()[1]
    except (OSError, IndexError):
        return 0
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def processor_seconds(process: int) -> float:
    """The processor time that a process has spent; 0 where the system does not tell or it is gone.

    Source: proc(5), /proc/PID/stat; the name in it may hold spaces and brackets.
    """
    try:
        told = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
        user, system = told.rpartition(")")[2].split()[11:13]
    except (OSError, ValueError):
        return 0.0
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def threads() -> int:
    """Threads that a process may use: OMP_NUM_THREADS, or 0 for as many as the library likes."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    return int(given) if given.isdigit() else 0


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _watch() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
