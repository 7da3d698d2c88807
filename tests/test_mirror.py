"""A mirror gives the old files or the new ones, whatever fails and when, and two machines are kept apart."""

import errno
import io
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
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

from dglib.errors import StorageError, UserError
from dglib.files import sealed
from dglib.runs import mirror, mirror_store
from dglib.runs.location import restore
from dglib.runs.mirror import Mirror
from dglib.runs.mirror_store import Remote
from dglib.runs.verify import verify

MEMORY = Path("/dev/shm")  # these tests flush often; no disk is needed for what they show
PATIENCE = 120  # seconds, on a loaded machine
OLD = Path(__file__).parent / "results" / "mirror_0.1.0"  # of the two states in mirror_cases


@pytest.fixture
def base(tmp_path):
    if not os.access(MEMORY, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=MEMORY) as name:
        yield Path(name)


@pytest.fixture
def local(base):
    first_state(base / "local")
    return base / "local"


@pytest.fixture
def remote(base):
    return base / "remote"


@pytest.fixture
def said():
    return []


def until(condition):
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)


def manifests(remote):
    return sorted(path.name for path in (remote / "mirror").glob("manifest-*"))


def wrong(remote):
    """The files that `verify` finds to be not as the mirror's manifests have them."""
    of_a_mirror = ("; manifest-", "manifest of a mirror", "the mirror's manifest")
    return [f.path for f in verify(remote) if any(words in f.problem for words in of_a_mirror)]


def unexpected(remote):
    """Beside those, what no manifest names."""
    return wrong(remote) + [f.path for f in verify(remote) if "no manifest names it" in f.problem]


# ── what is mirrored ──


def test_records_checkpoints_attempts_and_the_manifest_are_mirrored_and_nothing_else(local, remote):
    expected = to_mirror(local)
    put(local, locks__T1_000_lock=b"", heartbeats__T1_001_json=b"{}", checkpoints__T1_001_old=checkpoint(50))
    put(local, checkpoints__T1_003_damaged=b"torn", notes_txt=b"mine")
    (local / "seeds" / ".T1_000.json.draft").write_bytes(b"half")
    assert sync(local, remote)
    assert contents(remote) == expected
    assert unexpected(remote) == []
    named = {entry.stored for entry in Remote(remote).generations[0].files.values()}
    lying = {name for name in files(remote / "mirror") if not name.startswith(("manifest-", "claim-"))}
    assert lying == named
    assert all(len(name.rpartition(".")[2]) == 16 for name in named)


def test_a_second_pass_without_a_change_writes_nothing(local, remote):
    one = Mirror(local, remote, silent)
    one.sync(last=True)
    before = {p: (p.stat().st_ino, p.stat().st_mtime_ns) for p in (remote, *remote.rglob("*"))}
    assert not one.sync()
    assert not one.sync(last=True)
    assert before == {p: (p.stat().st_ino, p.stat().st_mtime_ns) for p in (remote, *remote.rglob("*"))}


def test_views_are_written_at_the_end_alone_under_their_plain_names_and_only_what_changed(local, remote):
    sync(local, remote)
    assert {name for name in files(remote) if not name.startswith("mirror/")} == set()
    sync(local, remote, last=True)
    assert {name: files(remote)[name] for name in VIEWS} == {name: files(local)[name] for name in VIEWS}
    (remote / "T1_results.csv").write_bytes(b"torn by a kill")
    assert wrong(remote) == [remote / "T1_results.csv"]
    for name in VIEWS:
        os.utime(remote / name, (1, 1))
    sync(local, remote, last=True)
    assert unexpected(remote) == []
    assert {name for name in VIEWS if (remote / name).stat().st_mtime == 1} == VIEWS - {"T1_results.csv"}


