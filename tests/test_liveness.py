"""Whether a process lives: by the process table here, by the age of its last update elsewhere."""

import subprocess
import sys
import time

import psutil

from dglib.runs.progress import STALE_SECONDS, has_ended, is_alive, this_process

OLD = 2 * STALE_SECONDS


def test_a_process_of_this_host_lives_while_it_runs_and_gives_updates():
    now = time.time()
    assert is_alive(this_process(), now)
    assert not is_alive(this_process(), now - OLD), "no update for long, as of a kernel that trains nothing"
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


def test_a_process_id_that_was_given_to_a_later_process_has_ended():
    began = psutil.Process().create_time()
    assert has_ended(this_process(), began - 60)
    assert not has_ended(this_process(), began + 1)


def test_of_another_host_or_without_an_id_only_the_age_counts():
    for process in ({"pid": 1, "host": "elsewhere"}, {"host": "elsewhere"}, {}):
        assert not has_ended(process, time.time() - OLD)
        assert is_alive(process, time.time())
        assert is_alive(process, time.time() + 1), "of a clock that is ahead"
        assert not is_alive(process, time.time() - OLD)
