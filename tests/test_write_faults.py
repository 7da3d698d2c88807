"""A kill or a failing disk at every operation of every write: the old state or the new, never a torn one."""

import json
import os
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from alone import alone, ended, forked
from faults import FAILURES, KILLED, KILLS, Faults
from small import CPU, random_data, small_spec

from dglib.errors import StorageError
from dglib.experiments.figures import save_figure
from dglib.files import write_once
from dglib.protocol.engine import Cursor
from dglib.protocol.events import EpochDone
from dglib.runs import checkpoint, identity, progress
from dglib.runs.checkpoint import Checkpoint, older
from dglib.runs.experiment import run_experiment
from dglib.runs.progress import Attempt, heartbeat, read_attempts
from dglib.runs.store import Store

DATA = random_data()
SPEC = small_spec("T1", batch_size=22, init_epochs=1, epochs_per_level=1, return_sweep=False)
EVENT = EpochDone(
    0, "main", "init", 0.35, 1, lr=0.1, loss_s=1.0, loss_v=None, weight_norm=1.0, update_norm=0.1
)


def open_store(base):
    described = identity.describe(SPEC, DATA.fingerprint, device="cpu", threads=1)
    return Store.open(base, SPEC, described, identity.describe_shared(SPEC, DATA.fingerprint), {})[0]


def made_record(seed, **fields):
    return {"seed": seed, "experiment": "T1", "outcome": "no_event", "error": 0.1, "time": 1.5, **fields}


def made_checkpoint(steps):
    state = {"model": {"w": torch.full((40,), float(steps))}, "t": steps}
    return Checkpoint("job", state, Cursor(), [EVENT], steps, 1.0, [{"from_step": 0}])


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    """The disk need not really have it: the processes are killed, the machine is not."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)


class FirstCheckpoint:
    """Nothing was saved yet."""

    saved = ()

    def __init__(self, base):
        self.store = open_store(base)
        self.path = self.store.files(0).checkpoint
        for steps in self.saved:
            checkpoint.save(self.path, made_checkpoint(steps))

    def command(self):
        with self.store.exclusive(0) as mine:
            assert mine
            checkpoint.save(self.path, made_checkpoint(9))

    def state(self):
        for generation in (self.path, older(self.path)):
            if generation.exists():
                found = checkpoint.read(generation)
                assert found.state["model"]["w"].tolist() == [found.steps] * 40
        found = checkpoint.load(self.path)
        return None if found is None else found.steps

    def is_old(self):
        return self.state() == (self.saved[-1] if self.saved else None)

    def is_new(self):
        return self.state() == 9


class SecondCheckpoint(FirstCheckpoint):
    saved = (3,)


class ThirdCheckpoint(FirstCheckpoint):
    """Both generations are there."""

    saved = (3, 6)


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


class OtherRecord(SeedRecord):
    """Another machine has finished the seed first."""

    def __init__(self, base):
        super().__init__(base)
        self.store.save(made_record(0))

    leaves_drafts = True  # of the other record, which has a name for each process

    def command(self):
        with self.store.exclusive(0):
            self.store.save(made_record(0, error=0.2))

    def is_old(self):
        return self.store.records() == [made_record(0)]

    is_new = is_old

    def is_complete(self):
        others = list(self.store.directory.glob("seeds/T1-*.other-*"))
        return others and all(json.loads(path.read_bytes())["content"]["error"] == 0.2 for path in others)


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


class Figure(Views):
    """A figure was drawn, and is drawn anew."""

    leaves_drafts = True  # two processes may draw one figure: neither may clear away the other's

    def __init__(self, base):
        self.directory = base / "figures"
        self.directory.mkdir()
        save_figure(Drawing(b"new" * 100), self.directory, "plot")
        self.new = self.files()
        save_figure(Drawing(b"old" * 100), self.directory, "plot")
        self.old = self.files()

    def files(self):
        return {path.name: path.read_bytes() for path in self.directory.glob("plot.*")}

    def command(self):
        save_figure(Drawing(b"new" * 100), self.directory, "plot")


class Drawing:
    """Stands for a figure of matplotlib, whose drawing takes long and writes nothing."""

    def __init__(self, content):
        self.content = content

    def get_figwidth(self):
        return 8.0

    def set_dpi(self, dpi):
        pass

    def draw_without_rendering(self):
        pass

    def set_layout_engine(self, engine):
        pass

    def savefig(self, target, **options):
        target.write(self.content)


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


class AttemptsLog:
    """One attempt is in the log; another begins and ends."""

    def __init__(self, base):
        self.log = base / "seed.jsonl"
        self.attempt("stopped", 5)

    def attempt(self, how, step):
        attempt = Attempt(self.log, self.log.with_name("none"))
        attempt.begin(step, 1)
        attempt.end(how)

    def command(self):
        self.attempt("done", 7)

    def known(self):
        return [(entry["found_step"], entry.get("how")) for entry in read_attempts(self.log)]

    def is_old(self):
        return self.known() in ([(5, "stopped")], [(5, "stopped"), (7, None)])

    def is_new(self):
        return self.known()[0] == (5, "stopped") and self.known()[-1] == (7, "done")


class Heartbeat:
    """Only a hint: no failure to write it may stop a run."""

    may_fail = False

    def __init__(self, base):
        self.store = open_store(base)
        heartbeat(self.store, 0)(EVENT)

    def command(self):
        with self.store.exclusive(0) as mine:
            assert mine
        heartbeat(self.store, 0)(replace(EVENT, epoch=2))

    def epoch(self):
        return json.loads(self.store.files(0).heartbeat.read_bytes())["epoch"]

    def is_old(self):
        return self.epoch() == 1

    def is_new(self):
        return self.epoch() == 2


KINDS = {
    kind.__name__: kind
    for kind in (
        FirstCheckpoint,
        SecondCheckpoint,
        ThirdCheckpoint,
        SeedRecord,
        OtherRecord,
        Views,
        Figure,
        Manifest,
        AttemptsLog,
        Heartbeat,
    )
}


def operations(kind, base):
    """The operations of a kind's command, undisturbed."""
    case = kind(base)
    with Faults(base) as faults:
        case.command()
    assert case.is_new()
    return faults.seen


