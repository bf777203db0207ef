"""The script of ``bccd walkthrough``: python tools/demo.py --help"""

from bccd_d2.cli.walkthrough import get_parser, main

if __name__ == "__main__":
    raise SystemExit(main())
