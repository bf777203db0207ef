"""The script of ``bccd preview stain``: python tools/preview_stain.py --help"""

import sys

from bccd_d2.cli.preview.stain import get_parser, main

__all__ = ["get_parser", "main"]

if __name__ == "__main__":
    sys.exit(main())
