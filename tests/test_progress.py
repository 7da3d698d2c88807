"""The bar: its fields, and the time that it estimates. Whether a process lives."""

import io
import subprocess
import sys
import time

import psutil
import pytest
import tqdm.auto
from small import CPU, random_data, small_spec
from tqdm import std

from dglib.runs.progress import STALE_SECONDS, Bar, has_ended, is_alive, this_process
from dglib.runs.seed import run_seed

SPEC = small_spec(
    "T1", batch_size=8, init_epochs=2, epochs_per_level=1, sweep_lambdas=[0.5], collapse_error=0.0
)
PLANNED = 2 + 1 + 3  # and the way back


@pytest.fixture
def shown(monkeypatch):
    """What a terminal is sent, with every step of the bar."""
    screen = io.StringIO()

    def every_step(**options):
        return std.tqdm(
            **{**options, "dynamic_ncols": False}, file=screen, mininterval=0, miniters=1, ncols=200
        )

    monkeypatch.setattr(tqdm.auto, "tqdm", every_step)
    return screen


def lines(screen):
    return [line for line in screen.getvalue().replace("\r", "\n").split("\n") if line]


def test_the_bar_shows_seed_phase_level_epoch_error_and_time_left(shown):
    bar = Bar(SPEC, 2)
    run_seed(SPEC, 7, random_data(), CPU, sinks=[bar.sink(None, 7)])
    first = next(line for line in lines(shown) if f"epoch=1/{PLANNED}" in line)
    assert "seed=7, phase=init, λ=0.35, epoch=1/6" in first
    assert f"1/{2 * PLANNED} [" in first
    assert "<" in first.partition("[")[2], "the time left is after the time that passed"
    later = next(line for line in lines(shown) if "phase=sweep" in line)
    assert "seed=7, phase=sweep, λ=0.5, epoch=3/6, error=1.000" in later


def test_a_seed_that_ends_early_fills_its_share(shown):
    spec = small_spec("T1", batch_size=8, init_epochs=2, init_error_max=0.0)
    bar = Bar(spec, 2)
    run_seed(spec, 0, random_data(), CPU, sinks=[bar.sink(None, 0)])
    assert " 50%|" in lines(shown)[-1]


def test_a_process_lives_by_the_process_table_here_and_by_its_last_update_elsewhere():
    now, old = time.time(), time.time() - 2 * STALE_SECONDS
    assert is_alive(this_process(), now)
    assert not is_alive(this_process(), old), "no update for long, as of a kernel that trains nothing"
    began = psutil.Process().create_time()
    assert has_ended(this_process(), began - 60), "its id was given to a later process"
    assert not has_ended(this_process(), began + 1)
    for process in ({"pid": 1, "host": "elsewhere"}, {"host": "elsewhere"}, {}):
        assert not has_ended(process, old)
        assert not is_alive(process, old)
        assert is_alive(process, now)
        assert is_alive(process, now + 1), "of a clock that is ahead"
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    process = {**this_process(), "pid": child.pid}
    assert is_alive(process, time.time())
    child.stdin.close()
    while psutil.Process(child.pid).status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)
    assert has_ended(process, time.time()), "a zombie"
    child.wait()
    assert has_ended(process, time.time())
    assert not is_alive(process, time.time())
