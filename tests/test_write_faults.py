"""A kill or a failing disk at every operation of every write: the old state or the new, never a torn one."""

import json
import os
from dataclasses import replace
from itertools import product
from types import SimpleNamespace

import pytest
import small
import torch
from alone import alone, ended, forked
from faults import FAILURES, KILLED, KILLS, Faults
from small import CPU, branching_spec, random_data, small_spec

from dglib.errors import StorageError
from dglib.files import append_line, older, write_once
from dglib.protocol.spec import Cursor, NetworkSpec
from dglib.runs import checkpoint, progress
from dglib.runs.checkpoint import Checkpoint
from dglib.runs.progress import heartbeat
from dglib.runs.seed import run_experiment
from dglib.runs.store import Store

DATA = random_data()
SPEC = small_spec("T1")


def open_store(base, spec=SPEC):
    return small.open_store(base, spec, DATA)[0]


def made_record(seed, **fields):
    return {"seed": seed, "experiment": "T1", "outcome": "no_event", "error": 0.1, "time": 1.5, **fields}


def made_checkpoint(steps):
    state = {"model": {"w": torch.full((40,), float(steps))}, "t": steps}
    return Checkpoint("job", state, Cursor(), [], steps, 1.0, [{"from_step": 0}])


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    """The disk need not really have it: the processes are killed, the machine is not."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)


def third_checkpoint(base):
    """Both generations of a checkpoint are there, and a third is saved."""
    store = open_store(base)
    for steps in (3, 6):
        checkpoint.save(store.files(0).checkpoint, made_checkpoint(steps))

    def command():
        with store.exclusive(0) as mine:
            assert mine
            checkpoint.save(store.files(0).checkpoint, made_checkpoint(9))

    return command


def seed_record(base):
    """A seed has finished: its record takes the place of its checkpoints, as in `run_experiment`."""
    third_checkpoint(base)()
    store = open_store(base)

    def command():
        with store.exclusive(0) as mine:
            assert mine
            if store.finished(0):
                store.clear(0)
            else:
                store.save(made_record(0))

    return command


def second_views(base):
    """A second seed's record is there, and the views hold the first alone."""
    store = open_store(base)
    for seed in (0, 1):
        store.rebuild_views()
        store.save(made_record(seed))
    return store.rebuild_views


def manifest(base):
    """The first run in a base directory."""
    return lambda: open_store(base)


KINDS = (third_checkpoint, seed_record, second_views, manifest)


def readable(base):
    """What another process can read of each file, complete and intact; a record goes before checkpoints."""
    found = {}
    for path in base.glob("exp_*/T1-spinodal_manifest.json"):
        found["manifest"] = json.loads(path.read_bytes())["parameters"]
        store = Store(path.parent, SPEC)
        found["records"] = store.records()
        saved = store.files(0).checkpoint
        generations = [path for path in (saved, older(saved)) if path.exists()]
        for one in map(checkpoint.read, generations):
            assert one.state["model"]["w"].tolist() == [one.steps] * 40
        steps = checkpoint.load(saved).steps if generations else "none"
        found["steps"] = "done" if found["records"] else steps
        found |= {view.name: view.read_bytes() for view in path.parent.glob("T1*_results.*")}
    return found


def names(base):
    """The files in the only run directory."""
    (directory,) = base.glob("exp_*")
    return sorted(
        str(path.relative_to(directory)) for path in directory.rglob("*") if "locks" not in path.parts
    )


def disturb(kind, disturbances, base):
    """Run a kind's command once for each operation and disturbance; the operations of the whole command.

    Args:
        disturbances: of KILLS, each in a fork, or of FAILURES, here.
    """
    os.fsync = lambda handle: None  # as above; for kills this is a process of its own
    whole, seen = base / "whole", []
    whole.mkdir(parents=True)
    command, old = kind(whole), readable(whole)
    with Faults(whole) as faults:
        command()
    new, expected, seen = readable(whole), names(whole), faults.seen
    assert new != old
    for how, (number, operation) in product(disturbances, enumerate(seen)):
        if how == "killed in mid-write" and operation[0] != "write":
            continue
        here, where = base / f"{how.replace('/', ' ')} {number}", f"{how} at operation {number}, {operation}"
        here.mkdir()
        command = kind(here)

        def disturbed(command=command, here=here, number=number, how=how):
            with Faults(here, number, how):
                command()

        if how in KILLS:
            assert ended(forked(disturbed)) == KILLED
        elif (message := error_of(disturbed)) is not None:
            assert "\n" not in message, where
            assert str(here) in message, where
            assert os.strerror(FAILURES[how][0]) in message, where
        for name, content in readable(here).items():
            assert content in (old.get(name), new[name]), f"{name}: neither old nor new after {where}"
        assert readable(here).keys() >= old.keys(), where
        command()
        assert readable(here) == new, f"the same command does not complete it after {where}"
        assert names(here) == expected, f"left behind after {where}"
    return [name for name, _ in seen]


