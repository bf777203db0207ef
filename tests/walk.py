"""Follow the calls: which files of the package a walk touches, and which of them see the config."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

PACKAGE = Path(__file__).resolve().parents[1] / "bccd_d2"


def follow(walk: Callable[[], Any]) -> tuple[set[str], set[str]]:
    """Files of which a function is called, and those that are handed a config; module bodies not.

    A template counts as a file.
    """
    touched, given = set(), set()

    def seen(frame: FrameType, event: str, _: Any) -> None:
        code = frame.f_code
        if event != "call" or code.co_name == "<module>":
            return
        path = Path(code.co_filename)
        if not path.is_relative_to(PACKAGE):
            return
        file = path.relative_to(PACKAGE).as_posix()
        touched.add(file)
        arguments = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
        if any(type(frame.f_locals.get(name)).__name__ == "CfgNode" for name in arguments):
            given.add(file)

    before = sys.getprofile()
    sys.setprofile(seen)
    try:
        walk()
    finally:
        sys.setprofile(before)
    return touched, given
