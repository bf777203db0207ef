"""The script of ``bccd export weights``: python tools/export_weights.py --help"""

from bccd_d2.cli.export.weights import get_parser, main

if __name__ == "__main__":
    raise SystemExit(main())
