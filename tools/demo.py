"""The script of ``bccd walkthrough``: python tools/demo.py --help"""

import sys

from bccd_d2.cli.walkthrough import get_parser, main

__all__ = ["get_parser", "main"]

if __name__ == "__main__":
    sys.exit(main())
