"""``python -m bccd_d2`` is the console command ``bccd``."""

from __future__ import annotations

import sys

from bccd_d2.cli import main

if __name__ == "__main__":
    sys.exit(main())
