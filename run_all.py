"""Train all experiments, execute their notebooks, print the answers: `python run_all.py --help`."""

import sys
from pathlib import Path

from dglib.cli import run_all

if __name__ == "__main__":
    sys.path.insert(1, str(Path.cwd()))  # where `python -m dglib` finds a user's modules as well
    sys.exit(run_all())
