"""Several seeds of one run at once, in worker processes."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest
from held import held_up

from dglib.protocol.records import Record
from dglib.runs.progress import read_attempts
from dglib.runs.store import read_records

SMALL = [
    "init_epochs=4",
    "init_error_max=1.0",
    "epochs_per_level=2",
    "sweep_lambdas=[0.5,0.7]",
    "return_sweep=false",
    "network_width=0.25",
    "network=held:network",
]


def command(base, *settings):
    given = ["--seeds", "0-2", "--base-dir", str(base), "--set", *SMALL, *settings]
    return [sys.executable, "-m", "dglib", "run", "T1", *given]


def environment(base):
    return os.environ | {"TQDM_DISABLE": "1", "OMP_NUM_THREADS": "1"} | held_up(base / "hold")


def run(base, *settings):
    return subprocess.run(command(base, *settings), capture_output=True, text=True, env=environment(base))


def records(base) -> list[Record]:
    (directory,) = base.glob("exp_T_spinodal_*")
    found = read_records(directory, "T1")
    return [{k: v for k, v in record.items() if k not in ("time", "provenance")} for record in found]


def attempts(base):
    (directory,) = base.glob("exp_T_spinodal_*")
    return [attempt for path in directory.glob("attempts/*.jsonl") for attempt in read_attempts(path)]


@pytest.fixture(scope="module")
def serial(tmp_path_factory):
    base = tmp_path_factory.mktemp("serial")
    assert run(base).returncode == 0
    return records(base)


@pytest.mark.slow
def test_a_killed_worker_is_replaced_and_the_records_are_those_of_one_after_the_other(serial, tmp_path):
    with started(tmp_path, "seeds_at_once=2") as (main, release):
        os.kill(min(pids_of(2, tmp_path)), signal.SIGKILL)
        release()
        assert main.wait(timeout=300) == 0
    assert records(tmp_path) == serial
    assert len({attempt["pid"] for attempt in attempts(tmp_path)}) == 3


@pytest.mark.slow
def test_workers_end_with_a_killed_run_and_the_same_command_resumes(serial, tmp_path):
    with started(tmp_path, "seeds_at_once=2") as (main, release):
        workers = pids_of(2, tmp_path)
        main.kill()
        release()
    wait_for(lambda: not any(map(running, workers)))
    assert run(tmp_path).returncode == 0
    assert records(tmp_path) == serial


def test_seeds_that_no_worker_can_train_are_trained_by_the_run_itself(tmp_path):
    code = f"""
import math, dglib
from torch import nn

@dglib.networks.register("of this cell")
def network(input_shape, classes, width):
    return nn.Sequential(nn.Flatten(), nn.Linear(math.prod(input_shape), classes))

settings = {[*SMALL, "init_epochs=1", "network=of this cell", "seeds_at_once=2", "seeds=0-1"]!r}
parameters = dglib.load_profile("T1", "quick", [*settings, "base_dir={tmp_path}"])
print(len(dglib.run(parameters).records))
"""
    call, env = [sys.executable, "-c", code], environment(tmp_path)
    done = subprocess.run(call, capture_output=True, text=True, env=env)
    assert done.stdout.splitlines()[-1] == "2", done.stderr
    assert "training these seeds here, one at a time" in done.stderr + done.stdout


@contextmanager
def started(base, *settings):
    """The run, and what releases its processes, which wait after an epoch each.

    Killed on leaving if it still runs.
    """
    hold = base / "hold"
    hold.touch()
    env = environment(base)
    with subprocess.Popen(command(base, *settings), stdout=subprocess.PIPE, text=True, env=env) as main:
        try:
            yield main, hold.unlink
        finally:
            main.kill()
            hold.unlink(missing_ok=True)


def pids_of(count, base):
    """The processes that have begun a seed, once there are so many."""

    def found():
        begun = {beat["pid"] for path in base.glob("exp_T_spinodal_*") for beat in _heartbeats(path)}
        return begun if len(begun) >= count else None

    return wait_for(found)


def _heartbeats(directory):
    for path in directory.glob("heartbeats/*.json"):
        try:
            yield json.loads(path.read_text())
        except (OSError, ValueError):
            continue


def running(pid):
    try:
        with open(f"/proc/{pid}/stat") as stat:  # noqa: PTH123
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_for(condition, seconds=120):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"not within {seconds} s")
