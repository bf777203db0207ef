"""The script of ``bccd demo``: python tools/demo.py --help"""

import sys

from bccd_d2.cli.demo import get_parser, main

__all__ = ["get_parser", "main"]

if __name__ == "__main__":
    sys.exit(main())
