"""Run the experiments' notebooks headless and say what was found: `python run_all.py --help`."""

import sys

from dglib.campaign.command import main

if __name__ == "__main__":
    sys.exit(main())
