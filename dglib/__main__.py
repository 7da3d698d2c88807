"""``python -m dglib``: see `dglib.cli`."""

import gc
import sys

gc.set_threshold(50_000)  # 700 by default: torch and matplotlib import a million objects that stay

from dglib.cli import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main())
