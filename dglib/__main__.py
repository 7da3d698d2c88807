"""``python -m dglib``: see `dglib.cli`."""

import sys

from dglib.cli import main

if __name__ == "__main__":
    sys.exit(main())
