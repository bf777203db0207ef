"""The script of ``bccd explore``: python tools/explore.py --help"""

from bccd_d2.cli.explore import get_parser, main

if __name__ == "__main__":
    raise SystemExit(main())
