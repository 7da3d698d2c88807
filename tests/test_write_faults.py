"""A kill or a failing disk at every operation of every write: the old state or the new, never a torn one."""

import json
import os
from dataclasses import replace
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


class ThirdCheckpoint:
    """Both generations of a checkpoint are there, and a third is saved."""

    def __init__(self, base):
        self.store = open_store(base)
        self.path = self.store.files(0).checkpoint
        for steps in (3, 6):
            checkpoint.save(self.path, made_checkpoint(steps))

    def command(self):
        with self.store.exclusive(0) as mine:
            assert mine
            checkpoint.save(self.path, made_checkpoint(9))

    def steps(self):
        for generation in (self.path, older(self.path)):
            if generation.exists():
                found = checkpoint.read(generation)
                assert found.state["model"]["w"].tolist() == [found.steps] * 40
        return checkpoint.load(self.path).steps

    def is_old(self):
        return self.steps() == 6

    def is_new(self):
        return self.steps() == 9


class SeedRecord:
    """A seed has finished: its record takes the place of its checkpoints."""

    def __init__(self, base):
        self.store = open_store(base)
        for steps in (3, 6):
            checkpoint.save(self.store.files(0).checkpoint, made_checkpoint(steps))

    def command(self):
        """As `run_experiment` does it."""
        with self.store.exclusive(0) as mine:
            assert mine
            if self.store.finished(0):
                self.store.clear(0)
            else:
                self.store.save(made_record(0))

    def is_old(self):
        found = checkpoint.load(self.store.files(0).checkpoint)
        return not self.store.finished(0) and self.store.records() == [] and found.steps == 6

    def is_new(self):
        return self.store.records() == [made_record(0)]

    def is_complete(self):
        return list(self.store.files(0).checkpoint.parent.iterdir()) == []


class Views:
    """A second seed's record is there, and the views hold the first alone."""

    def __init__(self, base):
        self.store = open_store(base)
        self.store.save(made_record(0))
        self.store.rebuild_views()
        self.old = self.files()
        self.store.save(made_record(1))
        self.store.rebuild_views()
        self.new = self.files()
        for name, content in self.old.items():
            (self.store.directory / name).write_bytes(content)

    def files(self):
        return {path.name: path.read_bytes() for path in self.store.directory.glob("T1*_results.*")}

    def command(self):
        self.store.rebuild_views()

    def is_old(self):
        """Each view by itself; they are many, and rebuilt together."""
        found = self.files()
        return len(found) == 2 and all(found[k] in (self.old[k], self.new[k]) for k in found)

    def is_new(self):
        return self.files() == self.new


class Manifest:
    """The first run in a base directory."""

    def __init__(self, base):
        self.base = base / "results"

    def command(self):
        open_store(self.base)

    def manifests(self):
        return [json.loads(path.read_bytes()) for path in self.base.glob("*/*_manifest.json")]

    def is_old(self):
        return self.manifests() == []

    def is_new(self):
        (manifest,) = self.manifests()
        return manifest["experiment"] == "T1" and manifest["parameters"] == dict(SPEC.parameters)

    def is_complete(self):
        return len(list(self.base.glob("exp_*"))) == 1


KINDS = {kind.__name__: kind for kind in (ThirdCheckpoint, SeedRecord, Views, Manifest)}


def drafts(base):
    return [path.name for path in base.rglob(".*") if path.name != ".dglib.lock"]


def check(case, base, where):
    """What is readable now is old or new, and the same command completes it."""
    assert case.is_old() or case.is_new(), f"neither the old state nor the new after {where}"
    case.command()
    assert case.is_new(), f"the same command does not complete it after {where}"
    assert getattr(case, "is_complete", lambda: True)(), f"not complete after {where}"
    assert drafts(base) == [], f"left behind after {where}"


def disturb(kind, disturbances, base):
    """Run a kind's command once for each operation and disturbance; the operations of the whole command.

    Args:
        disturbances: of KILLS, each in a fork, or of FAILURES, here.
    """
    os.fsync = lambda handle: None  # as above; for kills this is a process of its own
    (base / "whole").mkdir()
    case = kind(base / "whole")
    with Faults(base / "whole") as whole:
        case.command()
    assert case.is_new()
    for how in disturbances:
        for number, operation in enumerate(whole.seen):
            if how == "killed in mid-write" and operation[0] != "write":
                continue
            here = base / f"{list(disturbances).index(how)}-{number}"
            here.mkdir()
            case, where = kind(here), f"{how} at operation {number}, {operation}"

            def command(case=case, here=here, number=number, how=how):
                with Faults(here, number, how):
                    case.command()

            if how in KILLS:
                assert ended(forked(command)) == KILLED
            elif (message := error_of(command)) is not None:
                assert "\n" not in message, where
                assert str(here) in message, where
                assert os.strerror(FAILURES[how][0]) in message, where
            check(case, here, where)
    return [name for name, _ in whole.seen]


def error_of(command):
    """The message that a command ends with, or None where it completes."""
    try:
        command()
    except StorageError as error:
        return str(error)
    return None


@pytest.mark.parametrize("kind", KINDS)
def test_a_kill_at_any_operation_leaves_the_old_state_or_the_new_and_the_same_command_completes(
    kind, tmp_path
):
    names = alone(disturb, KINDS[kind], KILLS, tmp_path)
    assert {"open", "write", "fsync", "close"} <= set(names)
    assert {"replace", "link", "unlink"} & set(names)


@pytest.mark.parametrize("kind", KINDS)
def test_a_failing_disk_at_any_operation_gives_one_line_and_leaves_the_old_state_or_the_new(kind, tmp_path):
    disturb(KINDS[kind], FAILURES, tmp_path)


def test_a_write_that_takes_a_part_at_a_time_writes_all_of_it(tmp_path, monkeypatch):
    write = os.write
    monkeypatch.setattr(os, "write", lambda handle, content: write(handle, bytes(content[:7])))
    case = ThirdCheckpoint(tmp_path)
    case.command()
    append_line(tmp_path / "seed.jsonl", b"a line of a log\n")
    monkeypatch.undo()
    assert case.is_new()
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
    run_experiment(
        store,
        [0, 1],
        DATA,
        CPU,
        checkpoint_epochs=1,
        keep_states=True,
        sinks_for=[heartbeat],
        report=lambda line: None,
    )
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
        assert drafts(here) == [], where
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
