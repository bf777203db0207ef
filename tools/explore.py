"""The script of ``bccd explore``: python tools/explore.py --help"""

import sys

from bccd_d2.cli.explore import get_parser, main

__all__ = ["get_parser", "main"]

if __name__ == "__main__":
    sys.exit(main())
