"""The script of ``bccd compare``: python tools/compare.py --help"""

from bccd_d2.cli.compare import get_parser, main

if __name__ == "__main__":
    raise SystemExit(main())
