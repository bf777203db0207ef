"""The script of ``bccd report``: python tools/report.py --help"""

import sys

from bccd_d2.cli.report import get_parser, main

__all__ = ["get_parser", "main"]

if __name__ == "__main__":
    sys.exit(main())
