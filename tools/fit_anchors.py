"""The script of ``bccd anchors``: python tools/fit_anchors.py --help"""

import sys

from bccd_d2.cli.anchors import get_parser, main

__all__ = ["get_parser", "main"]

if __name__ == "__main__":
    sys.exit(main())
