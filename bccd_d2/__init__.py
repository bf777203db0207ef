"""Cell instance segmentation of blood smears on detectron2.

Importing the package loads nothing else: neither torch nor detectron2 need be installed for it. The
names of the Python API load what they need when first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bccd_d2.api import PredictedCells

__all__ = ["PredictedCells", "__version__"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from bccd_d2 import api

    return getattr(api, name)
