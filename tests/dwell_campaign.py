"""Measure how much of the hysteresis is lag: width against dwell time, with its controls.

    python tests/dwell_campaign.py --base-dir runs/dwell
    python tests/dwell_campaign.py --base-dir runs/dwell --only-read

Runs T1 (with its return sweep) and T2 of the quick profile at several dwell times, at the constant LR and
under the published rule (the LR drops where the sweep begins, and again later), and trains from scratch at
each λ. Everything lands below one base directory, in which finished seeds are not run again. Writes what was
found so far to `tests/results/dwell_campaign.json`, and the figure `width_against_dwell` beside the runs.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from by_name import draw_dwell, lag, lag_answer

import dglib
from dglib.experiments.figures import save_figure

DWELLS = (2, 4, 8)
SCRATCH_LEVELS = (0.20, 0.30, 0.40, 0.50, 0.60, 0.70)
INIT_EPOCHS = {"T1": 20, "T2": 15}  # of the quick profile
RESULT = Path(__file__).parent / "results" / "dwell_campaign.json"


def commands(seeds: str, controls: str) -> list[list[str]]:
    """What is run: the sweeps at the constant LR, then the controls."""
    constant, dropping = [], []
    for dwell in DWELLS:
        for name, init in INIT_EPOCHS.items():
            held = f"epochs_per_level={dwell}"
            # As published: a tenth of the LR as the sweep begins, a hundredth from its fourth level on.
            drops = f"milestones=[{init}, {init + 3 * dwell}]"
            constant.append([name, "--seeds", seeds, "--set", held])
            dropping.append([name, "--seeds", controls, "--set", held, "sweep_lr=null", drops])
    fixed = ["init_epochs=20", "milestones=[]", "evaluate_every=5"]
    scratch = [
        ["Td1", "--seeds", controls, "--set", f"init_lambda={level}", *fixed] for level in SCRATCH_LEVELS
    ]
    return [*constant, *scratch, *dropping]


def run(base: Path, seeds: str, controls: str, minutes: float) -> None:
    """Run the campaign in one process at a time, until it is done or the time is up."""
    begun = time.monotonic()
    for command in commands(seeds, controls):
        if time.monotonic() - begun > 60 * minutes:
            print(f"{minutes:g} minutes are over: the same command resumes")
            return
        name, *options = command
        words = [sys.executable, "-m", "dglib", "run", name, "--profile", "quick", *options]
        done = subprocess.run(
            [*words, "--base-dir", str(base)],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        print(f"{time.monotonic() - begun:6.0f} s  {' '.join(command)}", flush=True)
        if done.returncode:
            sys.exit(done.stderr.splitlines()[-1])


def read(base: Path, result: Path) -> str:
    """Sum up all runs below `base`, of whatever dwell times; returns the answer as text."""
    tables = dglib.load_records(base)
    for problem in tables.problems:
        print(problem, file=sys.stderr)
    records = [tables.records(name) for name in ("T1", "T2", "Td1")]
    save_figure(draw_dwell(*records), base, "width_against_dwell")
    finding = lag_answer(*records).text()
    minutes = round(float(tables.seeds["time"].sum()) / 60, 1)
    content = {"answer": finding, "seeds": len(tables.seeds), "training_minutes": minutes, **lag(*records)}
    result.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    return finding


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base-dir", type=Path, required=True)
    parser.add_argument("--seeds", default="0-3")
    parser.add_argument("--control-seeds", default="0-2")
    parser.add_argument("--minutes", type=float, default=30.0, help="begin no new run after so long")
    parser.add_argument("--only-read", action="store_true", help="of what lies there already")
    parser.add_argument("--result", type=Path, default=RESULT)
    asked = parser.parse_args()
    if not asked.only_read:
        run(asked.base_dir, asked.seeds, asked.control_seeds, asked.minutes)
    print(read(asked.base_dir, asked.result))


if __name__ == "__main__":
    main()
