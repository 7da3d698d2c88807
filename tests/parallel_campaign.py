"""Four quick jobs on two workers against the same four on one: the time, and the records bit for bit.

    python tests/parallel_campaign.py --pairs 3 --json tests/results/parallel_campaign_2026-11-22.json

Runs `run_all.py` over four seeds of the quick T2, shortened, with `--workers 2` and with `--workers 1` in
turn; which of the two comes first changes from pair to pair. Two ratios of each pair: of the whole commands,
starting workers, notebook and report included, and of the four jobs alone, from the first begun to the last
done. Exits with status 1 where a command fails, or a record differs in anything but its time and what it was
made by.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))
os.environ["OMP_NUM_THREADS"] = "1"

from cluster_cases import RUN_ALL, records

from dglib.training.numerics import Numerics

SEEDS = "0-3"
# 39 epochs, above the λ at which seeds recover: so each job has as many.
SHORT = ("init_epochs=15", "epochs_per_level=6", "sweep_lambdas=[0.55,0.5,0.45,0.4]", "init_error_min=0")
WORKERS = (2, 1)


def timed(workers: int, base: Path, settings: Sequence[str]) -> dict[str, Any]:
    """Run the four jobs. The seconds of the whole command, and of its jobs."""
    command = [sys.executable, str(RUN_ALL), "--only", "T2", "--seeds", SEEDS, "--device", "cpu", "--json"]
    command += ["--workers", str(workers), "--base-dir", str(base), "--set", *settings]
    load, began = os.getloadavg()[0], time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True)
    seconds = time.monotonic() - began
    if done.returncode:
        sys.exit(f"{' '.join(command)}: status {done.returncode}\n{done.stderr}")
    told = [json.loads(line) for line in done.stdout.splitlines()]
    at = {
        name: [datetime.fromisoformat(event["time"]).timestamp() for event in told if event["event"] == name]
        for name in ("job_started", "seed_done")
    }
    jobs = max(at["seed_done"]) - min(at["job_started"])
    return {"seconds": round(seconds, 2), "jobs_seconds": round(jobs, 2), "load_before": round(load, 2)}


def spread(ratios: Sequence[float]) -> dict[str, Any]:
    """Of the pairs' ratios, two workers over one: how many, their median, least and greatest."""
    return {
        "n": len(ratios),
        "median": round(median(ratios), 3),
        "min": round(min(ratios), 3),
        "max": round(max(ratios), 3),
    }


def measure(pairs: int, settings: Sequence[str], folder: Path) -> dict[str, Any]:
    """Run the pairs; what was found, with a line for each record that differs."""
    found: list[dict[str, Any]] = []
    differing: list[str] = []
    expected: dict[str, dict[str, Any]] = {}
    for number in range(pairs):
        pair: dict[str, Any] = {}
        for workers in WORKERS if number % 2 == 0 else WORKERS[::-1]:
            base = folder / f"{number}-{workers}"
            pair[f"workers_{workers}"] = part = timed(workers, base, settings)
            made = records(base)
            expected = expected or made
            if made.keys() != expected.keys() or len(made) != 4:
                differing.append(f"pair {number}, {workers} workers: has {', '.join(made)}")
            differing += [
                f"pair {number}, {workers} workers: {name}"
                for name, record in made.items()
                if json.dumps(record) != json.dumps(expected.get(name))
            ]
            print(f"pair {number}, --workers {workers}: {part}", file=sys.stderr, flush=True)
        found.append(pair)
    ratios = {
        name: [pair["workers_2"][name] / pair["workers_1"][name] for pair in found]
        for name in ("seconds", "jobs_seconds")
    }
    return {
        "ratio": {name: spread(those) for name, those in ratios.items()},
        "pairs": found,
        "records_compared": len(expected) * (2 * pairs - 1),
        "differing": differing,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=3, help="at least 1 (default 3)")
    parser.add_argument("--set", nargs="+", default=list(SHORT), metavar="NAME=VALUE", help="the protocol")
    parser.add_argument("--json", type=Path, help="where the result goes, too")
    arguments = parser.parse_args()
    numerics = Numerics.resolve("cpu", 1).describe()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    result = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{cores} cores, {numerics['device_name']}, one thread for each job",
        "versions": {"python": platform.python_version(), "torch": version("torch")},
        "jobs": f"quick T2 on digits, seeds {SEEDS}, {' '.join(arguments.set)}",
        "how": "two workers over one, in turn; `seconds` of the command, `jobs_seconds` of the four jobs",
    }
    with tempfile.TemporaryDirectory(prefix="parallel-campaign-") as folder:
        result |= measure(arguments.pairs, arguments.set, Path(folder))
    text = json.dumps(result, ensure_ascii=False, indent=1)
    print(text)
    if arguments.json is not None:
        arguments.json.write_text(text + "\n", encoding="utf-8")
    return 1 if result["differing"] else 0


if __name__ == "__main__":
    sys.exit(main())
