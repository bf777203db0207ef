"""The script of ``bccd train``: python tools/train_net.py --help"""

from bccd_d2.cli.train import get_parser, main

if __name__ == "__main__":
    raise SystemExit(main())
