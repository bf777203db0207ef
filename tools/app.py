"""The script of ``bccd app``: python tools/app.py --help"""

import sys

from bccd_d2.cli.app import get_parser, main

__all__ = ["get_parser", "main"]

if __name__ == "__main__":
    sys.exit(main())
