"""The script of ``bccd ablate``: python tools/ablate.py --help"""

from bccd_d2.cli.ablate import get_parser, main

if __name__ == "__main__":
    raise SystemExit(main())
