"""kill -9 at random instants until small real runs are complete: what changes by it, and what is lost.

    python tests/kill_campaign.py --kills 200 --json result.json

Each experiment is run without a disturbance first. Then it is run in a fresh directory as a chain of
processes, each killed at a random instant, until its seeds are finished; and again, until the kills are used
up. A process is a fork of this one, which has torch loaded and has never trained. Exits with status 1 and a
line for each promise that is broken. The instants of a sample come a moment after a random number of steps,
and it saves by steps alone, so that on a machine of any speed its kills spread alike.
"""

from __future__ import annotations

import argparse
import json
import mmap
import os
import platform
import random
import re
import shutil
import signal
import statistics
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))
os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # a process with threads cannot be forked

import torch
from small import CPU, digits, small_spec

from dglib.protocol import engine
from dglib.runs import checkpoint, identity, progress, store
from dglib.runs import experiment as batch
from dglib.runs import seed as runner
from dglib.runs.experiment import run_experiment
from dglib.runs.progress import read_attempts
from dglib.runs.store import Store
from dglib.training.graphs import StepRunner

EXPERIMENTS = ("T1", "T2", "V3", "Td1")
# λ that make the small networks collapse and recover within a few epochs, so that every phase is visited.
OWN = {
    "T1": {"sweep_lambdas": [0.5, 0.8], "sweep_lr": 0.1, "collapse_error": 0.25},
    "T2": {"sweep_lambdas": [0.6, 0.5, 0.3], "recovery_error": 0.1},
    "V3": {},
    "Td1": {"log_every": 3},
}
ACTIVITIES = ("starting", "training", "evaluating", "writing", "between")


@dataclass(frozen=True)
class Size:
    """How many seeds a run has, how long a process is left alive at most, and how long the phases are.

    Attributes:
        longest: in seconds; with `by_steps` as a share of a run's steps.
    """

    seeds: int
    longest: float
    by_steps: bool
    batch_size: int
    init_epochs: int
    epochs_per_level: int

    def spec(self, experiment: str):
        init = ("ordered_epochs", "collapse_epochs") if experiment == "V3" else ("init_epochs",)
        times = {"T2": 2, "Td1": 3}.get(experiment, 1)
        return small_spec(
            experiment,
            network_width=0.125,
            batch_size=self.batch_size,
            epochs_per_level=self.epochs_per_level,
            **dict.fromkeys(init, times * self.init_epochs),
            **OWN[experiment],
        )


SIZES = {"full": Size(3, 6.0, False, 50, 6, 5), "sample": Size(2, 0.6, True, 100, 2, 2)}
# How a seed is saved: every so many epochs and seconds, with so many steps between looks at the clock.
RHYTHMS = {"every epoch": (1, 1e9, 50), "in mid-epoch": (10**9, 0.2, 7)}
MOMENT = 0.05  # seconds
RHYTHMS_BY_STEPS = RHYTHMS | {"in mid-epoch": (10**9, 0.0, 7)}


class Shared:
    """Numbers that a process leaves to the one that kills it."""

    NAMES = ("steps", "position", "seed", "activity", "place")

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, 8 * len(self.NAMES))
        self._numbers = memoryview(self._memory).cast("q")

    def __getitem__(self, name: str) -> int:
        return self._numbers[self.NAMES.index(name)]

    def __setitem__(self, name: str, value: int) -> None:
        self._numbers[self.NAMES.index(name)] = value


