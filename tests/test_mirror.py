"""A mirror gives the old files or the new ones, whatever fails and when, and refuses a second machine."""

import os
import shutil
import signal
import socket
import tempfile
import threading
import time
from contextlib import suppress
from itertools import count
from pathlib import Path

import pytest
from alone import alone, ended, forked
from faults import KILLED, KILLS, Faults
from mirror_cases import (
    VIEWS,
    checkpoint,
    contents,
    files,
    first_state,
    put,
    second_state,
    silent,
    stored,
    sync,
    to_mirror,
)

from dglib.control import Interrupted, unwinding
from dglib.errors import StorageError, UserError
from dglib.files import sealed
from dglib.runs import location, mirror
from dglib.runs.location import Mirror
from dglib.runs.mirror import MirrorFolder, restore

MEMORY = Path("/dev/shm")  # these tests flush often; no disk is needed for what they show
PATIENCE = 120  # seconds, on a loaded machine
OLD = Path(__file__).parent / "results" / "mirror_0.1.0"  # of the two states in mirror_cases


@pytest.fixture
def base(tmp_path):
    with tempfile.TemporaryDirectory(dir=MEMORY if os.access(MEMORY, os.W_OK) else tmp_path) as name:
        yield Path(name)


@pytest.fixture
def local(base):
    first_state(base / "local")
    return base / "local"


@pytest.fixture
def remote(base):
    return base / "remote"


@pytest.fixture
def lines():
    return []


def until(condition):
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)


def manifests(remote):
    return sorted(path.name for path in (remote / "mirror").glob("manifest-*"))


def claims(remote):
    return list((remote / "mirror").glob("claim-*"))


def is_whole(remote):
    """Whether every copy that a manifest names is there and intact, and every manifest readable."""
    folder = MirrorFolder(remote)
    copies = [entry for files in folder.generations.values() for entry in files.values()]
    return not folder.torn and None not in map(folder.content, copies)


def test_a_pass_copies_what_a_run_needs_and_the_last_one_its_views(local, remote):
    expected = to_mirror(local)
    put(local, locks__T1_000_lock=b"", heartbeats__T1_001_json=b"{}", checkpoints__T1_001_old=checkpoint(50))
    put(local, checkpoints__T1_003_damaged=b"torn", notes_txt=b"mine")
    (local / "seeds" / ".T1_000.json.draft").write_bytes(b"half")
    assert sync(local, remote)
    assert contents(remote) == expected
    named = {entry.stored for entry in MirrorFolder(remote).files().values()}
    present = {name for name in files(remote) if not Path(name).name.startswith(("manifest-", "claim-"))}
    assert present == {f"mirror/{name}" for name in named}
    sync(local, remote, last=True)
    (remote / "T1_results.csv").write_bytes(b"torn by a kill")
    sync(local, remote, last=True)
    assert {name: files(remote)[name] for name in VIEWS} == {name: files(local)[name] for name in VIEWS}
    before = {p: (p.stat().st_ino, p.stat().st_mtime_ns) for p in (remote, *remote.rglob("*"))}
    assert not sync(local, remote, last=True)
    assert before == {p: (p.stat().st_ino, p.stat().st_mtime_ns) for p in (remote, *remote.rglob("*"))}
    put(local, seeds__T1_001_json=b"record 1")  # killed between the record and the checkpoint's removal
    sync(local, remote)
    assert "checkpoints/T1_001.ckpt" not in contents(remote)
    shutil.rmtree(local)
    with pytest.raises(StorageError):
        sync(local, remote)
    assert contents(remote)["seeds/T1_001.json"] == b"record 1"
    assert not local.exists()


def test_a_checkpoint_in_training_is_copied_every_quarter_of_an_hour_and_by_the_last_pass(local, remote):
    state = local / "checkpoints" / "T1_001.ckpt"

    def copy_after(seconds, steps, **options):
        put(local, checkpoints__T1_001_ckpt=checkpoint(steps))
        os.utime(state, (1000 + seconds, 1000 + seconds))
        sync(local, remote, **options)
        return contents(remote)["checkpoints/T1_001.ckpt"]

    copies = [copy_after(*state) for state in ((0, 1), (899, 2), (901, 3), (1800, 4))]
    assert copies == [checkpoint(1), checkpoint(1), checkpoint(3), checkpoint(3)]
    assert copy_after(1801, 5, last=True) == checkpoint(5)


