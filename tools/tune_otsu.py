"""The script of ``bccd tune otsu``: python tools/tune_otsu.py --help"""

from bccd_d2.cli.tune.otsu import get_parser, main

if __name__ == "__main__":
    raise SystemExit(main())
