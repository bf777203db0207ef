"""The script of ``bccd crossval``: python tools/cross_validate.py --help"""

from bccd_d2.cli.crossval import get_parser, main

if __name__ == "__main__":
    raise SystemExit(main())