def test_a_checkpoint_in_training_is_copied_every_quarter_of_an_hour_and_at_once_when_training_stops(
    local, remote
):
    holder, state = local / "locks" / "T1_001.holder", local / "checkpoints" / "T1_001.ckpt"
    put(local, locks__T1_001_holder=b"{}")
    os.utime(holder, (1000, 1000))
    (local / "checkpoints" / "T1_002.ckpt").unlink()

    def steps_after(seconds, steps):
        put(local, checkpoints__T1_001_ckpt=checkpoint(steps))
        os.utime(state, (1000 + seconds, 1000 + seconds))
        sync(local, remote)
        entry = Remote(remote).generations[0].files.get("checkpoints/T1_001.ckpt")
        return entry and entry.steps

    assert steps_after(60, 1) is None
    assert [steps_after(*state) for state in ((900, 2), (1500, 3), (1799, 4), (1800, 5), (1860, 6))] == [
        *(2, 2, 2),
        *(5, 5),
    ]
    holder.unlink()
    assert steps_after(1861, 7) == 7


def test_a_finished_seeds_checkpoint_leaves_and_what_is_gone_here_stays(local, remote):
    sync(local, remote)
    put(local, seeds__T1_001_json=b"record 1")  # killed between the record and the checkpoint's removal
    (local / "checkpoints" / "T1_002.ckpt").rename(local / "checkpoints" / "T1_002.old")
    sync(local, remote)
    assert "checkpoints/T1_001.ckpt" not in contents(remote)
    assert contents(remote)["checkpoints/T1_002.ckpt"] == checkpoint(40)
    before = contents(remote)
    shutil.rmtree(local)
    with pytest.raises(StorageError):
        sync(local, remote)
    assert contents(remote) == before
    assert not local.exists()


@pytest.mark.parametrize("worse", [checkpoint(200)[:-1], checkpoint(99), b""])
def test_a_damaged_or_less_far_checkpoint_takes_no_good_ones_place(worse, local, remote):
    sync(local, remote)
    put(local, checkpoints__T1_001_ckpt=worse)
    assert not sync(local, remote)
    assert contents(remote)["checkpoints/T1_001.ckpt"] == checkpoint(100)


def test_a_record_on_the_mirror_is_never_replaced(local, remote):
    sync(local, remote)
    put(local, seeds__T1_000_json=b"record 0, once more")
    sync(local, remote)
    assert contents(remote)["seeds/T1_000.json"] == b"record 0"


def test_the_two_newest_whole_generations_are_kept_and_no_more(local, remote):
    for steps in range(100, 600, 100):
        put(local, checkpoints__T1_001_ckpt=checkpoint(steps))
        sync(local, remote)
    assert [name[:17] for name in manifests(remote)] == ["manifest-00000004", "manifest-00000005"]
    assert len(list((remote / "mirror" / "checkpoints").glob("T1_001*"))) == 2
    stored(remote, "checkpoints/T1_001.ckpt").write_bytes(b"")
    put(local, checkpoints__T1_001_ckpt=checkpoint(600))
    sync(local, remote)
    assert [name[:17] for name in manifests(remote)] == ["manifest-00000004", "manifest-00000006"]


def test_a_pass_begun_anew_mends_what_was_damaged_or_lost_and_writes_over_nothing(local, remote):
    sync(local, remote)
    expected = contents(remote)
    torn = stored(remote, "checkpoints/T1_001.ckpt")
    torn.write_bytes(b"torn")
    flipped = stored(remote, "seeds/T1_000.json")
    flipped.write_bytes(b"rEcord 0")
    stored(remote, "checkpoints/T1_002.ckpt").unlink()
    sync(local, remote)
    assert contents(remote) == expected
    assert stored(remote, "checkpoints/T1_001.ckpt") not in (torn, flipped)
    assert not flipped.exists() or flipped.read_bytes() == b"rEcord 0"
    shutil.rmtree(remote)
    sync(local, remote)
    assert contents(remote) == expected


# ── faults ──


def prepared(base):
    """A mirror with two generations and its run, further on: its files before the next pass and after it."""
    local, remote = base / "local", base / "remote"
    first_state(local)
    for steps in (20, 30, 40):  # so that the next pass has something to remove
        put(local, checkpoints__T1_002_ckpt=checkpoint(steps))
        sync(local, remote)
    before = contents(remote)
    second_state(local)
    return local, remote, before, to_mirror(local)


