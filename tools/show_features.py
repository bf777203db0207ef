"""The script of ``bccd preview features``: python tools/show_features.py --help"""

from bccd_d2.cli.preview.features import get_parser, main

if __name__ == "__main__":
    raise SystemExit(main())
