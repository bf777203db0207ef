"""The script of ``bccd predict``: python tools/predict.py --help"""

import sys

from bccd_d2.cli.predict import get_parser, main

__all__ = ["get_parser", "main"]

if __name__ == "__main__":
    sys.exit(main())
