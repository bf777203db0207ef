"""Ask for detectron2 before the first import that needs it."""

from __future__ import annotations

import importlib.util

INSTALL_COMMAND = "python tools/install_detectron2.py"


def require_detectron2() -> None:
    """Return when detectron2 can be found; it is not imported.

    Raises:
        ImportError: it is not installed; the message names the command that installs it.
    """
    if importlib.util.find_spec("detectron2") is None:
        raise ImportError(
            "bccd_d2 needs detectron2 here, and this Python environment has none. In the "
            f"repository run: {INSTALL_COMMAND} (or install conda-forge's or upstream's build).",
            name="detectron2",
        )
