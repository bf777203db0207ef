"""The script of ``bccd ablate``: python tools/ablate.py --help"""

import sys

from bccd_d2.cli.ablate import get_parser, main

__all__ = ["get_parser", "main"]

if __name__ == "__main__":
    sys.exit(main())
