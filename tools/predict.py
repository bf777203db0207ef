"""The script of ``bccd predict``: python tools/predict.py --help"""

from bccd_d2.cli.predict import get_parser, main

if __name__ == "__main__":
    raise SystemExit(main())
