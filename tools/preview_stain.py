"""The script of ``bccd preview stain``: python tools/preview_stain.py --help"""

from bccd_d2.cli.preview.stain import get_parser, main

if __name__ == "__main__":
    raise SystemExit(main())
