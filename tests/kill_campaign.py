"""kill -9 at random instants until small real runs are complete; their records must not change.

    python tests/kill_campaign.py --kills 100 --json result.json

Each run is made without a disturbance first. Then it is made in a fresh directory by a chain of processes,
each killed a moment after a random number of steps, until its seeds are finished; and again, until the kills
are used up. A process is a fork of this one, which has torch loaded and has never trained. Exits with status
1 and a line for each promise that is broken.
"""

from __future__ import annotations

import argparse
import json
import mmap
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))
os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # a process with threads cannot be forked

import torch
from small import CPU, branching_spec, digits, small_spec

from dglib.protocol.spec import ExperimentSpec, NetworkSpec
from dglib.runs import identity
from dglib.runs import seed as seed_module
from dglib.runs.progress import heartbeat, read_attempts
from dglib.runs.seed import run_experiment
from dglib.runs.store import Store
from dglib.training.trainer import Trainer

SMALL = {"network_width": 0.125, "batch_size": 100, "epochs_per_level": 2}
NETWORK = {"network": NetworkSpec("small_cnn", 0.125)}
# λ that make the small networks collapse and recover within a few epochs, so that every phase is visited.
SPECS = {
    "T1": small_spec(
        "T1", init_epochs=2, sweep_lambdas=[0.5, 0.8], sweep_lr=0.1, collapse_error=0.25, **SMALL
    ),
    "V3": small_spec("V3", ordered_epochs=2, collapse_epochs=2, **SMALL),
    "Td1": small_spec("Td1", init_epochs=6, log_every=3, **SMALL),
    "branches": replace(branching_spec(), **NETWORK, step=small_spec("T1", **SMALL).step),
}
# How a seed is saved: every so many epochs and seconds, with so many steps between checks of the clock.
RHYTHMS = {"every epoch": (1, 1e9, 50), "within epochs": (10**9, 0.0, 7)}
SEEDS = range(2)
LONGEST = 0.6  # steps that a process is left alive at most, as a share of a run's
MOMENT = 0.05  # seconds after the last of these steps, or it would mostly be killed in a step


@dataclass(frozen=True)
class Run:
    """A run that several processes bring to its end, one after the other; `steps` counts those of all."""

    base: Path
    spec: ExperimentSpec
    rhythm: str
    steps: memoryview

    def open(self) -> Store:
        described = identity.describe(self.spec, DATA.fingerprint, device="cpu", threads=1)
        return Store.open(self.base, self.spec, described, {})[0]

    def train(self) -> None:
        warnings.simplefilter("error")  # a kill alone tears no file: no checkpoint may have to be passed over
        epochs, seconds, seed_module.STEPS_BETWEEN_CHECKS = RHYTHMS[self.rhythm]
        step = Trainer.take_step

        def counted(*arguments: Any) -> None:
            step(*arguments)
            self.steps[0] += 1

        Trainer.take_step = counted
        run_experiment(
            self.open(),
            SEEDS,
            DATA,
            CPU,
            checkpoint_epochs=epochs,
            checkpoint_seconds=seconds,
            sinks_for=[heartbeat],
            report=lambda line: None,
        )

    def results(self) -> tuple[dict[str, bytes], dict[str, bytes]]:
        """The seeds' records without checksum and time, as they lie on the disk, and the views."""
        directory = self.open().directory
        records = {path.name: path.read_bytes() for path in directory.glob("seeds/*")}
        for name, text in records.items():
            records[name], times = re.subn(rb'"time": [0-9.e+-]+', b"", text.split(b"\n", 1)[1])
            assert times == 1
        views = {p.name: p.read_bytes() for p in directory.glob("*_*.*") if "manifest" not in p.name}
        return records, views


def forked(function: Any) -> int:
    """The id of a fork that calls a function and exits with 0, or with 1 after an error."""
    child = os.fork()
    if child:
        return child
    try:
        function()
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)


