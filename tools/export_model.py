"""The script of ``bccd export network``: python tools/export_model.py --help"""

from bccd_d2.cli.export.network import get_parser, main

if __name__ == "__main__":
    raise SystemExit(main())
