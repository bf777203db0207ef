"""The command `bccd` of the Python that runs the tests, for programs that call it by a path."""

from __future__ import annotations

import os
import sys
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(REPO), "OMP_NUM_THREADS": "1"}


def write_command(folder: Path) -> Path:
    """A script in the folder that runs it."""
    command = folder / "bccd"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m bccd_d2 "$@"\n')
    command.chmod(0o755)
    return command
