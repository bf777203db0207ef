"""The script of ``bccd train``: python tools/train_net.py --help"""

import sys

from bccd_d2.cli.train import get_parser, main

__all__ = ["get_parser", "main"]

if __name__ == "__main__":
    sys.exit(main())
