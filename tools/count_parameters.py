"""The script of ``bccd parameters``: python tools/count_parameters.py --help"""

from bccd_d2.cli.parameters import get_parser, main

if __name__ == "__main__":
    raise SystemExit(main())
