"""`python -m alephscript` is the command line, too."""

import sys

from alephscript.cli import main

__all__: list[str] = []

if __name__ == "__main__":
    sys.exit(main())
