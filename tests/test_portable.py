"""What would break on Windows or macOS, found without one: the core's calls are read, not run."""

from __future__ import annotations

import ast
import os
from pathlib import Path

import pytest

from bccd_d2.io import lock

PACKAGE = Path(__file__).resolve().parents[1] / "bccd_d2"
FILES = sorted(PACKAGE.rglob("*.py"))
POSIX = {  # of os, not on Windows
    "chown", "chroot", "confstr", "fchdir", "fchmod", "fchown", "fork", "forkpty", "getegid",
    "geteuid", "getgid", "getgroups", "getloadavg", "getpgid", "getpgrp", "getpriority", "getuid",
    "killpg", "lchown", "major", "minor", "mkfifo", "mknod", "nice", "openpty", "posix_fadvise",
    "posix_spawn", "pread", "preadv", "pwrite", "pwritev", "readv", "sched_getaffinity", "sendfile",
    "setpgid", "setpriority", "setsid", "setuid", "statvfs", "sync", "sysconf", "tcgetpgrp",
    "uname", "wait3", "wait4", "writev",
}  # fmt: skip
GUARDED = {  # used where they are there: hasattr, or after /proc was read
    "io/processes.py": {"sched_getaffinity", "sysconf"},
}
MODULES = {"fcntl": {"io/lock.py"}, "resource": set(), "termios": set(), "pwd": set(), "grp": set()}
TEXTS = {"experiments/cost.py"}  # /proc/self/status, ASCII


def calls(tree: ast.AST) -> list[tuple[str, ast.Call]]:
    """The names of what is called, without what stands before a point, and the calls."""
    found = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return [(getattr(n.func, "attr", getattr(n.func, "id", "")), n) for n in found]


@pytest.mark.parametrize("file", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_a_file_asks_for_nothing_that_one_system_alone_has(file):
    name, tree = file.relative_to(PACKAGE).as_posix(), ast.parse(file.read_text(encoding="utf-8"))
    used = {
        node.attr for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
        and node.value.id == "os"
    }  # fmt: skip
    assert used & POSIX <= GUARDED.get(name, set())
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import)
                for alias in node.names}  # fmt: skip
    assert all(name in places for module, places in MODULES.items() if module in imported)
    for called, node in calls(tree) if name not in TEXTS else ():
        keywords = {word.arg for word in node.keywords}
        if called in ("read_text", "write_text"):
            assert "encoding" in keywords or node.args, f"line {node.lineno}: no encoding"
        if called == "open" and isinstance(node.func, ast.Name):
            modes = [a.value for a in node.args[1:2] if isinstance(a, ast.Constant)]
            assert "encoding" in keywords or any("b" in str(mode) for mode in modes)


def test_a_folder_is_held_without_locks_of_the_system(tmp_path, monkeypatch):
    """Windows has no fcntl, and deletes no file that a process has open."""
    handles: list[int] = []
    opened, closed, unlink = lock._opened, os.close, Path.unlink
    monkeypatch.setattr(lock, "fcntl", None)
    monkeypatch.setattr(lock, "_opened", lambda path: handles.append(opened(path)) or handles[-1])

    def close(handle: int) -> None:
        if handle in handles:
            handles.remove(handle)
        closed(handle)

    monkeypatch.setattr(os, "close", close)

    def strict(path: Path, missing_ok: bool = False) -> None:
        if handles:
            raise PermissionError(13, "it is used by another process")
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", strict)
    for _ in range(2):
        with lock.hold_folder(tmp_path / "out", "a test"):
            assert (tmp_path / "out" / lock.LOCK).is_file()
            (tmp_path / "out" / "result").touch()
        assert not (tmp_path / "out" / lock.LOCK).exists() and not handles
