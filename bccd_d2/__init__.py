"""Cell instance segmentation of blood smears on detectron2.

Importing the package loads nothing else: neither torch nor detectron2 need be installed for it.
"""

from __future__ import annotations

__version__ = "0.1.0"