def kill_passes(base, how):
    """Kill the last pass at each of its operations; the number left as before, and in all."""
    local, remote, before, after = prepared(base)
    left_before = 0
    for at in count():
        target = base / f"at-{at}"
        shutil.copytree(remote, target)

        def killed(target=target, at=at):
            with Faults(target, at, how):
                sync(local, target, last=True)

        status = ended(forked(killed))
        assert status in (0, KILLED)
        found = contents(target)
        assert found in (before, after), f"killed at operation {at}: a mix"
        assert [path for path in wrong(target) if path.parent.parent == target / "mirror"] == [], at
        left_before += found == before
        sync(local, target, last=True)
        assert contents(target) == after, f"killed at operation {at}: not made good"
        assert unexpected(target) == [], at
        if status == 0:
            return left_before, at
        shutil.rmtree(target)


@pytest.mark.parametrize("how", KILLS)
def test_a_kill_at_any_operation_of_a_pass_leaves_the_old_files_or_the_new_ones(how, base):
    left_before, operations = alone(kill_passes, base, how)
    assert 10 < left_before < operations


def kill_restores(base):
    """Kill a restore at each of its operations; how many there are."""
    _, remote, expected, _ = prepared(base)
    for at in count():
        target = base / f"at-{at}" / "run"

        def killed(target=target, at=at):
            with Faults(target, at, "killed"):
                restore(Remote(remote), target)

        status = ended(forked(killed))
        there = {p: c for p, c in files(target).items() if not Path(p).name.startswith(".")}
        assert there.items() <= expected.items(), f"killed at operation {at}: a file is torn"
        assert "T1_manifest.json" not in there or there == expected, f"{at}: taken for whole"
        assert restore(Remote(remote), target) == []
        assert expected.items() <= files(target).items(), f"killed at operation {at}: not made good"
        if status == 0:
            return at


def test_a_kill_at_any_operation_of_a_restore_is_made_good_by_the_next(base):
    assert alone(kill_restores, base) > 20


def without_checkpoints(found):
    return {path: content for path, content in found.items() if not path.startswith("checkpoints/")}


@pytest.mark.parametrize("how", ["no space left", "input/output error for once", "read-only"])
def test_a_failure_at_any_operation_of_a_pass_loses_nothing_and_is_made_good(how, base):
    local, remote, before, after = prepared(base)
    seen = set()
    for at in count():
        target = base / f"at-{at}"
        shutil.copytree(remote, target)
        with Faults(target, at, how) as faults:
            try:
                sync(local, target, last=True)
            except OSError:
                seen.add(faults.seen[at][0])
        # For want of room the records and logs make a generation without the checkpoints.
        found = contents(target)
        assert found.items() <= before.items() | after.items(), at
        assert without_checkpoints(found) in (without_checkpoints(before), without_checkpoints(after)), at
        sync(local, target, last=True)
        assert contents(target) == after, at
        assert unexpected(target) == [], at
        shutil.rmtree(target)
        if len(faults.seen) <= at:
            break
    assert {"open", "write", "fsync"} <= seen


def test_a_checkpoint_for_which_there_is_no_room_does_not_hold_up_a_record(local, remote, monkeypatch):
    sync(local, remote)
    second_state(local)
    real = os.open

    def no_room(path, *rest):
        if ".ckpt." in str(path):
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(path, *rest)

    monkeypatch.setattr(os, "open", no_room)
    with pytest.raises(OSError, match="No space left"):
        sync(local, remote)
    assert contents(remote)["seeds/T1_001.json"] == b"record 1"
    assert contents(remote)["checkpoints/T1_002.ckpt"] == checkpoint(40)


def test_a_mirror_that_vanished_is_not_made_anew_on_the_disk_below_its_mount_point(base, local, monkeypatch):
    drive = base / "drive"
    drive.mkdir()
    real, mounted = Path.is_mount, {drive}
    monkeypatch.setattr(Path, "is_mount", lambda path: path in mounted or real(path))
    run = Mirror(local, drive / "papers" / "run", silent)
    mounted.clear()
    with pytest.raises(OSError, match="no longer mounted"):
        run.sync()
    assert files(drive) == {}
    mounted.add(drive)
    run.sync()
    assert contents(drive / "papers" / "run") == to_mirror(local)