# ── faults ──


def prepared(base):
    """A mirror with two generations and its run, further on: its files before the next pass and after it."""
    local, remote = base / "local", base / "remote"
    first_state(local)
    for steps in (20, 30, 40):  # so that the next pass has something to remove
        put(local, checkpoints__T1_002_ckpt=checkpoint(steps))
        sync(local, remote)
    before = contents(remote)
    assert [name[:17] for name in manifests(remote)] == ["manifest-00000002", "manifest-00000003"]
    assert len(list((remote / "mirror" / "checkpoints").glob("T1_002*"))) == 2
    second_state(local)
    return local, remote, before, to_mirror(local)


def without_checkpoints(found):
    return {path: content for path, content in found.items() if not path.startswith("checkpoints/")}


def disturb_passes(how, base):
    """Disturb the last pass at each of its operations; the number left as before, and in all."""
    local, remote, before, after = prepared(base)
    left_before = 0
    for at in count():
        target, where = base / f"at-{at}", f"{how} at operation {at}"
        shutil.copytree(remote, target)

        def disturbed(target=target, at=at):
            with Faults(target, at, how) as faults, suppress(OSError):
                sync(local, target, last=True)
            return len(faults.seen) > at

        wrong = ended(forked(disturbed)) == KILLED if how in KILLS else disturbed()
        found = contents(target)
        if how in KILLS:
            assert found in (before, after), f"{where}: a mix"
            assert is_whole(target) or MirrorFolder(target).torn, where
        else:  # without space the records and logs make a generation without the checkpoints
            assert found.items() <= before.items() | after.items(), where
            assert without_checkpoints(found) in map(without_checkpoints, (before, after)), where
        left_before += found == before
        sync(local, target, last=True)
        assert contents(target) == after, f"{where}: not mended"
        assert is_whole(target), where
        if not wrong:
            return left_before, at
        shutil.rmtree(target)


@pytest.mark.parametrize("how", ["killed in mid-write", "no space left", "input/output error for once"])
def test_a_kill_or_failure_at_any_operation_of_a_pass_leaves_the_old_files_or_the_new_ones(how, base):
    left_before, operations = alone(disturb_passes, how, base) if how in KILLS else disturb_passes(how, base)
    assert 0 < left_before < operations


def kill_restores(base):
    """Kill a restore at each of its operations; how many there are."""
    _, remote, expected, _ = prepared(base)
    for at in count():
        target = base / f"at-{at}" / "run"

        def killed(target=target, at=at):
            with Faults(target, at, "killed"):
                restore(MirrorFolder(remote), target)

        status = ended(forked(killed))
        there = {p: c for p, c in files(target).items() if not Path(p).name.startswith(".")}
        assert there.items() <= expected.items(), f"killed at operation {at}: a file is torn"
        assert "T1_manifest.json" not in there or there == expected, f"{at}: taken for whole"
        assert restore(MirrorFolder(remote), target) == []
        assert expected.items() <= files(target).items(), f"killed at operation {at}: not completed"
        if status == 0:
            return at


def test_a_kill_at_any_operation_of_a_restore_is_completed_by_the_next(base):
    assert alone(kill_restores, base) > 20


def test_a_mirror_that_was_unmounted_is_not_made_anew_below_its_mount_point(base, local):
    drive = base / "drive"
    run = Mirror(local, drive / "run", silent)
    run.sync()
    drive.rename(base / "unmounted")
    with pytest.raises(OSError, match="no longer mounted"):
        run.sync()
    assert not drive.exists()
    (base / "unmounted").rename(drive)
    run.sync()


# ── restoring ──


def damage(path):
    """One bit the other way."""
    content = path.read_bytes()
    path.write_bytes(bytes([*content[:-3], content[-3] ^ 1, *content[-2:]]))


