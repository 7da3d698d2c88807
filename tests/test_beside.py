"""Several seeds of a run at once, in processes beside each other."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest
from held import held_up

from dglib.attempts import read_attempts
from dglib.records import Record
from dglib.store import read_records

SMALL = [
    "init_epochs=4",
    "init_error_max=1.0",
    "epochs_per_level=2",
    "sweep_lambdas=[0.5,0.7]",
    "return_sweep=false",
    "network_width=0.25",
    "network=held:network",
]


def command(base, *settings, seeds="0-2"):
    given = ["--seeds", seeds, "--base-dir", str(base), "--set", *SMALL, *settings]
    return [sys.executable, "-m", "dglib", "run", "T1", *given]


def environment(base):
    return os.environ | {"TQDM_DISABLE": "1", "OMP_NUM_THREADS": "1"} | held_up(base / "hold")


def run(base, *settings):
    given = command(base, *settings)
    return subprocess.run(given, capture_output=True, text=True, env=environment(base))


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
def test_three_at_once_give_the_records_of_one_after_the_other(serial, tmp_path):
    with started(tmp_path, "seeds_at_once=3") as (main, go_on):
        beside = one_that_trains_beside(main, tmp_path)
        go_on()
        assert main.wait(timeout=300) == 0
    assert records(tmp_path) == serial
    assert {main.pid, beside} <= {attempt["pid"] for attempt in attempts(tmp_path)}


@pytest.mark.slow
def test_a_process_beside_that_is_killed_leaves_its_seeds_to_the_others(serial, tmp_path):
    with started(tmp_path, "seeds_at_once=2") as (main, go_on):
        os.kill(one_that_trains_beside(main, tmp_path), signal.SIGKILL)
        go_on()
        told, _ = main.communicate(timeout=300)
    assert main.returncode == 0, told
    assert "a process beside this one ended early" in told
    assert records(tmp_path) == serial


@pytest.mark.slow
def test_killing_the_run_stops_the_processes_beside_it_and_the_same_command_goes_on(serial, tmp_path):
    with started(tmp_path, "seeds_at_once=2") as (main, go_on):
        beside = one_that_trains_beside(main, tmp_path)
        main.kill()
        go_on()
    wait_for(lambda: not running(beside))
    assert run(tmp_path).returncode == 0
    assert records(tmp_path) == serial


def test_with_one_seed_left_nobody_is_called(tmp_path):
    done = run(tmp_path, "seeds_at_once=8", "seeds=0", "init_epochs=1")
    assert done.returncode == 0, done.stderr


@contextmanager
def started(base, *settings):
    """The run, its lines of stdout to be read, and what lets its processes go on after an epoch each.

    Killed on the way out if it still goes on.
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


def one_that_trains_beside(main, base):
    """The pid of a process beside `main` that has begun a seed as `main` has."""

    def found():
        begun = {beat["pid"] for path in base.glob("exp_T_spinodal_*") for beat in _heartbeats(path)}
        return begun - {main.pid} if main.pid in begun else None

    return min(wait_for(found))


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
