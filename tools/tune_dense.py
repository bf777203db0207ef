"""The script of ``bccd tune dense``: python tools/tune_dense.py --help"""

from bccd_d2.cli.tune.dense import get_parser, main

if __name__ == "__main__":
    raise SystemExit(main())
