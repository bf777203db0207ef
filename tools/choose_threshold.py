"""The script of ``bccd tune threshold``: python tools/choose_threshold.py --help"""

from bccd_d2.cli.tune.threshold import get_parser, main

if __name__ == "__main__":
    raise SystemExit(main())