def test_an_older_copy_replaces_a_damaged_manifest_or_file_and_the_damage_is_named(base, local, remote):
    sync(local, remote)
    before = to_mirror(local)
    second_state(local)
    sync(local, remote)
    after = to_mirror(local)
    spare = shutil.copytree(remote, base / "spare")
    manifest = remote / "mirror" / manifests(remote)[-1]
    damage(manifest)
    assert restore(MirrorFolder(remote), base / "one") == [f"{manifest.name} (unreadable)"]
    assert files(base / "one") == before
    state = stored(spare, "checkpoints/T1_002.ckpt")
    damage(state)
    problem = f"checkpoints/{state.name} (an older copy is used)"
    assert restore(MirrorFolder(spare), base / "two") == [problem]
    assert files(base / "two") == after | {"checkpoints/T1_002.ckpt": checkpoint(40)}


def test_a_manifest_that_names_files_outside_the_directory_is_unreadable(local, remote):
    sync(local, remote)
    inside, outside = "seeds/x.json", "seeds/../../x.json"
    names = {inside: f"{inside}.0/../../../x.0", outside: f"{outside}.0"}
    for number, (path, stored_as) in enumerate(names.items(), 8):
        entry = {"stored": stored_as, "sha256": "0" * 64, "size": 0, "modified": 0, "steps": 0}
        content = sealed("mirror manifest", {"number": number, "files": {path: entry}})
        (remote / "mirror" / f"manifest-0000000{number}-00000000.json").write_bytes(content)
    torn = [f"manifest-0000000{number}-00000000.json (unreadable)" for number in (9, 8)]
    assert restore(MirrorFolder(remote), local) == torn


def test_of_two_copies_of_a_seed_the_one_with_more_steps_stays_whatever_the_clocks(base, local, remote):
    run = shutil.copytree(local, base / "run")
    second_state(local)
    put(local, checkpoints__T1_003_ckpt=checkpoint(50), attempts__T1_003_jsonl=b"there\n")
    put(local, checkpoints__T1_004_ckpt=checkpoint(50))
    sync(local, remote)
    put(run, checkpoints__T1_002_ckpt=checkpoint(95), checkpoints__T1_003_ckpt=checkpoint(5))
    put(run, attempts__T1_003_jsonl=b"here\n", seeds__T1_000_json=b"ours")
    os.utime(run / "checkpoints" / "T1_002.ckpt", (1, 1))
    os.utime(run / "checkpoints" / "T1_003.ckpt", (2**31, 2**31))
    put(run, checkpoints__T1_004_ckpt=b"torn", checkpoints__T1_004_old=checkpoint(60))
    expected = files(run) | {"seeds/T1_001.json": b"record 1", "attempts/T1_003.jsonl": b"there\n"}
    expected["checkpoints/T1_003.ckpt"] = checkpoint(50)
    assert restore(MirrorFolder(remote), run) == []
    assert files(run) == expected


def test_a_mirror_of_release_0_1_0_is_restored_and_continued(base):
    remote, run = shutil.copytree(OLD, base / "remote"), base / "run"
    first_state(base / "expected")
    second_state(base / "expected")
    assert restore(MirrorFolder(remote), run) == []
    assert files(run) == to_mirror(base / "expected")
    put(run, seeds__T1_002_json=b"record 2")
    assert sync(run, remote)
    assert contents(remote)["seeds/T1_002.json"] == b"record 2"
    assert contents(remote)["seeds/T1_000.json"] == b"record 0"


# ── two machines ──


def test_a_second_machine_is_refused_until_the_first_has_died(base, local, remote, monkeypatch, lines):
    first, other = Mirror(local, remote, lines.append), base / "other"
    first.sync()
    [claim] = claims(remote)
    restore(MirrorFolder(remote), other)
    monkeypatch.setattr(socket, "gethostname", lambda: "other-machine")
    before = files(remote)
    with pytest.raises(UserError) as caught:
        sync(other, remote)
    assert f"{claim.name.split('-', 4)[4]} trains this run" in str(caught.value)
    assert str(claim) in str(caught.value)
    assert files(remote) == before
    put(local, attempts__T1_001_jsonl=b"began\n")
    assert sync(local, remote), "another process of the first machine"
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + mirror.STALE_S + 2)
    put(other, seeds__T1_002_json=b"record 2")
    assert sync(other, remote)
    put(local, seeds__T1_001_json=b"record 1")
    with first:
        until(lambda: lines)
    [line] = lines
    assert line.startswith(f"mirror: stopped, the run continues in {local}: ")
    assert "other-machine trains this run" in line
    assert "seeds/T1_001.json" not in contents(remote)


