"""The script of ``bccd export network``: python tools/export_model.py --help"""

import sys

from bccd_d2.cli.export.network import get_parser, main

__all__ = ["get_parser", "main"]

if __name__ == "__main__":
    sys.exit(main())