@pytest.mark.parametrize("module", [os, io])
def test_a_mirror_that_cannot_be_read_is_an_error_and_not_an_empty_one(
    module, base, local, remote, monkeypatch
):
    """Or a run would begin anew beside its own results."""
    sync(local, remote)
    name = {os: "scandir", io: "open"}[module]
    real = getattr(module, name)

    def disconnected(path, *rest, **options):
        if str(path).startswith(str(remote / "mirror")):
            raise OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN))
        return real(path, *rest, **options)

    monkeypatch.setattr(module, name, disconnected)
    with pytest.raises((OSError, StorageError), match="not connected"):
        restore(Remote(remote), base / "run")
    assert not (base / "run").exists()


# ── damage ──


def damaged_in(path, cut):
    """Truncated to a part of its bytes, or one bit the other way."""
    content = path.read_bytes()
    if cut is None:
        path.write_bytes(bytes([*content[:-3], content[-3] ^ 1, *content[-2:]]))
    else:
        path.write_bytes(content[: int(cut * len(content))])


@pytest.mark.parametrize("cut", [None, 0, 0.5, 0.99])
def test_of_a_damaged_newest_manifest_or_file_the_older_one_is_used_and_named(cut, base, local, remote):
    sync(local, remote)
    before = to_mirror(local)
    second_state(local)
    sync(local, remote)
    after = to_mirror(local)
    spare = base / "spare"
    shutil.copytree(remote, spare)
    manifest = remote / "mirror" / manifests(remote)[-1]
    damaged_in(manifest, cut)
    [problem] = restore(Remote(remote), base / "one")
    assert problem == f"{manifest.name} (unreadable)"
    assert files(base / "one") == before
    assert wrong(remote) == [manifest]
    state = stored(spare, "checkpoints/T1_002.ckpt")
    damaged_in(state, cut)
    [problem] = restore(Remote(spare), base / "two")
    assert problem == f"checkpoints/{state.name} (an older copy is used)"
    assert files(base / "two") == after | {"checkpoints/T1_002.ckpt": checkpoint(40)}
    assert wrong(spare) == [state]


def test_what_is_damaged_in_all_generations_costs_that_file_alone(base, local, remote):
    sync(local, remote)
    victim = stored(remote, "seeds/T1_000.json")
    victim.write_bytes(b"")
    assert restore(Remote(remote), base / "run") == [f"seeds/{victim.name} (lost)"]
    assert to_mirror(local).items() - files(base / "run").items() == {("seeds/T1_000.json", b"record 0")}


@pytest.mark.parametrize(
    ("path", "stored_as"),
    [
        ("../outside.json", "seeds/x.json.0"),
        ("/etc/x_manifest.json", "seeds/x.json.0"),
        ("seeds/../../x.json", "seeds/x.json.0"),
        ("other/x.json", "seeds/x.json.0"),
        ("seeds/x.json", "../outside.json"),
        ("seeds/x.json", "/etc/hostname"),
        ("seeds/x.json", "seeds/../../x.json"),
    ],
)
def test_a_manifest_that_leads_out_of_the_directory_is_unreadable(path, stored_as, local, remote):
    sync(local, remote)
    entry = {"stored": stored_as, "sha256": "0" * 64, "size": 0, "modified": 0, "steps": 0}
    name = "manifest-00000009-00000000.json"
    (remote / "mirror" / name).write_bytes(sealed("mirror manifest", {"number": 9, "files": {path: entry}}))
    assert Remote(remote).torn == [name]
    assert restore(Remote(remote), local) == [f"{name} (unreadable)"]


# ── the way back ──


def test_a_restored_directory_is_the_mirrored_one_and_has_nothing_to_copy_back(base, local, remote):
    sync(local, remote)
    run = base / "deep" / "run"
    assert restore(Remote(remote), run) == []
    assert files(run) == to_mirror(local)
    for claim in (remote / "mirror").glob("claim-*"):
        claim.unlink()
    assert not sync(run, remote)


def test_restore_copies_what_is_further_there_and_leaves_what_is_further_here(base, local, remote):
    run = base / "run"
    shutil.copytree(local, run)
    second_state(local)
    sync(local, remote)
    put(run, checkpoints__T1_002_ckpt=checkpoint(95), checkpoints__T1_003_ckpt=checkpoint(5))
    put(run, attempts__T1_000_jsonl=b"later\n", seeds__T1_000_json=b"ours")
    expected = files(run) | {"seeds/T1_001.json": b"record 1"}
    assert restore(Remote(remote), run) == []
    assert files(run) == expected


