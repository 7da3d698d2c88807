"""Workers of a Dask cluster killed with SIGKILL, one after the other: what changes by it, and what is lost.

    python tests/cluster_campaign.py --kills 10 --json result.json

Eight short seeds of T2 are trained in series first. Then two worker processes on this machine train them,
started by the command itself and again started by hand beside a scheduler, while a worker that trains is
killed at random instants. Exits with status 1 and a line for each promise that is broken.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import signal
import sys
import tempfile
import time
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))
os.environ["OMP_NUM_THREADS"] = "1"

import cluster_cases as cases

from dglib.training.numerics import Numerics

SEEDS, INIT_EPOCHS = "0-7", 40
LONGEST = 12.0  # seconds between two kills


def disturbed(where: str, base: Path, kills: int, rng: random.Random) -> dict[str, Any]:
    """Train the seeds on a cluster whose workers are killed until the kills are used up."""
    began = time.monotonic()
    process = cases.start(Path(cases.__file__), where, base, SEEDS, str(INIT_EPOCHS))
    killed: dict[int, float] = {}
    while process.poll() is None:
        time.sleep(rng.uniform(0.5, LONGEST))
        busy = list(cases.training(base).values())
        if busy and len(killed) < kills:
            worker = rng.choice(busy)
            killed[worker.pid] = cases.kill(worker)
    out, err = process.communicate()
    events = [json.loads(line) for line in out.splitlines()]
    attempts = cases.attempts(base)
    after = [later for those in attempts.values() for one, later in pairwise(those) if one["pid"] in killed]
    return {
        "status": process.returncode,
        "stderr": err,
        "seconds": round(time.monotonic() - began, 1),
        "kills": len(killed),
        "jobs_retried": sum(event["event"] == "job_retried" for event in events),
        "attempts": sum(map(len, attempts.values())),
        "went_on_from_a_checkpoint": sum(attempt["found_step"] > 0 for attempt in after),
        "began_anew": sum(attempt["found_step"] == 0 for attempt in after),
        "steps_lost": sum(attempt["lost_steps"] for attempt in after),
        "overlapping_attempts": cases.overlaps(attempts, killed),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=10, help="on each of the two clusters")
    parser.add_argument("--seed", type=int, default=0, help="of the instants")
    parser.add_argument("--json", type=Path, help="where the result goes, too")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what was started is ended in any case
    rng = random.Random(arguments.seed)
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="cluster-campaign-") as folder:
        began = time.monotonic()
        expected = cases.in_series(cases.plan(Path(folder, "series"), SEEDS, INIT_EPOCHS))
        found["in series"] = {"seeds": len(expected), "seconds": round(time.monotonic() - began, 1)}
        bases = {name: Path(folder, name) for name in ("local:2", "two workers started by hand")}
        for name, base in bases.items():
            print(f"{name}, {arguments.kills} kills", flush=True)
            if name == "local:2":
                part = disturbed(name, base, arguments.kills, rng)
            else:
                with cases.by_hand(Path(folder, "hand")) as hand:
                    part = disturbed(hand.address, base, arguments.kills, rng)
            part["records_identical_apart_from_time"] = cases.records(base) == expected
            found[name] = part
    broken = []
    for name, part in found.items():
        if name == "in series":
            continue
        for what, right in (
            ("status", part["status"] == 0),
            ("records_identical_apart_from_time", part["records_identical_apart_from_time"]),
            ("overlapping_attempts", part["overlapping_attempts"] == []),
            ("jobs_retried", part["jobs_retried"] >= part["kills"] > 0),
        ):
            if not right:
                broken.append(f"{name}: {what} is {part[what]}: {part['stderr'].strip()}")
    numerics = Numerics.resolve("cpu", 1).describe()
    result = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{os.cpu_count()} cores, {numerics['device_name']}",
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("torch", "distributed")},
        },
        "job": f"T2 on digits, seeds {SEEDS}, {INIT_EPOCHS} epochs and one level, a checkpoint each epoch",
        "found": {
            name: {key: value for key, value in part.items() if key != "stderr"}
            for name, part in found.items()
        },
        "broken": broken,
    }
    text = json.dumps(result, ensure_ascii=False, indent=1)
    print(text)
    if arguments.json is not None:
        arguments.json.write_text(text + "\n", encoding="utf-8")
    for line in broken:
        print(line, file=sys.stderr)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
