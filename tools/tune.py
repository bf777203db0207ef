"""The script of ``bccd tune search``: python tools/tune.py --help"""

from bccd_d2.cli.tune.search import get_parser, main

if __name__ == "__main__":
    raise SystemExit(main())