@pytest.mark.parametrize(("steps", "stays"), [(50, False), (150, True)])
@pytest.mark.parametrize("newer", [checkpoint(900)[:-5], None])
def test_the_older_generation_of_a_checkpoint_counts_where_the_newer_is_torn_or_absent(
    steps, stays, newer, base, local, remote
):
    sync(local, remote)
    put(base / "run", checkpoints__T1_001_old=checkpoint(steps))
    if newer is not None:
        put(base / "run", checkpoints__T1_001_ckpt=newer)
    restore(Remote(remote), base / "run")
    assert (files(base / "run").get("checkpoints/T1_001.ckpt") == checkpoint(100)) != stays


def test_a_mirror_of_release_0_1_0_is_taken_over_and_continued(base):
    remote, run = base / "remote", base / "run"
    shutil.copytree(OLD, remote)
    expected = base / "expected"
    first_state(expected)
    second_state(expected)
    assert restore(Remote(remote), run) == []
    assert files(run) == to_mirror(expected)
    put(run, seeds__T1_002_json=b"record 2")
    assert sync(run, remote)
    assert unexpected(remote) == []
    assert contents(remote)["seeds/T1_002.json"] == b"record 2"
    assert contents(remote)["seeds/T1_000.json"] == b"record 0"


# ── two machines ──


@pytest.fixture
def other(base, local, remote, monkeypatch):
    """Another machine that has taken over the run's files: its run directory."""
    sync(local, remote)
    restore(Remote(remote), base / "other")
    monkeypatch.setattr(socket, "gethostname", lambda: "other-machine")
    return base / "other"


def test_a_second_machine_is_refused_with_the_firsts_name_and_how_to_go_on(other, local, remote):
    before = files(remote)
    with pytest.raises(UserError) as told:
        sync(other, remote)
    [claim] = (remote / "mirror").glob("claim-*")
    host = claim.name.rpartition("-")[2] if claim.name.count("-") == 4 else claim.name.split("-", 4)[4]
    assert f"{host} works on this run" in str(told.value)
    assert str(claim) in str(told.value)
    assert files(remote) == before
    put(local, seeds__T1_001_json=b"record 1")
    assert sync(local, remote), "another process of the first machine"
    for claim in (remote / "mirror").glob("claim-*"):
        claim.unlink()
    put(other, seeds__T1_002_json=b"record 2")
    assert sync(other, remote)


def test_a_machine_that_died_is_replaced_and_gives_up_if_it_comes_back(
    other, local, remote, monkeypatch, said, base
):
    first = Mirror(local, remote, said.append)
    first.sync()
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + mirror_store.STALE_S + 2)
    put(other, seeds__T1_002_json=b"record 2")
    assert sync(other, remote)
    put(local, seeds__T1_001_json=b"record 1")
    with pytest.raises(UserError, match="other-machine works on this run"):
        first.sync()
    with first:
        until(lambda: said)
    [line] = said
    assert line.startswith(f"mirror: stopped, the run continues in {local}: ")
    assert "seeds/T1_001.json" not in contents(remote)


def test_a_clock_that_was_set_back_blocks_nobody(other, local, remote, monkeypatch):
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() - 10**6)
    assert sync(other, remote) in (True, False)


def test_of_two_machines_that_began_at_once_exactly_one_gives_up(base, local, remote):
    sync(local, remote)
    second, spare = base / "second", base / "spare"
    shutil.copytree(local, second, ignore=shutil.ignore_patterns("locks"))
    sync(second, spare)
    for claim in (spare / "mirror").glob("claim-*"):  # as if both had looked before either had written
        shutil.copy(claim, remote / "mirror")
    refused = 0
    for run in (local, second):
        try:
            sync(run, remote)
        except UserError:
            refused += 1
    assert refused == 1


def test_the_claim_goes_when_the_mirror_ends(local, remote, base):
    with Mirror(local, remote, silent):
        until(lambda: list((remote / "mirror").glob("claim-*")))
    assert list((remote / "mirror").glob("claim-*")) == []
    restore(Remote(remote), base / "other")
    put(base / "other", seeds__T1_002_json=b"record 2")
    assert sync(base / "other", remote)


