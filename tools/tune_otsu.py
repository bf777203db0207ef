"""The script of ``bccd tune otsu``: python tools/tune_otsu.py --help"""

import sys

from bccd_d2.cli.tune.otsu import get_parser, main

__all__ = ["get_parser", "main"]

if __name__ == "__main__":
    sys.exit(main())
