"""Disks that really fill, turn read-only or vanish in mid-run: one clear line, then the run resumes."""

import re
import shutil
import subprocess
from contextlib import suppress

import pytest
from small import CPU, open_store, random_data, small_spec, unreadable, without_time

from dglib.errors import StorageError
from dglib.files import phase_end_paths
from dglib.protocol.events import EpochDone
from dglib.runs import checkpoint
from dglib.runs.identity import manifests
from dglib.runs.progress import heartbeat
from dglib.runs.reading import find_records
from dglib.runs.seed import run_experiment, run_seed
from dglib.runs.store import read_records
from dglib.runs.verify import verify

SPEC = small_spec("T1", batch_size=8, network_width=1.0, return_lambdas=[0.3])
DATA = random_data()


@pytest.fixture(scope="module")
def undisturbed():
    return [without_time(run_seed(SPEC, seed, DATA, CPU)) for seed in (0, 1)]


def mount(*arguments):
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"mounting takes root: {done.stderr.strip()}")


def test_a_run_directory_that_cannot_be_listed_is_an_error_and_not_an_empty_one(tmp_path, monkeypatch):
    store, _ = open_store(tmp_path, SPEC, DATA)
    store.save({"seed": 0, "experiment": "T1", "outcome": "no_event", "time": 1.0})
    run = store.directory
    with monkeypatch.context() as patch:
        unreadable(patch, run)
        for read in (
            lambda: read_records(run, "T1"),
            lambda: find_records(run),
            lambda: manifests(run),
            lambda: verify(run),
            lambda: phase_end_paths(run / "T1-spinodal-000.ckpt"),
        ):
            with pytest.raises(StorageError, match=r"cannot be read: Input/output error"):
                read()
    assert store.finished(0)


@pytest.fixture
def disk(tmp_path):
    """A small file system of its own."""
    path = tmp_path / "disk"
    path.mkdir()
    mount("-t", "tmpfs", "-o", "size=8m", "tmpfs", path)
    yield path
    subprocess.run(["umount", "-l", path], check=False, capture_output=True)


def run(base, at_epoch=None, happens=None, seed=0):
    """Run two seeds; something happens to the disk at the end of an epoch of one of them."""

    def watching(store, current):
        def watch(event):
            if isinstance(event, EpochDone) and (current, event.epoch) == (seed, at_epoch):
                happens(store.directory)

        return watch

    sinks = [heartbeat] if happens is None else [heartbeat, watching]
    store = open_store(base, SPEC, DATA)[0]
    records = run_experiment(
        store, [0, 1], DATA, CPU, checkpoint_epochs=1, sinks_for=sinks, report=lambda line: None
    )
    return [without_time(record) for record in records]


def stops(base, at_epoch, happens, reason, seed=0):
    """The run stops with one line that names a file and the reason."""
    with pytest.raises(StorageError) as stopped:
        run(base, at_epoch, happens, seed)
    assert re.fullmatch(
        rf"{re.escape(str(base))}\S*: cannot be \w+: (?:{reason}); what was .* again", str(stopped.value)
    )


def saved_steps(base):
    (path,) = base.glob("*/checkpoints/T1-*.ckpt")
    return checkpoint.load(path).steps


def fill(directory):
    """Take all the space there is."""
    with (directory.parent / "filler").open("wb", buffering=0) as filler:
        for size in (1 << 16, 1 << 12, 1):
            with suppress(OSError):
                while True:
                    filler.write(bytes(size))


def test_a_disk_that_fills_stops_the_run_and_with_space_again_it_resumes(disk, undisturbed):
    stops(disk, 4, fill, "No space left on device")
    assert saved_steps(disk) == 9  # three epochs; the fourth could not be saved
    assert not [path for path in disk.rglob(".*") if path.name != ".dglib.lock"]
    (disk / "filler").unlink()
    assert run(disk) == undisturbed


@pytest.mark.parametrize(("seed", "epoch"), [(0, 1), (1, 4)])
def test_a_run_directory_removed_in_mid_run_stops_it_and_does_not_come_back_empty(
    seed, epoch, tmp_path, undisturbed
):
    def remove(directory):
        removed.append(directory)
        shutil.rmtree(directory)

    removed = []
    stops(tmp_path, epoch, remove, "No such file or directory|the run directory has vanished", seed)
    assert removed
    assert list(tmp_path.glob("exp_*")) == []
    assert run(tmp_path) == undisturbed
