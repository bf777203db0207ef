"""The script of ``bccd report``: python tools/report.py --help"""

from bccd_d2.cli.report import get_parser, main

if __name__ == "__main__":
    raise SystemExit(main())
