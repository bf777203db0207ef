"""Cell instance segmentation of blood smears on detectron2.

Importing the package loads nothing else: neither torch nor detectron2 need be installed for it. The
names of the Python API load what they need when first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bccd_d2.api import PredictedCells
    from bccd_d2.segmenter import Segmenter, load_pretrained

__all__ = ["PredictedCells", "Segmenter", "__version__", "load_pretrained"]
__version__ = "0.1.0"
_HOMES = {"PredictedCells": "api", "Segmenter": "segmenter", "load_pretrained": "segmenter"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"bccd_d2.{_HOMES[name]}"), name)
