"""The script of ``bccd export weights``: python tools/export_weights.py --help"""

import sys

from bccd_d2.cli.export.weights import get_parser, main

__all__ = ["get_parser", "main"]

if __name__ == "__main__":
    sys.exit(main())
