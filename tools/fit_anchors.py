"""The script of ``bccd anchors``: python tools/fit_anchors.py --help"""

from bccd_d2.cli.anchors import get_parser, main

if __name__ == "__main__":
    raise SystemExit(main())
