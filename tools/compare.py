"""The script of ``bccd compare``: python tools/compare.py --help"""

import sys

from bccd_d2.cli.compare import get_parser, main

__all__ = ["get_parser", "main"]

if __name__ == "__main__":
    sys.exit(main())