def test_of_two_machines_that_began_at_once_exactly_one_gives_up(base, local, remote):
    sync(local, remote)
    second, spare = base / "second", base / "spare"
    shutil.copytree(local, second, ignore=shutil.ignore_patterns("locks"))
    sync(second, spare)
    for claim in claims(spare):  # as if both had read before either had written
        shutil.copy(claim, remote / "mirror")
    refused = 0
    for run in (local, second):
        try:
            sync(run, remote)
        except UserError:
            refused += 1
    assert refused == 1


# ── in the background ──


@pytest.fixture
def hasty(monkeypatch):
    monkeypatch.setattr(location, "RETRY_S", 0.04)
    monkeypatch.setattr(location, "LAST_TRIES_S", (0.0, 0.01, 0.01))
    monkeypatch.setattr(location, "POLL_S", 0.01)
    monkeypatch.setattr(location, "STOP_S", PATIENCE)


def test_a_failing_mirror_is_reported_once_tried_again_and_reported_when_it_works(base, local, lines, hasty):
    drive = base / "drive"
    drive.write_bytes(b"a file where the mirror's directory should be")
    with Mirror(local, drive / "run", lines.append):
        until(lambda: lines)
        time.sleep(0.1)
        [line] = lines
        assert line.startswith(f"mirror: fails and is tried again, the run continues in {local}: ")
        drive.unlink()
        until(lambda: len(lines) == 2)
    assert lines[1:] == [f"mirror: works again: {drive / 'run'}", f"mirror: complete in {drive / 'run'}"]
    assert contents(drive / "run") == to_mirror(local)


def test_a_mirror_that_hangs_holds_up_neither_the_run_nor_its_end(local, remote, lines, hasty, monkeypatch):
    release, reached, real = threading.Event(), threading.Event(), os.fsync

    def hang(handle):
        reached.set()
        release.wait(PATIENCE)
        real(handle)

    monkeypatch.setattr(os, "fsync", hang)
    monkeypatch.setattr(location, "STOP_S", 0.05)
    before = threading.active_count()
    with Mirror(local, remote, lines.append):
        assert reached.wait(PATIENCE)
    assert lines == [f"mirror: the last state is only in {local}: the last pass was cut off"]
    release.set()
    until(lambda: threading.active_count() == before)


def test_a_stop_waits_for_the_last_pass_and_a_second_one_does_not(local, remote, lines, hasty, monkeypatch):
    def stopped_run():
        with unwinding(), Mirror(local, remote, lines.append):
            until(lambda: contents(remote) == to_mirror(local))
            put(local, checkpoints__T1_002_ckpt=checkpoint(77))
            signal.raise_signal(signal.SIGTERM)

    def hang(*_):
        if not release.is_set():
            signal.pthread_kill(threading.main_thread().ident, signal.SIGTERM)
            release.wait(PATIENCE)

    with pytest.raises(Interrupted):
        stopped_run()
    assert lines == [f"mirror: complete in {remote}"]
    assert claims(remote) == []
    assert contents(remote) == to_mirror(local)
    assert set(files(remote)) >= VIEWS
    second_state(local)
    release, before = threading.Event(), threading.active_count()
    monkeypatch.setattr(location, "write", hang)  # which the last pass calls
    with pytest.raises(Interrupted):
        stopped_run()
    assert is_whole(remote)
    assert lines[1:] == [f"mirror: the last state is only in {local}: the last pass was cut off"]
    release.set()
    until(lambda: threading.active_count() == before)


def test_a_first_stop_during_the_last_pass_waits_for_its_end(local, remote, lines, hasty, monkeypatch):
    stopped, real = threading.Event(), location.write

    def slow(path, content):
        if not stopped.is_set():
            stopped.set()
            signal.pthread_kill(threading.main_thread().ident, signal.SIGTERM)
            time.sleep(0.2)  # during which the main thread is interrupted
        real(path, content)

    monkeypatch.setattr(location, "write", slow)  # which the last pass calls
    with pytest.raises(Interrupted), unwinding(), Mirror(local, remote, lines.append):
        until(lambda: contents(remote) == to_mirror(local))
    assert lines == [f"mirror: complete in {remote}"]
    assert set(files(remote)) >= VIEWS
