"""Several processes on one base directory: every seed is run once, and a process that hangs is named."""

import os
import re
import signal
import time

import pytest
from alone import alone, ended, forked
from small import CPU, open_store, random_data, small_spec, without_time

from dglib import files
from dglib.errors import UserError
from dglib.runs import seed as batch
from dglib.runs.progress import heartbeat, read_attempts
from dglib.runs.seed import run_experiment, run_seed

SPEC = small_spec("Td1", batch_size=4, init_epochs=6)
DATA = random_data()
SEEDS = list(range(5))
PATIENCE = 120  # seconds, on a loaded machine


def run(base, seeds=SEEDS, sinks_for=()):
    store, _ = open_store(base, SPEC, DATA)
    sinks, options = [heartbeat, *sinks_for], {"checkpoint_epochs": 1, "report": lambda line: None}
    return run_experiment(store, seeds, DATA, CPU, sinks_for=sinks, **options)


def not_alone(store, seed):
    """Holds a process up in its seed until another has begun one, too."""

    def wait(event):
        deadline = time.monotonic() + PATIENCE
        while len(list(store.directory.glob("attempts/*"))) < 2:
            assert time.monotonic() < deadline, "no other process has begun a seed"
            time.sleep(0.01)

    return wait


def run_side_by_side(base, count, kills):
    """Run all seeds in several processes, some of them killed and started again.

    Gives how the last ones ended, and the ids of those that were killed before they had.
    """
    started, killed = [forked(run, base, SEEDS, [not_alone]) for _ in range(count)], []
    for victim in range(kills):
        time.sleep(0.4)
        os.kill(started[victim], signal.SIGKILL)
        if (status := ended(started[victim])) != 0:
            assert status == -signal.SIGKILL
            killed.append(started[victim])
        started[victim] = forked(run, base)
    return [ended(child) for child in started], killed


@pytest.fixture(scope="module")
def undisturbed():
    return [without_time(run_seed(SPEC, seed, DATA, CPU)) for seed in SEEDS]


def test_processes_on_one_base_directory_run_every_seed_exactly_once(tmp_path, undisturbed):
    count, kills = 4, 2
    statuses, killed = alone(run_side_by_side, tmp_path, count, kills)
    assert statuses == [0] * count
    assert len(list(tmp_path.glob("exp_*"))) == 1
    store = open_store(tmp_path, SPEC, DATA)[0]
    assert list(map(without_time, store.records())) == undisturbed
    logs = [read_attempts(store.files(seed).attempts) for seed in SEEDS]
    for attempts in logs:
        *earlier, last = attempts
        assert all(attempt["pid"] in killed and "how" not in attempt for attempt in earlier)
        # One that was killed may have saved the record, and not yet noted that.
        assert last.get("how") == "done" or last["pid"] in killed
    assert len(SEEDS) <= sum(map(len, logs)) <= len(SEEDS) + kills
    processes = {attempt["pid"] for attempts in logs for attempt in attempts}
    assert len(processes) >= 2  # they did share the work
    assert not [path for path in tmp_path.rglob(".*") if path.name != ".dglib.lock"]


def suspended(base):
    """Train seed 0 and stop in the middle of it, holding its lock, until continued."""
    run(base, [0], [lambda *_: lambda event: event.number == 5 and os.kill(os.getpid(), signal.SIGSTOP)])


def run_beside_a_suspended_one(base):
    """The message of the second process while the first one is suspended; and the records after that."""
    batch.HELD_SECONDS = 0.3
    child = forked(suspended, base)
    assert os.WIFSTOPPED(os.waitpid(child, os.WUNTRACED)[1])
    try:
        with pytest.raises(UserError) as caught:
            run(base, [0, 1])
        store = open_store(base, SPEC, DATA)[0]
        finished = [record["seed"] for record in store.records()]
    finally:
        os.kill(child, signal.SIGCONT)
        status = ended(child)
    return child, str(caught.value), finished, status, list(map(without_time, run(base, [0, 1])))


def test_a_seed_held_by_a_suspended_process_is_waited_for_and_its_holder_named(tmp_path, undisturbed):
    child, message, finished, status, records = alone(run_beside_a_suspended_one, tmp_path)
    assert re.search(
        rf"^Td1 seed 0 is being trained by process {child} on \S+ in .*same command again", message
    )
    assert finished == [1]  # it did not wait idly
    assert status == 0
    assert records == undisturbed[:2]
    (attempt,) = read_attempts(open_store(tmp_path, SPEC, DATA)[0].files(0).attempts)
    assert (attempt["pid"], attempt["how"]) == (child, "done")


def test_of_two_records_of_a_seed_the_first_stays_and_that_is_reported(tmp_path):
    lines, store = [], open_store(tmp_path, SPEC, DATA)[0]
    first = {"seed": 0, "experiment": "Td1", "outcome": "ordered", "category": "ordered", "step_logs": []}
    first["time"] = 1.0

    def finish_elsewhere(store, seed):
        return lambda event: None if store.finished(seed) else store.save(first)

    (record,) = run_experiment(store, [0], DATA, CPU, sinks_for=[finish_elsewhere], report=lines.append)
    assert record == first == store.records()[0]
    assert any("finished elsewhere first" in line for line in lines)


def test_a_lock_that_another_process_holds_for_long_is_an_error_of_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "LOCK_SECONDS", 0.1)
    path = tmp_path / "a.lock"
    with files.locked(path), pytest.raises(UserError) as caught, files.locked(path):
        pass
    assert str(caught.value).startswith(f"{path}: held by another process for more than 0.1 s")
