"""Ask for detectron2 before the first import that needs it."""

from __future__ import annotations

import importlib.util
import os
import warnings

INSTALL_COMMAND = "python tools/install_detectron2.py"

# What detectron2 0.6 sets off in current torch and no user can act on: category and module.
_NOISE = (
    (FutureWarning, "torch.jit._script"),
    (UserWarning, "torch.functional"),
    (UserWarning, "torch.autograd.graph"),
    (UserWarning, "detectron2.utils.comm"),
)


def hush_detectron2() -> None:
    """Silence known warnings of detectron2 on torch, here and in processes started from here.

    For command lines, before they import detectron2; the library itself leaves warnings alone.
    """
    rules = ",".join(f"ignore::{category.__name__}:{module}" for category, module in _NOISE)
    given = os.environ.get("PYTHONWARNINGS", "")
    if rules not in given:
        os.environ["PYTHONWARNINGS"] = f"{rules},{given}" if given else rules
    for category, module in _NOISE:
        warnings.filterwarnings("ignore", category=category, module=module.replace(".", r"\."))


def require_detectron2() -> None:
    """Return when detectron2 can be found; it is not imported.

    Raises:
        ImportError: it is not installed; the message names the command that installs it.
    """
    if importlib.util.find_spec("detectron2") is None:
        raise ImportError(
            "bccd_d2 needs detectron2 here, and this Python environment has none: training, "
            "detectors and .pth files do. pip install 'bccd_d2[train]', then in the repository "
            f"run: {INSTALL_COMMAND} (or install conda-forge's or upstream's build).",
            name="detectron2",
        )
