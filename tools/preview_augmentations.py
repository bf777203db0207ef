"""The script of ``bccd preview augmentations``: python tools/preview_augmentations.py --help"""

from bccd_d2.cli.preview.augmentations import get_parser, main

if __name__ == "__main__":
    raise SystemExit(main())