def watch(shared: Shared, spec) -> None:
    """Make this process's runs write down where they are. Counts steps by the calls of the step kernel."""
    places = [(arm.name, phase.name) for arm in spec.arms for phase in arm.phases]
    step, resume = StepRunner.__call__, runner.SeedRun._resume
    place, run_seed = engine.plan, batch.run_seed

    def counted(self, *arguments):
        step(self, *arguments)
        shared["steps"] += 1
        shared["position"] += 1

    def resumed(self):
        resume(self)
        shared["position"] = self.steps
        shared["seed"] = self.seed

    def placed(spec, cursor):
        here = place(spec, cursor)
        shared["place"] = places.index((here.arm.name, here.phase.name))
        return here

    def doing(activity, function):
        def wrapped(*arguments, **options):
            before, shared["activity"] = shared["activity"], ACTIVITIES.index(activity)
            try:
                return function(*arguments, **options)
            finally:
                shared["activity"] = before

        return wrapped

    StepRunner.__call__ = counted
    runner.SeedRun._resume = resumed
    engine.plan = placed
    runner.SeedRun.run = doing("training", runner.SeedRun.run)
    runner.evaluate = doing("evaluating", runner.evaluate)
    checkpoint.save = doing("writing", checkpoint.save)
    progress.append_line = doing("writing", progress.append_line)
    progress.write_atomically = doing("writing", progress.write_atomically)
    store.write_atomically = doing("writing", store.write_atomically)
    store.write_once = doing("writing", store.write_once)

    def run_seed_then_between(*arguments, **options):
        shared["activity"] = ACTIVITIES.index("starting")
        record = run_seed(*arguments, **options)
        shared["activity"] = ACTIVITIES.index("between")
        return record

    batch.run_seed = run_seed_then_between
    shared["activity"] = ACTIVITIES.index("starting")


@dataclass(frozen=True)
class Job:
    """A run that several processes bring to its end, one after the other."""

    base: Path
    spec: object
    seeds: range
    rhythm: str
    by_steps: bool = False

    def open(self) -> Store:
        described = identity.describe(self.spec, DATA.fingerprint, device="cpu", threads=1)
        shared = identity.describe_shared(self.spec, DATA.fingerprint)
        return Store.open(self.base, self.spec, described, shared, {})[0]

    def start(self, shared: Shared) -> int:
        """Start a process on it."""
        child = os.fork()
        if child:
            return child
        try:
            warnings.simplefilter("error")  # a kill alone tears no file: nothing may have to be passed over
            rhythms = RHYTHMS_BY_STEPS if self.by_steps else RHYTHMS
            epochs, seconds, runner.STEPS_BETWEEN_LOOKS = rhythms[self.rhythm]
            watch(shared, self.spec)
            run_experiment(
                self.open(),
                self.seeds,
                DATA,
                CPU,
                checkpoint_epochs=epochs,
                checkpoint_seconds=seconds,
                sinks_for=[progress.heartbeat],
                tell=lambda line: None,
            )
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(1)

    def results(self) -> tuple[dict[str, bytes], dict[str, bytes]]:
        """The seeds' records without their time, as they lie on the disk, and the views."""
        directory = self.open().directory
        records = {path.name: without_time(path.read_bytes()) for path in directory.glob("seeds/*")}
        return records, views_of(directory)


def without_time(sealed: bytes) -> bytes:
    """A seed's file without its checksum, and with no number after "time"."""
    text, times = re.subn(rb'"time": [0-9.e+-]+', b'"time": null', sealed.split(b"\n", 1)[1])
    assert times == 1
    return text


def views_of(directory: Path) -> dict[str, bytes]:
    found = [path for path in directory.glob("*_*.*") if path.suffix in (".json", ".csv")]
    return {path.name: path.read_bytes() for path in found if "manifest" not in path.name}


