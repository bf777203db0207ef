"""The script of ``bccd convert``: python tools/convert_to_coco.py --help"""

from bccd_d2.cli.convert import get_parser, main

if __name__ == "__main__":
    raise SystemExit(main())
