"""The script of ``bccd app``: python tools/app.py --help"""

from bccd_d2.cli.app import get_parser, main

if __name__ == "__main__":
    raise SystemExit(main())
