"""`python -m dglib.benchmark`: see `dglib.benchmark.cli`."""

import sys

from dglib.benchmark.cli import main

if __name__ == "__main__":
    sys.exit(main())
