"""The script of ``bccd preview augmentations``: python tools/preview_augmentations.py --help"""

import sys

from bccd_d2.cli.preview.augmentations import get_parser, main

__all__ = ["get_parser", "main"]

if __name__ == "__main__":
    sys.exit(main())