def error_of(command):
    """The message that a command ends with, or None where it completes."""
    try:
        command()
    except StorageError as error:
        return str(error)
    return None


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_kill_or_failure_at_any_operation_leaves_the_old_state_or_the_new(kind, tmp_path):
    operations = alone(disturb, kind, KILLS, tmp_path / "kills")
    assert {"open", "write", "fsync", "close"} <= set(operations)
    assert {"replace", "link", "unlink"} & set(operations)
    disturb(kind, FAILURES, tmp_path / "failures")


def test_a_write_that_takes_a_part_at_a_time_writes_all_of_it(tmp_path, monkeypatch):
    write = os.write
    monkeypatch.setattr(os, "write", lambda handle, content: write(handle, bytes(content[:7])))
    third_checkpoint(tmp_path)()
    append_line(tmp_path / "seed.jsonl", b"a line of a log\n")
    monkeypatch.undo()
    assert readable(tmp_path)["steps"] == 9
    assert (tmp_path / "seed.jsonl").read_bytes() == b"a line of a log\n"


def test_a_file_system_without_hard_links_keeps_the_first_record_as_well(tmp_path, monkeypatch):
    def no_links(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    path = tmp_path / "record.json"
    assert write_once(path, b"first")
    assert not write_once(path, b"second")
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("record.json", b"first")]


# ── a whole run, with branches from a saved state ──


def small_run(base):
    spec = replace(branching_spec(lambdas=(0.3, 0.5)), network=NetworkSpec("small_cnn", 0.125))
    store = open_store(base, replace(spec, step=replace(spec.step, batch_size=22)))  # one step an epoch
    saved = {"checkpoint_epochs": 1, "keep_states": True, "sinks_for": [heartbeat]}
    run_experiment(store, [0, 1], DATA, CPU, **saved, report=lambda line: None)
    return store


def run_with_faults(how, every, base):
    """Disturb a run of two seeds at each `every`th operation; operations and failures."""
    os.fsync = lambda handle: None
    progress.time = SimpleNamespace(monotonic=lambda: 1e9, time=lambda: 1e9)  # the same heartbeats always
    (base / "whole").mkdir()
    with Faults(base / "whole") as whole:
        expected = list(map(small.without_time, small_run(base / "whole").records()))
    failed = 0
    for number in range(0, len(whole.seen), every):
        here = base / f"at{number}"
        here.mkdir()

        def disturbed(here=here, number=number):
            with Faults(here, number, how):
                message = error_of(lambda: small_run(here))
            if message is not None:
                assert "\n" not in message
                assert str(here) in message
                os._exit(3)

        status = ended(forked(disturbed))
        where = f"{how} at operation {number}, {whole.seen[number]}"
        assert status in ((KILLED,) if how in KILLS else (0, 3)), where
        failed += status == 3
        store = small_run(here)
        assert list(map(small.without_time, store.records())) == expected, where
        assert [path for path in here.rglob(".*") if path.name != ".dglib.lock"] == [], where
        assert list((store.directory / "checkpoints").iterdir()) == [], where
        assert len(list((store.directory / "states").iterdir())) == 6, where
        assert len(json.loads((store.directory / "T1-spinodal_results.json").read_bytes())) == 2
    return len(whole.seen), failed


@pytest.mark.slow
@pytest.mark.parametrize("how", ["killed", "no space left"])
def test_a_whole_run_disturbed_at_operations_of_all_kinds_ends_in_the_same_records(how, tmp_path):
    every = 29  # with 1 it takes minutes, and passes as well
    count, failed = alone(run_with_faults, how, every, tmp_path)
    assert count > 100
    assert how in KILLS or failed > 0.6 * count / every


def test_only_what_a_killed_write_of_a_seeds_own_file_left_is_cleared_away(tmp_path):
    store = open_store(tmp_path)
    folder = store.files(0).record.parent
    kept = [".T1-spinodal-000.json", ".T1-spinodal-001.json.12.0123abcd", "T1-spinodal-000.json.12.0123abcd"]
    for name in [*kept, ".T1-spinodal-000.json.12.0123abcd"]:
        (folder / name).touch()
    with store.exclusive(0):
        pass
    assert sorted(path.name for path in folder.iterdir()) == sorted(kept)