def wait(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def wait_until(child: int, instant: float, now: Callable[[], float]) -> int | None:
    """Its exit status, or None where it still runs at that instant."""
    while now() < instant:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    return None


def run_undisturbed(job: Job) -> tuple[int, float]:
    """Steps and seconds of a run that nothing disturbs."""
    shared, began = Shared(), time.monotonic()
    if (status := wait(job.start(shared))) != 0:
        raise SystemExit(f"{job.spec.name}: the undisturbed run ended with status {status}")
    return shared["steps"], time.monotonic() - began


def run_killed(job: Job, waits, kills_left: int) -> tuple[list[dict], int]:
    """Kill process after process until the run is complete or the kills are used up, then let it end.

    Returns a line for each kill, and the steps trained by all processes together.
    """
    shared, kills = Shared(), []
    places = [f"{arm.name}/{phase.name}" for arm in job.spec.arms for phase in arm.phases]
    now = (lambda: shared["steps"]) if job.by_steps else time.monotonic
    while len(kills) < kills_left:
        shared["position"], shared["seed"], shared["place"] = 0, -1, -1
        instant = now() + next(waits)
        child = job.start(shared)
        status = wait_until(child, instant, now)
        if status is None and job.by_steps:
            time.sleep(random.uniform(0, MOMENT))  # or it would mostly be killed in a step
        if status is None:
            os.kill(child, signal.SIGKILL)
            status = wait(child)
        if status == 0:
            break
        if status != -signal.SIGKILL:
            raise SystemExit(f"{job.spec.name}: a process ended with status {status} in {job.base}")
        activity = ACTIVITIES[shared["activity"]]
        entered = shared["place"] >= 0 and activity in ("training", "evaluating", "writing")
        kills.append(
            {
                "at": time.time(),
                "activity": activity,
                "phase": places[shared["place"]] if entered else None,
                "seed": shared["seed"],
                "position": shared["position"],
                "checkpoint": any(p.suffix == ".ckpt" for p in job.base.glob("*/checkpoints/*")),
                "finished": len(list(job.base.glob("*/seeds/*.json"))),
            }
        )
    else:
        if wait(job.start(shared)) != 0:
            raise SystemExit(f"{job.spec.name}: the last process failed in {job.base}")
    return kills, shared["steps"]


def judge(job: Job, kills: list[dict]) -> None:
    """Add to each kill how the seed that was under way went on.

    `went_on`: "inside" from a checkpoint; "begun" from step 0 where there was none yet; "between" where no
    seed was under way; "lost" where a checkpoint was there and the seed began anew all the same.
    """
    began = []
    for path in job.base.glob("*/attempts/*.jsonl"):
        seed = int(re.findall(r"\d+", path.stem)[-1])
        began += [(entry["began"], seed, entry["found_step"]) for entry in read_attempts(path)]
    for kill in kills:
        after = [entry for entry in sorted(began) if entry[0] > kill["at"]]
        seed, found = after[0][1:] if after else (None, 0)
        kill["lost"] = max(0, kill["position"] - found) if seed == kill["seed"] else 0
        if found > 0:
            kill["went_on"] = "inside"
        elif kill["checkpoint"] and seed == kill["seed"]:
            kill["went_on"] = "lost"
        else:
            kill["went_on"] = "begun" if seed == kill["seed"] else "between"


def rebuilt_views(job: Job) -> dict[str, bytes]:
    """The views after they were deleted and built again by another process."""
    store = job.open()
    for name in views_of(store.directory):
        (store.directory / name).unlink()
    child = os.fork()
    if child == 0:
        try:
            store.rebuild_views()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    assert wait(child) == 0
    return views_of(store.directory)


def leftovers(job: Job) -> list[str]:
    """Drafts and checkpoints that nobody needs any more."""
    found = [path for path in job.base.rglob(".*") if path.name != ".dglib.lock"]
    return [path.name for path in [*found, *job.base.glob("*/checkpoints/*")]]


def campaign(kills: int, size: Size, key: str, work: Path, tell) -> dict:
    """All of it: the numbers, and under `broken` a line for each promise that does not hold."""
    broken, runs, all_kills, parts = [], 0, [], {}
    for experiment in EXPERIMENTS:
        spec = size.spec(experiment)
        seeds = range(size.seeds)
        whole = Job(work / experiment / "undisturbed", spec, seeds, "every epoch")
        steps, seconds = run_undisturbed(whole)
        longest = size.longest * (steps if size.by_steps else 1)
        waits = random_waits(f"{key}/{experiment}", longest, -longest / 10 if size.by_steps else 0.0)
        expected, _ = whole.results()
        share = kills // len(EXPERIMENTS) + (EXPERIMENTS.index(experiment) < kills % len(EXPERIMENTS))
        of_experiment, trained, needed = [], 0, 0
        while len(of_experiment) < share:
            rhythm = list(RHYTHMS)[runs % len(RHYTHMS)]
            job = Job(work / experiment / f"run{runs}", spec, seeds, rhythm, size.by_steps)
            killed, taken = run_killed(job, waits, share - len(of_experiment))
            judge(job, killed)
            for kill in killed:
                kill |= {"experiment": experiment, "rhythm": rhythm}
            records, views = job.results()
            differing = [name for name in expected if records.get(name) != expected[name]]
            if differing or records.keys() != expected.keys():
                which = differing or sorted(records)
                broken.append(f"{experiment}, saved {rhythm}: a record differs: {which}")
            if rebuilt_views(job) != views:
                broken.append(f"{experiment}: views built again differ")
            if left := leftovers(job):
                broken.append(f"{experiment}: left behind: {left}")
            of_experiment += killed
            trained, needed, runs = trained + taken, needed + steps, runs + 1
            tell(f"{experiment}, saved {rhythm}: {len(killed)} kills, {taken} steps for {steps}")
            shutil.rmtree(job.base)
        outcomes = [json.loads(text[:-2])["outcome"] for _, text in sorted(expected.items())]
        parts[experiment] = {
            "seeds": size.seeds,
            "outcomes": outcomes,
            "seconds_per_seed_undisturbed": round(seconds / size.seeds, 1),
            "steps_per_run_undisturbed": steps,
            "kills": len(of_experiment),
            "steps_trained_over_needed": round(trained / needed, 4),
        }
        parts[experiment]["_sums"] = trained, needed
        all_kills += of_experiment
    return summary(parts, all_kills, runs, broken)


def random_waits(key: str, longest: float, least: float):
    rng = random.Random(key)
    while True:
        yield rng.uniform(least, longest)


def summary(parts: dict, kills: list[dict], runs: int, broken: list[str]) -> dict:
    sums = [part.pop("_sums") for part in parts.values()]
    trained, needed = sum(s[0] for s in sums), sum(s[1] for s in sums)
    went_on = Counter(kill["went_on"] for kill in kills)
    inside = went_on["inside"] / len(kills)
    if went_on["lost"]:
        broken.append(f"{went_on['lost']} kills threw a seed back to its beginning in spite of a checkpoint")
    lost = [kill["lost"] for kill in kills]
    return {
        "kills": len(kills),
        "runs": runs,
        "records_identical_apart_from_time": not any("a record differs" in line for line in broken),
        "resumed_inside_a_seed": round(inside, 4),
        "went_on": dict(sorted(went_on.items())),
        "steps_trained_over_needed": round(trained / needed, 4),
        "steps_trained": trained,
        "steps_needed": needed,
        "steps_lost_per_kill": {"mean": round(statistics.mean(lost), 1), "most": max(lost)},
        "instants_by_activity": count(kill["activity"] for kill in kills),
        "instants_by_phase": count(
            f"{kill['experiment']} {kill['phase'] or 'no phase (starting, between seeds)'}" for kill in kills
        ),
        "instants_by_rhythm": count(kill["rhythm"] for kill in kills),
        "experiments": parts,
        "broken": broken,
    }


def count(names) -> dict[str, int]:
    return dict(sorted(Counter(names).items()))


def machine() -> dict:
    """What it ran on, in general terms."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        cpu = platform.processor() or platform.machine()
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "system": platform.system(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--size", choices=SIZES, default="full", help="length of the seeds")
    parser.add_argument("--key", default="0", help="what the instants are drawn from")
    parser.add_argument("--json", type=Path, help="where the numbers go")
    options = parser.parse_args()

    global DATA
    torch.set_num_threads(1)
    DATA = digits()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="kills-") as work:
        found = campaign(
            options.kills, SIZES[options.size], options.key, Path(work), lambda line: print(line, flush=True)
        )
    if options.size == "full":  # a sample is too small for a share
        if found["resumed_inside_a_seed"] < 0.8:
            found["broken"].append("fewer than 80 % of the kills resumed inside a seed")
        if found["steps_trained_over_needed"] > 1.2:
            found["broken"].append("more than 1.2 times the steps were trained")
    found = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine(),
        "size": options.size,
        "key": options.key,
        "minutes": round((time.monotonic() - began) / 60, 1),
        **found,
    }
    text = json.dumps(found, indent=1, ensure_ascii=False)
    print(text)
    if options.json is not None:
        options.json.write_text(text + "\n", encoding="utf-8")
    return 1 if found["broken"] else 0


if __name__ == "__main__":
    sys.exit(main())
