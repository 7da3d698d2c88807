"""Train all experiments, execute their notebooks, print the answers: `python run_all.py --help`."""

import sys

from dglib.cli import run_all

if __name__ == "__main__":
    sys.exit(run_all())
