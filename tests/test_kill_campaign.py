"""kill -9 at random instants until small real runs are complete; their records must not change.

Each run is made without a disturbance first. Then it is made in a fresh directory by a chain of processes,
each killed a moment after a random number of steps, until its seeds are finished; and again, until the kills
are used up. DGLIB_KILLS=100 makes more of them.
"""

import mmap
import os
import random
import re
import signal
import time
import warnings
from collections import Counter
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import count
from pathlib import Path

import pytest
from alone import alone, ended, forked
from small import CPU, branching_spec, open_store, small_spec
from small import digits as load_digits

from dglib.protocol.spec import ExperimentSpec, NetworkSpec
from dglib.runs import seed as seed_module
from dglib.runs.progress import heartbeat, read_attempts
from dglib.runs.seed import run_experiment
from dglib.training.trainer import Trainer

digits = lru_cache(load_digits)
KILLS = int(os.environ.get("DGLIB_KILLS", "8"))
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
RHYTHMS = [(1, 1e9, 50), (10**9, 0.0, 7)]
LONGEST = 0.6  # steps that a process is left alive at most, as a share of a run's
MOMENT = 0.05  # seconds after the last of these steps, or it would mostly be killed in a step


@dataclass(frozen=True)
class Run:
    """A run that several processes bring to its end, one after the other; `steps` counts those of all."""

    base: Path
    spec: ExperimentSpec
    rhythm: tuple[int, float, int]
    steps: memoryview

    def open(self):
        return open_store(self.base, self.spec, digits())[0]

    def train(self):
        warnings.simplefilter("error")  # a kill alone tears no file: no checkpoint may have to be passed over
        epochs, seconds, seed_module.STEPS_BETWEEN_CHECKS = self.rhythm
        step = Trainer.take_step

        def counted(*arguments):
            step(*arguments)
            self.steps[0] += 1

        Trainer.take_step = counted
        saved = {"checkpoint_epochs": epochs, "checkpoint_seconds": seconds}
        run_experiment(self.open(), range(2), digits(), CPU, **saved, sinks_for=[heartbeat], report=str)

    def records(self):
        """The seeds' records without checksum and time, as they lie on the disk."""
        texts = {path.name: path.read_bytes() for path in self.open().directory.glob("seeds/*")}
        return {
            name: re.sub(rb'"time": [0-9.e+-]+', b"", text.split(b"\n", 1)[1]) for name, text in texts.items()
        }


def run_killed(run, lives, needed, kills_left):
    """Kill process after process until the run is complete or the kills are used up, then let it end."""
    kills = []
    while len(kills) < kills_left:
        last = run.steps[0] + lives.uniform(-LONGEST / 10, LONGEST) * needed
        child = forked(run.train)
        while run.steps[0] < last and not os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            time.sleep(0.002)
        time.sleep(lives.uniform(0, MOMENT))
        os.kill(child, signal.SIGKILL)
        status = ended(child)
        if status == 0:
            return kills
        assert status == -signal.SIGKILL, f"a process ended with status {status} in {run.base}"
        saved = {path.name.partition(".")[0] for path in run.base.glob("*/checkpoints/*.ckpt")}
        kills.append((time.time(), saved))
    assert ended(forked(run.train)) == 0
    return kills


def resumed(run, kills):
    """How the run continued after each kill: inside a seed, from its beginning, or with a checkpoint lost."""
    attempts = [
        (attempt["began"], path.stem, attempt["found_step"])
        for path in run.base.glob("*/attempts/*.jsonl")
        for attempt in read_attempts(path)
    ]
    for at, saved in kills:
        _, seed, step = min((attempt for attempt in attempts if attempt[0] > at), default=(0, "", 0))
        yield "inside" if step else "lost" if seed in saved else "beginning"


def kill(name, kills, base):
    """Use up the kills on runs of a specification. How each run continued, and steps trained over needed."""
    digits()  # before the forks, which then need no scikit-learn
    steps = memoryview(mmap.mmap(-1, 8)).cast("q")
    undisturbed = Run(base / "undisturbed", SPECS[name], RHYTHMS[0], steps)
    assert ended(forked(undisturbed.train)) == 0
    needed, steps[0] = steps[0], 0
    expected = undisturbed.records()
    lives, continued = random.Random(f"0/{name}"), Counter()
    for number in count():
        run = Run(base / str(number), SPECS[name], RHYTHMS[(number + list(SPECS).index(name)) % 2], steps)
        continued.update(resumed(run, run_killed(run, lives, needed, kills - continued.total())))
        assert run.records() == expected, run
        left = [path for path in run.base.rglob(".*") if path.name != ".dglib.lock"]
        assert [*left, *run.base.glob("*/checkpoints/*")] == []
        if continued.total() == kills:
            return continued, steps[0] / ((number + 1) * needed)


@pytest.mark.slow
def test_runs_killed_at_random_instants_end_in_the_records_of_undisturbed_ones(tmp_path):
    continued = Counter()
    for name in SPECS:
        found, steps_trained_over_needed = alone(kill, name, KILLS // len(SPECS), tmp_path / name)
        continued += found
        assert steps_trained_over_needed < 1.5
    assert continued["lost"] == 0
    assert continued["inside"] >= 3 * KILLS // 8