def wait(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def run_undisturbed(run: Run) -> int:
    """The steps of a run that nothing disturbs."""
    assert wait(forked(run.train)) == 0
    return run.steps[0]


def run_killed(run: Run, lives: random.Random, needed: int, kills_left: int) -> list[dict[str, Any]]:
    """Kill process after process until the run is complete or the kills are used up, then let it end."""
    kills: list[dict[str, Any]] = []
    while len(kills) < kills_left:
        last = run.steps[0] + lives.uniform(-LONGEST / 10, LONGEST) * needed
        child = forked(run.train)
        while (
            run.steps[0] < last and os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
        ):
            time.sleep(0.002)
        time.sleep(lives.uniform(0, MOMENT))
        os.kill(child, signal.SIGKILL)
        status = wait(child)
        if status == 0:
            break
        assert status == -signal.SIGKILL, f"a process ended with status {status} in {run.base}"
        saved = {path.name.partition(".")[0] for path in run.base.glob("*/checkpoints/*.ckpt")}
        kills.append({"at": time.time(), "saved": saved})
    else:
        assert wait(forked(run.train)) == 0
    return kills


def resumed(run: Run, kills: list[dict[str, Any]]) -> Counter[str]:
    """How the run continued after each kill.

    "inside" a seed, from a checkpoint; with a seed from its "beginning", which had none; or, which must not
    be, a "lost" checkpoint.
    """
    attempts = [
        (attempt["began"], path.stem, attempt["found_step"])
        for path in run.base.glob("*/attempts/*.jsonl")
        for attempt in read_attempts(path)
    ]
    found: Counter[str] = Counter()
    for kill in kills:
        _, seed, step = min((a for a in attempts if a[0] > kill["at"]), default=(0, "", 0))
        found["inside" if step else "lost" if seed in kill["saved"] else "beginning"] += 1
    return found


def problems(run: Run, expected: dict[str, bytes]) -> list[str]:
    """Promises that a finished run does not keep."""
    records, views = run.results()
    found = []
    if records != expected:
        differing = [name for name in expected if records.get(name) != expected[name]]
        found.append(f"a record differs: {differing or sorted(records)}")
    store = run.open()
    for name in views:
        (store.directory / name).unlink()
    if wait(forked(store.rebuild_views)) != 0 or run.results()[1] != views:
        found.append("views built again differ")
    left = [path.name for path in run.base.rglob(".*") if path.name != ".dglib.lock"]
    left += [path.name for path in run.base.glob("*/checkpoints/*")]
    return found + ([f"left behind: {left}"] if left else [])


def campaign(kills: int, key: str, base: Path) -> dict[str, Any]:
    """All of it: the numbers, and under `broken` a line for each promise that does not hold."""
    broken, parts, continued = [], {}, Counter[str]()
    for index, (name, spec) in enumerate(SPECS.items()):
        share = kills // len(SPECS) + (index < kills % len(SPECS))
        steps = memoryview(mmap.mmap(-1, 8)).cast("q")
        undisturbed = Run(base / name, spec, "every epoch", steps)
        needed = run_undisturbed(undisturbed)
        expected, _ = undisturbed.results()
        lives, done, runs = random.Random(f"{key}/{name}"), 0, 0
        steps[0] = 0
        while done < share:
            rhythm = list(RHYTHMS)[(index + runs) % len(RHYTHMS)]
            run = Run(base / f"{name}-{runs}", spec, rhythm, steps)
            killed = run_killed(run, lives, needed, share - done)
            continued += resumed(run, killed)
            broken += [f"{name}, saved {rhythm}: {problem}" for problem in problems(run, expected)]
            done, runs = done + len(killed), runs + 1
            shutil.rmtree(run.base)
        parts[name] = {"kills": done, "runs": runs, "steps": needed}
        parts[name]["steps_trained_over_needed"] = round(steps[0] / (runs * needed), 3)
        print(f"{name}: {parts[name]}", flush=True)
    if continued["lost"]:
        broken.append(f"{continued['lost']} kills lost a seed's checkpoint")
    total = {"kills": sum(part["kills"] for part in parts.values()), "resumed": dict(continued)}
    return {**total, "parts": parts, "broken": broken}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--key", default="0", help="what the instants are drawn from")
    parser.add_argument("--json", type=Path, help="where the numbers go")
    options = parser.parse_args()
    global DATA
    torch.set_num_threads(1)
    DATA = digits()
    with tempfile.TemporaryDirectory(prefix="kills-") as base:
        found = campaign(options.kills, options.key, Path(base))
    text = json.dumps(found, indent=1)
    print(text)
    if options.json is not None:
        options.json.write_text(text + "\n", encoding="utf-8")
    return 1 if found["broken"] else 0


if __name__ == "__main__":
    sys.exit(main())
