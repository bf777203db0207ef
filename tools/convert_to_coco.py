"""The script of ``bccd convert``: python tools/convert_to_coco.py --help"""

import sys

from bccd_d2.cli.convert import get_parser, main

__all__ = ["get_parser", "main"]

if __name__ == "__main__":
    sys.exit(main())
