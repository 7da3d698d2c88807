"""Truncated and flipped files: the older generation or a clear refusal, never a wrong result."""

import json
import os
import random
import re
import shutil
import warnings

import pytest
from small import CPU, StopAfter, open_store, random_data, small_spec, without_time

from dglib.control import Interrupted
from dglib.errors import UserError
from dglib.files import sealed, unsealed
from dglib.runs import checkpoint
from dglib.runs.checkpoint import Saving
from dglib.runs.progress import logged_attempt
from dglib.runs.seed import run_experiment, run_seed

SPEC = small_spec("T1", batch_size=4, init_epochs=2, return_lambdas=[0.3])
DATA = random_data()


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    """Nothing here ends the machine, so files need not be flushed to the disk."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)


def flipped(content, count, below=None):
    """The same bytes with one bit flipped, so many times, the same ones in every run."""
    for bit in random.Random(0).sample(range(8 * (below or len(content))), count):
        changed = bytearray(content)
        changed[bit // 8] ^= 1 << bit % 8
        yield bytes(changed)


def truncated(content, count):
    return [content[:n] for n in random.Random(1).sample(range(len(content)), count)]


@pytest.fixture(scope="module")
def generations(tmp_path_factory):
    """The bytes of a seed's newest checkpoint, after 20 steps, and of the one before it, after 9."""
    path = tmp_path_factory.mktemp("whole") / "seed.ckpt"
    for steps in (9, 11):
        with pytest.raises(Interrupted):
            run_seed(SPEC, 0, DATA, CPU, saving=Saving(path), control=StopAfter(steps))
    return path.read_bytes(), checkpoint.older(path).read_bytes()


def test_the_older_checkpoint_replaces_a_damaged_newest_one(generations, tmp_path):
    newest, older = generations
    path, head = tmp_path / "seed.ckpt", newest.index(b"\n") + 1
    checkpoint.older(path).write_bytes(older)
    damaged = [*flipped(newest, 60), *flipped(newest, 200, below=head), *truncated(newest, 60)]
    refusals = []
    for content in damaged:
        path.write_bytes(content)
        with warnings.catch_warnings(record=True) as raised:
            warnings.simplefilter("always")
            try:
                saved = checkpoint.load(path)
            except UserError as error:
                refusals.append((str(error), path.read_bytes() == content))
                continue
        assert saved.steps == 9
        (warning,) = raised
        assert re.search(r"^passed over .*seed\.ckpt: .*; resuming from seed\.old$", str(warning.message))
        assert path.with_suffix(".damaged").read_bytes() == content
    assert all("seed.ckpt: written by a newer version" in line and same for line, same in refusals)
    assert len(refusals) < 10


def test_a_damaged_seed_record_is_refused_by_name_or_is_the_same(tmp_path):
    record = json.loads(json.dumps(run_seed(SPEC, 0, DATA, CPU)))
    content, path = sealed("seed record", record), tmp_path / "T1-spinodal-000.json"
    head = content.index(b"\n")
    damaged = [*flipped(content, 100), *flipped(content, 150, below=head), *truncated(content, 50)]
    refusals = []
    for changed in damaged:
        path.write_bytes(changed)
        try:
            assert unsealed("seed record", path) == record
        except UserError as error:
            refusals.append(str(error))
    assert all(line.startswith(f"{path}: ") for line in refusals)
    assert len(refusals) > 0.9 * len(damaged)


def test_a_run_with_a_damaged_manifest_is_resumed_as_it_was_or_named_and_left_alone(tmp_path):
    first, _ = open_store(tmp_path, SPEC, DATA)
    first.save({"seed": 0, "experiment": "T1", "outcome": "no_event", "time": 1.0})
    content = first.manifest_path.read_bytes()
    resumed = named = 0
    for damaged in [*flipped(content, 60), *truncated(content, 15)]:
        first.manifest_path.write_bytes(damaged)
        store, why = open_store(tmp_path, SPEC, DATA)
        if store.directory == first.directory:
            resumed += 1
            assert why == f"resuming {first.directory.name}"
        else:
            named += 1
            assert f"passed over {first.directory.name}, whose manifest is damaged" in why
            assert store.records() == []
            shutil.rmtree(store.directory)
    assert named > 30
    assert resumed > 1
    first.manifest_path.write_bytes(content)
    assert open_store(tmp_path, SPEC, DATA)[0].finished(0)


def test_damaged_heartbeats_and_attempts_stop_no_run_and_change_no_record(tmp_path):
    store, _ = open_store(tmp_path, SPEC, DATA)
    files = store.files(0)
    with logged_attempt(files.attempts, files.heartbeat) as begin:
        begin(5, 6)
    files.heartbeat.write_text('{"epochs_done": 3, "error": 0.5}\n')
    for path in (files.attempts, files.heartbeat):
        for damaged in [*flipped(path.read_bytes(), 60), b"", b"\xff"]:
            path.write_bytes(damaged)
            with logged_attempt(files.attempts, files.heartbeat) as begin:
                begin(5, 6)
    (record,) = run_experiment(store, [0], DATA, CPU, report=print)
    assert without_time(record) == without_time(run_seed(SPEC, 0, DATA, CPU))
