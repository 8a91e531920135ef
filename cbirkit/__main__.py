"""``python -m cbirkit`` is the command ``cbirkit``."""

import sys

from cbirkit.cli import main

if __name__ == "__main__":
    sys.exit(main())