def drafts(base):
    return [path.name for path in base.rglob(".*") if path.name != ".dglib.lock"]


def goes_on(kind, case, base, where):
    """What is readable now, and what the same command makes of it."""
    assert case.is_old() or case.is_new(), f"neither the old state nor the new after {where}"
    case.command()
    assert case.is_new(), f"the same command does not go on after {where}"
    assert getattr(case, "is_complete", lambda: True)(), f"not complete after {where}"
    assert getattr(kind, "leaves_drafts", False) or drafts(base) == [], f"left behind after {where}"


def kill_at_each(kind, how, base):
    """Kill a kind's command at each operation; how many there are."""
    os.fsync = lambda handle: None  # as above; this is a process of its own
    seen = operations(kind, fresh(base, "whole"))
    for number, operation in enumerate(seen):
        if how == "killed in mid-write" and operation[0] != "write":
            continue
        here = fresh(base, f"at{number}")
        case = kind(here)

        def disturbed(case=case, here=here, number=number):
            with Faults(here, number, how):
                case.command()

        assert ended(forked(disturbed)) == KILLED
        goes_on(kind, case, here, f"a kill at operation {number}, {operation}")
    return seen


def what_it_tells(command):
    """The message that a command ends with, or None where it gets through."""
    try:
        command()
    except StorageError as error:
        return str(error)
    return None


def is_one_line_about(message, directory):
    return "\n" not in message and str(directory) in message


def fresh(base, name):
    (base / name).mkdir()
    return base / name


