"""Small runs of several processes: what the tests start, disturb and check."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace

import psutil
from held import held_up

from dglib.experiments import build_spec
from dglib.experiments.profiles import PARAMS, load_profile
from dglib.files import unsealed
from dglib.runs.progress import read_attempts
from dglib.runs.seed import run_seed
from dglib.training.data import load_dataset
from dglib.training.numerics import Numerics

RUN_ALL = PARAMS.parent / "run_all.py"
PATIENCE = 600.0  # seconds; a loaded machine takes its time to import torch
TINY = [
    "network_width=0.25",
    "epochs_per_level=1",
    "sweep_lambdas=[0.5]",
    "init_error_min=0",
    "checkpoint_epochs=1",
    "network=held:network",
]
HOLD = "hold"  # the file in the working directory that holds seeds up after an epoch


def records(base):
    """The records below a directory, by their files' names, without time and provenance."""
    found = {path.stem: unsealed("seed record", path) for path in base.glob("exp_*/seeds/*.json")}
    for record in found.values():
        del record["time"], record["provenance"]
    return found


def serial(experiment, seed, changes):
    """The record of a seed trained in this process, without its time."""
    spec = build_spec(experiment, load_profile(experiment, "quick", changes))
    record = run_seed(spec, seed, load_dataset("digits"), Numerics.resolve("auto", 1))
    del record["time"]
    return json.loads(json.dumps(record))


def attempts(base):
    """The attempts at each seed, by its name."""
    return {path.stem: read_attempts(path) for path in sorted(base.glob("exp_*/attempts/*.jsonl"))}


def wait_for(what, name, process=None):
    """The first value of a function that counts as true, while a process has not ended."""
    deadline = time.monotonic() + PATIENCE
    while not (found := what()):
        assert time.monotonic() < deadline, f"no {name}"
        assert process is None or process.poll() is None, f"no {name}: {process.communicate()}"
        time.sleep(0.05)
    return found


def saved(base):
    """The processes that train a seed which has a checkpoint, by its name."""
    names = {path.stem for path in base.glob("exp_*/checkpoints/*.ckpt")}
    found = {}
    for name, those in attempts(base).items():
        if name in names and those and "ended" not in those[-1]:
            with suppress(psutil.NoSuchProcess):
                process = psutil.Process(those[-1]["pid"])
                if not is_gone(process):
                    found[name] = process
    return found


def kill_mid_job(base, process):
    """Kill a worker that trains a seed and has saved it. Returns the seed and the process.

    Removes `HOLD` then.
    """
    seed, worker = next(iter(wait_for(lambda: saved(base), f"checkpoint in {base}", process).items()))
    worker.kill()
    wait_for(lambda: is_gone(worker), f"end of {worker}")
    Path(HOLD).unlink(missing_ok=True)
    return seed, worker.pid


def is_gone(process):
    """Whether the process has ended, also where nobody has collected it."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def start(*command, **environment):
    """Python with these arguments, one thread for each process."""
    return subprocess.Popen(
        [sys.executable, *map(str, command)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"} | held_up(Path(HOLD).absolute()) | environment,
    )


@contextmanager
def cluster(folder):
    """A Dask scheduler and two workers, as somebody starts them in other terminals."""
    folder = folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    contact = folder / "scheduler.json"
    with ExitStack() as stack:

        def begin(*words):
            log = stack.enter_context((folder / f"{words[0]}.log").open("a"))
            command = [sys.executable, "-m", f"distributed.cli.{words[0]}", "--no-dashboard", *words[1:]]
            environment = os.environ | {"OMP_NUM_THREADS": "1"} | held_up(Path(HOLD).absolute())
            begun = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, env=environment)
            stack.callback(end, begun)
            return begun

        host = ("--host", "127.0.0.1")
        scheduler = begin("dask_scheduler", *host, "--port", "0", "--scheduler-file", str(contact))

        def is_up():
            assert scheduler.poll() is None, (folder / "dask_scheduler.log").read_text()
            return contact.exists() and contact.read_text().endswith("}")

        wait_for(is_up, "scheduler")
        address = json.loads(contact.read_text())["address"]
        more = ("--local-directory", str(folder / "scratch"), "--nthreads", "1")
        workers = [begin("dask_worker", address, *host, *more) for _ in range(2)]
        yield SimpleNamespace(address=address, scheduler=scheduler, workers=workers)


def end(process):
    """End a process with its children."""
    if process.poll() is None:  # its number is its own until it is collected
        for each in psutil.Process(process.pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                each.kill()
        process.kill()
    process.communicate()