# ── in the background ──


@pytest.fixture
def hasty(monkeypatch):
    monkeypatch.setattr(mirror, "RETRY_S", (0.01, 0.04))
    monkeypatch.setattr(mirror, "LAST_TRIES_S", (0.0, 0.01, 0.01))
    monkeypatch.setattr(mirror, "POLL_S", 0.01)
    monkeypatch.setattr(mirror, "STOP_S", PATIENCE)


def test_a_record_is_copied_when_it_appears_and_the_last_state_at_the_end(local, remote, said, hasty):
    with Mirror(local, remote, said.append):
        until(lambda: contents(remote) == to_mirror(local))
        put(local, seeds__T1_001_json=b"record 1")
        until(lambda: "seeds/T1_001.json" in contents(remote))
        put(local, attempts__T1_001_jsonl=b"began\n", checkpoints__T1_002_ckpt=checkpoint(77))
    assert contents(remote)["checkpoints/T1_002.ckpt"] == checkpoint(77)
    assert contents(remote)["attempts/T1_001.jsonl"] == b"began\n"
    assert set(files(remote)) >= VIEWS
    assert said == [f"mirror: complete in {remote}"]


def test_a_first_interrupt_during_the_last_pass_does_not_cut_it_off(local, remote, said, hasty, monkeypatch):
    real = os.fsync

    def interrupted(handle):
        monkeypatch.setattr(os, "fsync", real)
        signal.raise_signal(signal.SIGINT)
        time.sleep(0.2)
        real(handle)

    def run():
        with Mirror(local, remote, said.append):
            until(lambda: contents(remote) == to_mirror(local))
            put(local, attempts__T1_001_jsonl=b"began\n")
            monkeypatch.setattr(os, "fsync", interrupted)

    with pytest.raises(KeyboardInterrupt):
        run()
    assert contents(remote)["attempts/T1_001.jsonl"] == b"began\n"
    assert said == [f"mirror: complete in {remote}"]


def test_a_failing_mirror_is_reported_once_tried_again_and_reported_when_it_works(base, local, said, hasty):
    drive = base / "drive"
    drive.write_bytes(b"a file where the mirror's directory should be")
    with Mirror(local, drive / "run", said.append):
        until(lambda: said)
        time.sleep(0.1)
        [line] = said
        assert line.startswith(f"mirror: fails and is tried again, the run continues in {local}: ")
        assert "Not a directory" in line
        drive.unlink()
        until(lambda: len(said) == 2)
    assert said[1:] == [f"mirror: works again: {drive / 'run'}", f"mirror: complete in {drive / 'run'}"]
    assert contents(drive / "run") == to_mirror(local)


def test_a_mirror_that_fails_to_the_end_stops_and_names_where_the_last_state_is(base, local, said, hasty):
    (base / "drive").write_bytes(b"")
    with Mirror(local, base / "drive" / "run", said.append):
        pass
    assert said[-1].startswith(f"mirror: the last state is only in {local}: ")
    assert "Not a directory" in said[-1]
    assert len(said) == 2


def test_a_mirror_that_hangs_holds_up_neither_the_run_nor_its_end(local, remote, said, hasty, monkeypatch):
    release, reached, real = threading.Event(), threading.Event(), os.fsync

    def hang(handle):
        reached.set()
        release.wait(PATIENCE)
        real(handle)

    monkeypatch.setattr(os, "fsync", hang)
    monkeypatch.setattr(mirror, "STOP_S", 0.05)
    before = threading.active_count()
    with Mirror(local, remote, said.append):
        assert reached.wait(PATIENCE)
    assert said == [f"mirror: the last state is only in {local}: the last pass was cut off"]
    release.set()
    until(lambda: threading.active_count() == before)


def test_whatever_goes_wrong_in_a_pass_or_in_reporting_it_never_reaches_the_run(
    local, remote, monkeypatch, hasty
):
    def broken(*_):
        raise ValueError("unforeseen")

    monkeypatch.setattr(mirror, "Remote", broken)
    with Mirror(local, remote, broken):
        pass


def test_the_mirror_needs_neither_torch_nor_pandas_nor_pydantic():
    code = "import sys, dglib.runs.mirror; print(sorted({'torch', 'pandas', 'pydantic'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