@pytest.mark.parametrize("how", KILLS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_kill_at_any_operation_leaves_the_old_state_or_the_new_and_the_same_command_goes_on(
    kind, how, tmp_path
):
    seen = alone(kill_at_each, KINDS[kind], how, tmp_path)
    names = [name for name, _ in seen]
    assert {"open", "write", "fsync", "close"} <= set(names)
    assert {"replace", "link", "unlink"} & set(names) or kind == "AttemptsLog"


@pytest.mark.parametrize("how", FAILURES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_failing_disk_at_any_operation_gives_one_clear_line_and_leaves_the_old_state_or_the_new(
    kind, how, tmp_path
):
    kind, failed = KINDS[kind], 0
    for number, operation in enumerate(operations(kind, fresh(tmp_path, "whole"))):
        here = fresh(tmp_path, f"at{number}")
        case = kind(here)
        where = f"{how} at operation {number}, {operation}"
        with Faults(here, number, how):
            told = what_it_tells(case.command)
        if told is not None:
            failed += 1
            assert is_one_line_about(told, here), where
            assert os.strerror(FAILURES[how][0]) in told, where
        goes_on(kind, case, here, where)
    assert failed > 2 or kind in (Heartbeat, AttemptsLog)


def test_the_operations_are_seen_one_by_one(tmp_path):
    """Otherwise the tests above would inject nothing."""
    case = ThirdCheckpoint(tmp_path)
    with Faults(tmp_path) as faults:
        checkpoint.save(case.path, made_checkpoint(9))
    name = case.path.name
    assert [(done, "draft" if file.startswith(f".{name}.") else file) for done, file in faults.seen] == [
        ("open", "draft"),
        ("write", "draft"),
        ("fsync", "draft"),
        ("close", "draft"),
        ("replace", name),
        ("replace", "draft"),
        ("open", "checkpoints"),
        ("fsync", "checkpoints"),
        ("close", "checkpoints"),
    ]


def test_a_write_that_takes_a_part_at_a_time_writes_all_of_it(tmp_path, monkeypatch):
    write = os.write
    monkeypatch.setattr(os, "write", lambda handle, content: write(handle, bytes(content[:7])))
    case = ThirdCheckpoint(tmp_path)
    case.command()
    AttemptsLog(tmp_path).command()
    monkeypatch.undo()
    assert case.is_new()
    assert len(read_attempts(tmp_path / "seed.jsonl")) == 2


def test_a_file_system_without_hard_links_keeps_the_first_record_as_well(tmp_path, monkeypatch):
    def no_links(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    path = tmp_path / "record.json"
    assert write_once(path, b"first")
    assert not write_once(path, b"second")
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("record.json", b"first")]


# ── a whole run ──


def small_run(base):
    store = open_store(base)
    run_experiment(
        store, [0, 1], DATA, CPU, checkpoint_epochs=1, sinks_for=[heartbeat], tell=lambda line: None
    )
    return store


def without_time(records):
    return [{**record, "time": None} for record in records]


def run_with_faults(how, every, base):
    """Disturb a run of two seeds at each operation, or each `every`th; operations and failures."""
    os.fsync = lambda handle: None
    progress.time = SimpleNamespace(monotonic=lambda: 1e9, time=lambda: 1e9)  # the same heartbeats always
    with Faults(fresh(base, "whole")) as whole:
        expected = without_time(small_run(base / "whole").records())
    failed = 0
    for number in range(0, len(whole.seen), every):
        here = fresh(base, f"at{number}")

        def disturbed(here=here, number=number):
            with Faults(here, number, how):
                told = what_it_tells(lambda: small_run(here))
            if told is not None:
                assert is_one_line_about(told, here)
                os._exit(3)

        status = ended(forked(disturbed))
        where = f"{how} at operation {number}, {whole.seen[number]}"
        assert status in ((KILLED,) if how in KILLS else (0, 3)), where
        failed += status == 3
        store = small_run(here)
        assert without_time(store.records()) == expected, where
        assert drafts(here) == [], where
        assert list((store.directory / "checkpoints").iterdir()) == [], where
        assert len(json.loads((store.directory / "T1-spinodal_results.json").read_bytes())) == 2
    return len(whole.seen), failed


@pytest.mark.slow
@pytest.mark.parametrize("how", ["killed", "no space left"])
def test_a_whole_run_disturbed_at_operations_of_all_kinds_ends_in_the_same_records(how, tmp_path):
    every = 6  # with 1 it takes minutes, and passes as well
    count, failed = alone(run_with_faults, how, every, tmp_path)
    assert count > 100
    assert how in KILLS or failed > 0.7 * count / every


def test_only_what_a_killed_write_of_a_seeds_own_file_left_is_cleared_away(tmp_path):
    store = open_store(tmp_path)
    folder = store.files(0).record.parent
    kept = [".T1-spinodal-000.json", ".T1-spinodal-001.json.12.0123abcd", "T1-spinodal-000.json.12.0123abcd"]
    for name in [*kept, ".T1-spinodal-000.json.12.0123abcd"]:
        (folder / name).touch()
    with store.exclusive(0):
        pass
    assert sorted(path.name for path in folder.iterdir()) == sorted(kept)
