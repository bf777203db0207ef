"""The script of ``bccd smears``: python tools/make_smears.py --help"""

from bccd_d2.cli.smears import get_parser, main

if __name__ == "__main__":
    raise SystemExit(main())
