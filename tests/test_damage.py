"""Truncated and flipped files: the older generation or a clear refusal, never a wrong result."""

import json
import os
import random
import re
import warnings
from pathlib import Path

import pytest
import torch
from small import CPU, StopAfter, open_store, random_data, small_spec, without_time

from dglib.control import Interrupted
from dglib.errors import UserError
from dglib.files import sealed, unsealed
from dglib.runs import checkpoint
from dglib.runs.experiment import run_experiment
from dglib.runs.seed import run_seed

SPEC = small_spec("T1", batch_size=4, init_epochs=2, return_lambdas=[0.3])
DATA = random_data()
STEPS = {"older": 9, "newest": 20}


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    """Nothing here ends the machine, so the disk need not really have it."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)


def sample(key, *arguments):
    return random.Random(key).sample(*arguments)


def flipped(content, bit):
    """The same bytes with one bit the other way."""
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


@pytest.fixture(scope="module")
def generations(tmp_path_factory):
    """The bytes of a seed's newest checkpoint and of the one before it."""
    path = tmp_path_factory.mktemp("whole") / "seed.ckpt"
    for steps in (STEPS["older"], STEPS["newest"] - STEPS["older"]):
        with pytest.raises(Interrupted):
            run_seed(SPEC, 0, DATA, CPU, checkpoint_path=path, control=StopAfter(steps))
    return {"newest": path.read_bytes(), "older": checkpoint.older(path).read_bytes()}


@pytest.fixture(scope="module")
def undisturbed():
    return without_time(run_seed(SPEC, 0, DATA, CPU))


def laid_out(directory, newest, older):
    """A seed's two generations as files."""
    path = directory / "seed.ckpt"
    path.write_bytes(newest)
    checkpoint.older(path).write_bytes(older)
    return path


def loaded(path):
    """The checkpoint that is used, with the warnings about the rest; or the refusal."""
    with warnings.catch_warnings(record=True) as raised:
        warnings.simplefilter("always")
        try:
            return checkpoint.load(path), [str(warning.message) for warning in raised]
        except UserError as refusal:
            return refusal, []


def same(found, expected):
    """Whether two checkpoints, or parts of them, are the same bit for bit."""
    if isinstance(expected, torch.Tensor):
        return torch.equal(found, expected)
    if isinstance(expected, checkpoint.Checkpoint):
        found, expected = vars(found), vars(expected)
    if isinstance(expected, dict):
        return found.keys() == expected.keys() and all(same(found[key], expected[key]) for key in expected)
    if isinstance(expected, list):
        return len(found) == len(expected) and all(map(same, found, expected))
    return found == expected


DAMAGES = {
    "a prefix": lambda content, key: [content[:n] for n in sample(key, range(len(content)), 60)],
    "a flipped bit": lambda content, key: [
        flipped(content, n) for n in sample(key, range(8 * len(content)), 60)
    ],
    # All but the digest's, of which there are many: format, version, steps.
    "a flipped bit of the head": lambda content, key: [
        flipped(content, n)
        for n in range(8 * (content.index(b"\n") + 1))
        if (not 22 * 8 <= n < 84 * 8 and n % 3 == 0) or n % 31 == 0
    ],
    "a lost block": lambda content, key: [
        content[:n] + bytes(512) + content[n + 512 :] for n in sample(key, range(len(content) - 512), 50)
    ],
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_of_a_damaged_newest_checkpoint_the_older_one_is_used_or_a_clear_refusal_given(
    damage, generations, tmp_path
):
    expected = checkpoint.read(laid_out(tmp_path, generations["older"], b""))
    used = refused = 0
    for content in DAMAGES[damage](generations["newest"], damage):
        path = laid_out(tmp_path, content, generations["older"])
        found, lines = loaded(path)
        if isinstance(found, UserError):
            refused += 1
            assert re.search(r"seed\.ckpt: written by a newer version", str(found))
            assert path.read_bytes() == content
        else:
            used += 1
            assert len(lines) == 1
            assert re.search(r"^passed over .*seed\.ckpt: .*; resuming from seed\.old$", lines[0])
            assert same(found, expected)
            assert path.with_suffix(".damaged").read_bytes() == content
    assert used >= 20
    assert refused == 0 or damage == "a flipped bit of the head"


# ── records ──


def read(path):
    """A seed's record, or the refusal."""
    try:
        return unsealed("seed record", path)
    except UserError as refusal:
        return refusal


def test_a_damaged_seed_record_is_refused_by_name_or_is_the_same(tmp_path):
    record = json.loads(json.dumps(run_seed(SPEC, 0, DATA, CPU)))
    content, path = sealed("seed record", record), tmp_path / "T1-spinodal-000.json"
    damaged = [flipped(content, n) for n in sample("record", range(8 * len(content)), 100)]
    damaged += [flipped(content, n) for n in range(0, 8 * content.index(b"\n"), 5)]
    damaged += [content[:n] for n in sample("record", range(len(content)), 50)]
    refused = 0
    for changed in damaged:
        path.write_bytes(changed)
        result = read(path)
        refused += isinstance(result, UserError)
        assert str(result).startswith(f"{path}: ") if isinstance(result, UserError) else result == record
    assert refused > 0.95 * len(damaged)


# ── manifests ──


def damaged_manifests(content):
    flips = [flipped(content, n) for n in sample("manifest", range(8 * len(content)), 60)]
    return flips + [content[:n] for n in sample("manifest", range(len(content)), 15)]


def test_a_run_with_a_damaged_manifest_is_resumed_as_it_was_or_named_and_left_alone(tmp_path):
    first, _ = open_store(tmp_path, SPEC, DATA)
    first.save({"seed": 0, "experiment": "T1", "outcome": "no_event", "time": 1.0})
    content = first.manifest_path.read_bytes()
    resumed = named = 0
    for damaged in damaged_manifests(content):
        first.manifest_path.write_bytes(damaged)
        store, why = open_store(tmp_path, SPEC, DATA)
        if store.directory == first.directory:
            resumed += 1
            assert why == f"resuming {first.directory.name}"
        else:
            named += 1
            assert f"passed over {first.directory.name}, whose manifest is damaged" in why
            assert store.records() == []
            remove(store.directory)
    assert named > 35
    assert resumed > 1
    first.manifest_path.write_bytes(content)
    assert open_store(tmp_path, SPEC, DATA)[0].finished(0)


def remove(directory: Path):
    for path in sorted(directory.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    directory.rmdir()


# ── hints ──


@pytest.mark.parametrize("kind", ["heartbeat", "attempts"])
def test_a_damaged_hint_stops_no_run_and_changes_no_record(kind, tmp_path, undisturbed):
    """Nothing depends on attempts and heartbeats."""
    store, _ = open_store(tmp_path, SPEC, DATA)
    path = getattr(store.files(0), kind)
    attempt = store.begin_attempt(0)
    attempt.begin(5, 6)
    attempt.end("stopped")
    store.files(0).heartbeat.write_text('{"epochs_done": 3, "error": 0.5}\n')
    content = path.read_bytes()
    for damaged in [flipped(content, n) for n in sample(kind, range(8 * len(content)), 60)] + [b"", b"\xff"]:
        path.write_bytes(damaged)
        store.begin_attempt(0)
    path.write_bytes(damaged)
    assert list(map(without_time, run_experiment(store, [0], DATA, CPU, report=print))) == [undisturbed]
