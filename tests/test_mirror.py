"""A mirror gives the old generation or the new one, whatever fails and when, and costs what it may cost."""

import errno
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from itertools import count
from pathlib import Path

import mirror_cases
import pytest
from filelock import FileLock
from mirror_cases import (
    Faults,
    checkpoint,
    contents,
    disconnected,
    files,
    first_state,
    prepare,
    put,
    second_state,
)

from dglib.errors import StorageError, UserError
from dglib.files import sealed
from dglib.mirror import Mirror, background, entries, newest, passes, progress, restore
from dglib.mirror.generations import listing, manifests

MEMORY = Path("/dev/shm")  # these tests flush often; no disk is needed for what they show
PATIENCE = 120  # seconds, on a loaded machine


@pytest.fixture(autouse=True)
def _patient():
    with pytest.MonkeyPatch.context() as patched:  # not `monkeypatch`, which must end before `base` does
        patched.setattr(background, "STOP_S", PATIENCE)
        yield


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


@pytest.fixture
def mirror(local, remote, said):
    return Mirror(local, remote, tell=said.append)


class Clock:
    def __init__(self):
        self.now = 1e9

    def __call__(self):
        return self.now


def until(condition):
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)


def has_come(remote, progress):
    """Whether the newest whole generation is so far; the next one may be half written just now."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        manifest = newest(remote)
    return manifest is not None and manifest.progress == progress


def objects(remote, folder=""):
    return {name for name in files(remote / "mirror") if name.startswith(folder) and "manifest-" not in name}


def generations(remote):
    return sorted(path.name for path in (remote / "mirror").glob("manifest-*"))


def stored(remote, path):
    """Where the newest generation has a file."""
    return remote / "mirror" / newest(remote).files[path].stored


def flip(path, bit):
    content = bytearray(path.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)


# ── what is mirrored ──


def test_records_checkpoints_attempts_manifests_and_views_are_mirrored_and_nothing_else(
    local, mirror, remote
):
    expected = files(local)
    put(
        local,
        locks__T1_000_lock=b"",
        locks__T1_000_holder=b"{}",
        heartbeats__T1_001_json=b"{}",
        checkpoints__T1_001_old=checkpoint(50),
        checkpoints__T1_003_damaged=b"torn",
        notes_txt=b"mine",
    )
    for folder in ("seeds", "checkpoints", "figures", "."):
        (local / folder / ".T1_000.json.draft").write_bytes(b"half")
    mirror.sync()
    assert contents(newest(remote)) == expected
    assert objects(remote) == {entry.stored for entry in newest(remote).files.values()}


def test_every_stored_name_carries_its_contents_hash(mirror, remote):
    mirror.sync()
    for path, entry in newest(remote).files.items():
        assert entry.stored == f"{path}.{entry.sha256[:16]}"


def test_a_manifest_says_progress_and_each_files_size_and_checksum_and_has_its_own(mirror, remote):
    mirror.sync()
    envelope = json.loads((remote / "mirror" / generations(remote)[0]).read_bytes())
    assert envelope["content"]["progress"] == [1, 140]
    assert envelope["content"]["files"]["seeds/T1_000.json"]["size"] == len(b"record 0")
    assert len(envelope["sha256"]) == 64


def test_two_passes_without_a_change_write_nothing(local, mirror, remote):
    mirror.sync()

    def lie():
        return {p: (p.stat().st_ino, p.stat().st_mtime_ns) for p in (remote, *remote.rglob("*"))}

    before = lie()
    for again in (mirror, mirror, Mirror(local, remote, tell=print)):
        assert again.sync() == passes.SyncReport()
    put(local, T1_results_json=b"[0]")  # rebuilt, with the same content
    assert mirror.sync() == passes.SyncReport()
    assert lie() == before


def test_a_change_copies_what_changed_and_no_more(local, mirror):
    mirror.sync()
    put(local, T1_results_json=b"[0, 1]", seeds__T1_004_json=b"record 4")
    report = mirror.sync()
    assert (report.files, report.size) == (2, len(b"[0, 1]") + len(b"record 4"))


def test_an_unchanged_file_is_read_once(local, mirror):
    mirror.sync()
    put(local, seeds__T1_004_json=b"record 4")
    with Faults(local).installed() as faults:
        mirror.sync()
    read = [Path(path).name for name, path, *_ in faults.operations if name == "read"]
    assert set(read) == {"T1_004.json"}


def test_content_that_is_there_is_not_copied_again(local, mirror, remote):
    mirror.sync()
    put(local, figures__again_png=b"one point")
    assert mirror.sync().size == 0
    assert newest(remote).read("figures/again.png") == b"one point"


def test_a_finished_seed_takes_its_checkpoint_out_of_the_next_generation(local, mirror, remote):
    mirror.sync()
    put(local, seeds__T1_001_json=b"record 1")  # killed between the record and the checkpoint's removal
    mirror.sync()
    assert "checkpoints/T1_001.ckpt" not in newest(remote).files
    assert newest(remote).progress == progress(local) == (2, 40)


def test_a_file_that_is_gone_here_stays_on_the_mirror(local, mirror, remote):
    """As a checkpoint is while it becomes the older generation; or everything, with the directory."""
    mirror.sync()
    (local / "checkpoints" / "T1_001.ckpt").rename(local / "checkpoints" / "T1_001.old")
    mirror.sync()
    assert "checkpoints/T1_001.ckpt" in newest(remote).files
    before = contents(newest(remote))
    shutil.rmtree(local)
    with pytest.raises(FileNotFoundError):
        mirror.sync()
    assert not local.exists()
    assert contents(newest(remote)) == before


def test_a_damaged_checkpoint_never_takes_a_good_ones_place(local, mirror, remote, said):
    mirror.sync()
    good = contents(newest(remote))
    put(local, checkpoints__T1_001_ckpt=checkpoint(200)[:-1])
    mirror.sync()
    mirror.sync()
    assert contents(newest(remote)) == good
    assert [line for line in said if "damaged" in line] == [
        "mirror: not mirrored, for it is damaged: checkpoints/T1_001.ckpt"
    ]


# ── generations and quota ──


def test_the_two_newest_generations_and_their_files_are_kept_and_no_more(local, mirror, remote):
    for steps in range(100, 700, 100):
        put(local, checkpoints__T1_001_ckpt=checkpoint(steps))
        mirror.sync()
        assert len(generations(remote)) == min(2, steps // 100)
        assert len(objects(remote, "checkpoints/T1_001")) == min(2, steps // 100)
    assert newest(remote).number == 6
    (remote / "mirror" / newest(remote).name).unlink()
    assert newest(remote).number == 5
    assert newest(remote).files["checkpoints/T1_001.ckpt"].steps == 500


def test_a_damaged_generation_does_not_count_as_one_of_the_two(local, mirror, remote):
    for steps in (100, 200, 300):
        put(local, checkpoints__T1_001_ckpt=checkpoint(steps))
        mirror.sync()
    stored(remote, "checkpoints/T1_001.ckpt").write_bytes(b"")
    put(local, checkpoints__T1_001_ckpt=checkpoint(400))
    mirror.sync()
    assert [name[:17] for name in generations(remote)] == ["manifest-00000002", "manifest-00000004"]


def test_what_nothing_names_goes_at_its_second_sight_but_records_never(mirror, remote):
    mirror.sync()
    strays = [
        remote / "mirror" / name for name in ("checkpoints/x.ckpt.0", "manifest-00000000-12345678.json")
    ]
    record = remote / "mirror" / "seeds" / "T1_009.json.0123456789abcdef"
    for path in (*strays, record):
        path.write_bytes(b"another machine's, on its way")
    mirror.sync()
    assert all(path.exists() for path in strays)
    mirror.sync()
    assert not any(path.exists() for path in strays)
    assert record.exists()


# ── faults ──


def test_a_fault_at_any_operation_of_a_pass_leaves_the_old_generation_or_the_new_one_and_is_made_good(base):
    local, remote, old, new = prepare(base)
    late = {path for path in new if path not in old or new[path] != old[path]} - {"seeds/T1_001.json"}
    assert late == {"checkpoints/T1_002.ckpt", "T1_results.json", "T1_results.csv", "figures/T1.png"}
    found = []
    for at in count():
        target = base / f"at-{at}"
        shutil.copytree(remote, target)
        mirror = Mirror(local, target, tell=print)
        faults = Faults(target, [at], disconnected)
        failed = False
        with faults.installed():
            try:
                mirror.sync()
            except (OSError, UserError):
                failed = True
        there = contents(newest(target))
        for manifest in manifests(target, listing(target)):
            assert contents(manifest), at  # what is deleted is no more named
        # Where a checkpoint or a view finds no room, the records make a generation without it.
        rest = {path: content for path, content in there.items() if path in late}
        assert there == old or (new | rest == there and rest.items() <= {*old.items(), *new.items()}), at
        assert failed or there == new, at
        found.append("old" if there == old else "new" if there == new else "in part")
        mirror.sync()
        assert contents(newest(target)) == new, at
        if len(faults.operations) <= at:
            break
    assert {name for name, *_ in faults.operations} > {"open", "write", "fsync", "close", "unlink", "scandir"}
    assert min(found.count(which) for which in ("old", "new", "in part")) >= 5
    assert len(found) > 60


def test_a_kill_at_any_operation_leaves_one_generation_whole_and_a_restore_that_can_be_repeated(base):
    script = Path(mirror_cases.__file__)
    command = [sys.executable, str(script), str(base / "kills")]
    environment = os.environ | {"PYTHONPATH": str(script.parents[1])}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    left_old, left_new, restores = map(int, done.stdout.split())
    assert left_old > 40
    assert left_new > 4
    assert restores > 40


def test_a_checkpoint_for_which_there_is_no_room_does_not_hold_up_a_record(
    local, mirror, remote, monkeypatch
):
    mirror.sync()
    second_state(local)

    real = os.open

    def no_room(path, *rest):
        if ".ckpt." in str(path):
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(path, *rest)

    monkeypatch.setattr(os, "open", no_room)
    with pytest.raises(OSError, match="No space left"):
        mirror.sync()
    assert newest(remote).progress == (2, 40)


def test_a_mirror_that_vanished_is_not_made_anew_on_the_disk_below_its_mount_point(
    base, local, monkeypatch, said
):
    drive = base / "drive"
    drive.mkdir()
    real = Path.is_mount
    mounted = {drive}
    monkeypatch.setattr(Path, "is_mount", lambda path: path in mounted or real(path))
    mirror = Mirror(local, drive / "papers" / "run", tell=said.append)
    mounted.clear()
    with pytest.raises(OSError, match="no longer mounted"):
        mirror.sync()
    assert files(drive) == {}
    mounted.add(drive)
    mirror.sync()
    assert contents(newest(drive / "papers" / "run")) == files_to_mirror(local)


def files_to_mirror(local):
    return {path: content for path, content in files(local).items() if entries.kind(path)}


def test_a_damaged_copy_is_never_written_over(local, mirror, remote):
    """For a file that is rewritten may never be uploaded."""
    mirror.sync()
    torn = stored(remote, "checkpoints/T1_001.ckpt")
    torn.write_bytes(b"torn")
    Mirror(local, remote, tell=print).sync()
    assert newest(remote).files["checkpoints/T1_001.ckpt"].stored == f"checkpoints/{torn.name}-2"


# ── damage ──


@pytest.fixture
def two_generations(local, mirror, remote):
    mirror.sync()
    second_state(local)
    mirror.sync()
    return remote


def test_any_truncation_or_flipped_bit_of_the_newest_manifest_gives_the_generation_before(two_generations):
    remote = two_generations
    latest = remote / "mirror" / newest(remote).name
    content, draw = latest.read_bytes(), random.Random(1)
    sizes = {0, 1, len(content) - 2, *draw.sample(range(len(content) - 1), 30)}
    torn = [content[:size] for size in sizes]
    for bit in draw.sample(range(8 * len(content)), 40):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        torn.append(bytes(flipped))
    for damaged in torn:
        latest.write_bytes(damaged)
        try:
            same = json.loads(damaged) == json.loads(content)
        except ValueError:
            same = False
        if same:  # a space that became a tab, outside of what the checksum guards
            continue
        with pytest.warns(UserWarning, match=f"going on from manifest-00000001.*damaged: {latest.name}"):
            assert newest(remote).number == 1


def test_any_truncation_or_flipped_bit_of_a_file_gives_the_generation_before(two_generations):
    remote = two_generations
    victim = stored(remote, "checkpoints/T1_002.ckpt")
    content, draw = victim.read_bytes(), random.Random(2)
    for size in (0, 1, 80, len(content) - 1, *draw.sample(range(len(content)), 10)):
        victim.write_bytes(content[:size])
        with pytest.warns(
            UserWarning, match=r"going on from manifest-00000001.*T1_002.ckpt of manifest-00000002"
        ):
            assert newest(remote).number == 1
    for bit in draw.sample(range(8 * len(content)), 20):
        victim.write_bytes(content)
        flip(victim, bit)
        with pytest.warns(UserWarning, match="damaged"):
            assert newest(remote).number == 1
    victim.unlink()
    with pytest.warns(UserWarning, match="damaged"):
        assert newest(remote).number == 1
    victim.write_bytes(content)
    assert newest(remote).number == 2


def test_an_older_generations_damage_is_not_told(two_generations):
    [older, _] = generations(two_generations)
    (two_generations / "mirror" / older).write_bytes(b"torn")
    assert newest(two_generations).number == 2


def test_a_file_damaged_in_both_generations_costs_that_file_alone(two_generations):
    remote = two_generations
    whole = contents(newest(remote))
    flip(stored(remote, "seeds/T1_000.json"), 3)
    with pytest.warns(UserWarning, match=r"no generation is whole.*seeds/T1_000.json"):
        rescued = newest(remote)
    del whole["seeds/T1_000.json"]
    assert contents(rescued) == whole


def test_a_mirror_begun_anew_finds_and_mends_damage_that_keeps_the_size(local, two_generations, said):
    remote = two_generations
    expected = contents(newest(remote))
    for victim in [stored(remote, path) for path in ("checkpoints/T1_002.ckpt", "seeds/T1_000.json")]:
        flip(victim, 3)
    Mirror(local, remote, tell=said.append).sync()
    assert contents(newest(remote)) == expected
    assert not any("not here" in line for line in said)


def test_a_file_lost_during_the_run_is_brought_again(local, mirror, remote):
    mirror.sync()
    expected = contents(newest(remote))
    shutil.rmtree(remote)
    mirror.sync()
    assert contents(newest(remote)) == expected


def test_damage_of_what_only_the_mirror_has_is_told_once_and_deletes_nothing(base, mirror, remote, said):
    mirror.sync()
    victim = stored(remote, "seeds/T1_000.json")
    flip(victim, 3)
    empty = base / "empty"
    empty.mkdir()
    other = Mirror(empty, remote, tell=said.append)
    other.sync()
    other.sync()
    assert said == ["mirror: damaged on the mirror, and not here: seeds/T1_000.json"]
    assert victim.exists()


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
def test_a_manifest_that_leads_out_of_the_directory_is_passed_over(mirror, remote, path, stored_as):
    mirror.sync()
    name = newest(remote).name
    entry = {"stored": stored_as, "sha256": "0" * 64, "size": 0, "modified": 0, "steps": 0}
    content = sealed("mirror manifest", {"number": 9, "written": [], "files": {path: entry}})
    (remote / "mirror" / "manifest-00000009-00000000.json").write_bytes(content)
    with pytest.warns(UserWarning, match="damaged: manifest-00000009"):
        assert newest(remote).name == name


def test_there_is_no_generation_where_nothing_is_mirrored(remote, base):
    assert newest(remote) is None
    assert not restore(remote, base / "run")
    assert not (base / "run").exists()
    (remote / "mirror").mkdir(parents=True)
    assert newest(remote) is None


@pytest.mark.parametrize("operation", ["scandir", "read", "stat"])
def test_a_mirror_that_cannot_be_read_is_an_error_and_not_an_empty_one(base, mirror, remote, operation):
    """Or a run would begin anew beside its own results."""
    mirror.sync()
    with Faults(remote).installed() as faults:
        newest(remote)
    at = [name for name, *_ in faults.operations].index(operation)
    for action in (lambda: newest(remote), lambda: restore(remote, base / "run")):
        with (
            Faults(remote, [at], disconnected).installed(),
            pytest.raises(StorageError, match="not connected"),
        ):
            action()
    assert not (base / "run").exists()


# ── while the run goes on ──


def test_a_file_that_changes_or_vanishes_while_it_is_copied_is_taken_at_the_next_pass(
    local, mirror, remote, monkeypatch
):
    mirror.sync()
    put(local, attempts__T1_001_jsonl=b"began\n", checkpoints__T1_001_ckpt=checkpoint(300))
    log, state = local / "attempts" / "T1_001.jsonl", local / "checkpoints" / "T1_001.ckpt"
    real = os.open

    def interfering(path, *rest):
        handle = real(path, *rest)
        if "T1_001.jsonl." in str(path):
            with log.open("ab") as file:
                file.write(b"ended\n")
        if "T1_001.ckpt." in str(path):
            state.unlink()
        return handle

    monkeypatch.setattr(os, "open", interfering)
    mirror.sync()
    monkeypatch.undo()
    assert "attempts/T1_001.jsonl" not in newest(remote).files
    assert newest(remote).files["checkpoints/T1_001.ckpt"].steps == 100
    assert objects(remote, "attempts/T1_001") == set()
    put(local, checkpoints__T1_001_ckpt=checkpoint(400))
    mirror.sync()
    assert newest(remote).read("attempts/T1_001.jsonl") == b"began\nended\n"
    assert newest(remote).files["checkpoints/T1_001.ckpt"].steps == 400


def test_a_seed_that_finishes_during_a_pass_is_in_it(local, mirror, remote, monkeypatch):
    """Its checkpoint may have gone before it was copied: neither would be there."""
    real = os.open

    def finishing(path, *rest):
        if ".ckpt." in str(path):
            put(local, seeds__T1_001_json=b"record 1")
            (local / "checkpoints" / "T1_001.ckpt").unlink(missing_ok=True)
        return real(path, *rest)

    monkeypatch.setattr(os, "open", finishing)
    mirror.sync()
    assert newest(remote).progress == (2, 40)


def test_a_file_that_changes_while_it_is_first_read_is_not_taken_for_either_version(local, monkeypatch):
    memory = passes.Memory(local)
    real = entries.read_through

    def slow(path):
        content = real(path)
        with path.open("ab") as file:
            file.write(b"more\n")
        return content

    monkeypatch.setattr("dglib.mirror.memory.read_through", slow)
    assert memory.read("attempts/T1_000.jsonl") is None
    monkeypatch.undo()
    assert memory.read("attempts/T1_000.jsonl")[0] == real(local / "attempts" / "T1_000.jsonl")


def test_generations_stay_whole_while_the_run_writes(local, remote, said):
    written, ended = {}, threading.Event()

    def train():
        for step in count(101):
            if ended.is_set():
                return
            versions = {
                "checkpoints/T1_001.ckpt": checkpoint(step, 3000),
                "T1_results.json": b"[%d]" % step * 100,
                f"seeds/T1_{step // 20}.json": b"record %d" % (step // 20),
            }
            for path, content in versions.items():
                written.setdefault(path, set()).add(content)
                time.sleep(0.001)
                put(local, **{path.replace("/", "__").replace(".", "_"): content})

    first = files(local)
    trainer = threading.Thread(target=train)
    trainer.start()
    mirror, seen = Mirror(local, remote, tell=said.append), 0

    def look():
        nonlocal seen
        mirror.sync()
        for path, content in contents(newest(remote)).items():
            seen += path in written
            assert content == first.get(path) or content in written[path]
        return seen > 100 and len(written) > 5

    try:
        until(look)
    finally:
        ended.set()
        trainer.join()
    mirror.sync()
    assert contents(newest(remote)) == files_to_mirror(local)
    assert said == []


# ── bytes an hour ──


def test_checkpoints_and_views_wait_where_the_hours_bytes_are_used_up_and_records_never_do(base, said):
    local, remote, clock = base / "run", base / "remote", Clock()
    mirror = Mirror(local, remote, bytes_per_hour=300_000, tell=said.append, clock=clock)
    written = {}
    for minute in range(0, 240, 6):
        clock.now = 1e9 + 60 * minute
        put(
            local,
            checkpoints__T1_001_ckpt=checkpoint(minute + 1, 40_000),
            T1_results_json=b"%09d" % minute * 999,
        )
        put(local, **{f"seeds__T1_{100 + minute}_json": b"r" * 10})
        before = set(files(remote))
        report = mirror.sync()
        written[minute] = {p: len(c) for p, c in files(remote).items() if p not in before}
        assert newest(remote).files[f"seeds/T1_{100 + minute}.json"].size == 10
        assert set(report.put_off) <= {"checkpoints/T1_001.ckpt", "T1_results.json"}
    for end in written:
        hour = {p: n for minute, new in written.items() if end - 60 < minute <= end for p, n in new.items()}
        assert sum(hour.values()) <= 300_000
        assert sum(n for p, n in hour.items() if ".ckpt" in p or "results" in p) <= 225_000
    assert sum(n for new in written.values() for p, n in new.items() if ".ckpt" in p) >= 4 * 3 * 40_000
    assert newest(remote).files["checkpoints/T1_001.ckpt"].steps > 170  # they go on, hour after hour
    assert any("T1_results.json" in line for line in said)


def test_a_file_put_off_is_told_once_until_it_has_been_brought(base, said):
    local, clock = base / "run", Clock()
    mirror = Mirror(local, base / "remote", bytes_per_hour=3000, tell=said.append, clock=clock)
    for steps in range(1, 6):
        put(local, checkpoints__T1_001_ckpt=checkpoint(steps, 1500))
        report = mirror.sync()
    assert report.put_off == ("checkpoints/T1_001.ckpt",)
    assert len(said) == 1
    assert said[0].startswith("mirror: put off: checkpoints/T1_001.ckpt (1.59 kB); ")
    assert said[0].endswith(" of 3 kB an hour are written")
    clock.now += 3601
    assert mirror.sync().put_off == ()
    put(local, checkpoints__T1_001_ckpt=checkpoint(9, 1500))
    mirror.sync()
    assert len(said) == 2


def test_of_several_checkpoints_the_one_mirrored_longest_ago_goes_first(base):
    local, clock = base / "run", Clock()
    mirror = Mirror(local, base / "remote", bytes_per_hour=30_000, clock=clock, tell=[].append)  # two an hour
    for turn in range(1, 21):
        for seed in range(4):
            put(local, **{f"checkpoints__T1_{seed}_ckpt": checkpoint(10 * turn + seed, 10_000)})
        clock.now += 1200
        mirror.sync()
    steps = [entry.steps // 10 for entry in newest(base / "remote").files.values()]
    assert len(steps) == 4
    assert min(steps) > 10


def test_checkpoints_go_before_views_and_views_do_not_wait_for_the_end(base):
    local, remote = base / "run", base / "remote"
    put(local, checkpoints__T1_001_ckpt=checkpoint(1, 6000), T1_results_json=b"[" * 5000)
    mirror = Mirror(local, remote, bytes_per_hour=10_000, tell=[].append)
    assert mirror.sync().put_off == ("T1_results.json",)
    assert mirror.sync(last=True).put_off == ()
    assert (remote / "T1_results.json").read_bytes() == b"[" * 5000


def test_a_quarter_of_the_hours_bytes_is_kept_for_the_state_that_a_stopped_run_leaves(base):
    local, clock = base / "run", Clock()
    mirror = Mirror(local, base / "remote", bytes_per_hour=20_000, clock=clock, tell=[].append)
    for steps in range(1, 40):
        put(local, checkpoints__T1_001_ckpt=checkpoint(steps, 1000))
        last = mirror.sync()
    assert last.put_off
    assert mirror.sync(last=True).put_off == ()
    assert newest(base / "remote").files["checkpoints/T1_001.ckpt"].steps == 39


def test_the_hour_is_shared_with_the_processes_before_and_beside(base):
    local, clock = base / "run", Clock()
    for steps in range(1, 20):
        put(local, checkpoints__T1_001_ckpt=checkpoint(steps, 1000))
        clock.now += 1
        mirror = Mirror(local, base / "remote", bytes_per_hour=10_000, clock=clock, tell=[].append)
        mirror.sync()
    assert newest(base / "remote").files["checkpoints/T1_001.ckpt"].steps < 10


def test_a_clock_that_was_set_back_stops_no_checkpoint_for_more_than_an_hour(base):
    local, clock = base / "run", Clock()
    mirror = Mirror(local, base / "remote", bytes_per_hour=3000, tell=[].append, clock=clock)
    for steps, back in ((1, 0), (2, 10**6)):
        clock.now -= back
        put(local, checkpoints__T1_001_ckpt=checkpoint(steps, 1500))
        assert mirror.sync().put_off == ()


def test_bytes_written_in_vain_count(local, remote):
    mirror = Mirror(local, remote, tell=print)
    with Faults(remote.with_name("spare")).installed() as faults:
        Mirror(local, remote.with_name("spare"), tell=print).sync()
    flushes = [at for at, (name, *_) in enumerate(faults.operations) if name == "fsync"]
    with Faults(remote, flushes[:1], disconnected).installed(), pytest.raises(OSError, match="not connected"):
        mirror.sync()
    assert mirror._ledger.used() > 0


# ── several machines and processes ──


def test_two_machines_bring_one_run_forward_without_undoing_each_other(base, local, remote):
    here = Mirror(local, remote, tell=print)
    here.sync()
    other = base / "other"
    assert restore(remote, other)
    there = Mirror(other, remote, tell=print)
    put(local, seeds__T1_001_json=b"record 1", T1_results_json=b"[0, 1]")
    (local / "checkpoints" / "T1_001.ckpt").unlink()
    put(
        other, checkpoints__T1_002_ckpt=checkpoint(77), T2_results_json=b"[5]", seeds__T2_005_json=b"record 5"
    )
    for _ in range(3):
        here.sync()
        there.sync()
    manifest = newest(remote)
    assert manifest.progress == (3, 77)
    assert manifest.read("T1_results.json") == b"[0, 1]"
    assert manifest.read("T2_results.json") == b"[5]"
    assert here.sync() == there.sync() == passes.SyncReport()
    assert restore(remote, local)
    assert progress(local) == (3, 77)


def test_a_restored_file_takes_no_later_ones_place(base, local, mirror, remote):
    mirror.sync()
    put(local, T1_results_json=b"[0, 1]")  # before it was restored elsewhere, and mirrored after that
    assert restore(remote, base / "other")
    mirror.sync()
    Mirror(base / "other", remote, tell=print).sync()
    assert newest(remote).read("T1_results.json") == b"[0, 1]"


def test_of_two_versions_the_first_record_the_furthest_checkpoint_and_the_latest_file_stand():
    first, second = (entries.Entry("", sha, 1, modified, 0) for sha, modified in (("a", 5), ("b", 9)))
    further = entries.Entry("", "c", 1, 1, 30)
    assert entries.preferred("seeds/T1_000.json", first, second) is first
    assert entries.preferred("T1_results.json", first, second) is second
    assert entries.preferred("T1_results.json", second, first) is second
    for there, other in ((further, second), (second, further)):
        assert entries.preferred("checkpoints/T1_000.ckpt", there, other) is further


def test_a_checkpoint_that_is_less_far_takes_no_place_on_the_mirror(local, mirror, remote):
    mirror.sync()
    put(local, checkpoints__T1_001_ckpt=checkpoint(99))
    assert mirror.sync() == passes.SyncReport()
    assert newest(remote).files["checkpoints/T1_001.ckpt"].steps == 100


def test_of_two_records_of_one_seed_the_first_stands_and_the_other_is_kept_and_named(
    base, local, mirror, remote, said
):
    mirror.sync()
    other = base / "other"
    put(other, T1_manifest_json=b'{"fingerprint": "f"}', seeds__T1_000_json=b"record 0, another time")
    there = Mirror(other, remote, tell=said.append)
    there.sync()
    there.sync()
    manifest = newest(remote)
    [beside] = [path for path in manifest.files if ".other-" in path]
    assert manifest.read("seeds/T1_000.json") == b"record 0"
    assert manifest.read(beside) == b"record 0, another time"
    assert manifest.progress[0] == 1
    assert said == ["mirror: another record of seeds/T1_000.json is there and stands; both are kept"]

    with pytest.warns(UserWarning, match="the mirror's record differs and is kept as T1_000.other-"):
        restore(remote, other)
    assert (other / "seeds" / "T1_000.json").read_bytes() == b"record 0, another time"
    kept = [path.read_bytes() for path in (other / "seeds").glob("*.other-*.json")]
    assert sorted(kept) == [b"record 0", b"record 0, another time"]
    assert progress(other)[0] == 1
    assert not restore(remote, other)


def test_runs_with_different_fingerprints_are_never_mixed(base, local, mirror, remote):
    mirror.sync()
    before = files(remote)
    put(local, T1_manifest_json=b'{"fingerprint": "g"}', seeds__T1_007_json=b"another run's")
    with pytest.raises(UserError, match=r"T1_manifest\.json has another fingerprint"):
        mirror.sync()
    assert contents(newest(remote)).keys() == set(contents_of(before))
    local_before = files(local)
    with pytest.raises(UserError, match="another fingerprint"):
        restore(remote, local)
    assert files(local) == local_before


def contents_of(lying):
    [manifest] = [json.loads(c) for name, c in lying.items() if "manifest-0" in name]
    return manifest["content"]["files"]


def test_one_process_of_a_machine_mirrors_at_a_time(local, mirror, remote, monkeypatch):
    mirror.sync()
    put(local, seeds__T1_001_json=b"record 1")
    waits = []

    def lock(path, timeout):
        waits.append(timeout)
        return FileLock(path, timeout=timeout)

    monkeypatch.setattr(background, "FileLock", lock)
    with FileLock(local / "locks" / "mirror.lock"):
        assert mirror.sync() == passes.SyncReport()
        assert waits == [0]
        monkeypatch.setattr(background, "STOP_S", 0.2)
        with pytest.raises(TimeoutError):
            mirror.sync(last=True)
    assert newest(remote).progress[0] == 1
    assert mirror.sync(last=True).files == 1


# ── the way back ──


def test_a_restored_directory_is_the_mirrored_one(base, local, mirror, remote):
    mirror.sync()
    expected = files_to_mirror(local)
    assert restore(remote, base / "deep" / "run")
    assert files(base / "deep" / "run") == expected
    assert progress(base / "deep" / "run") == newest(remote).progress == (1, 140)
    assert not restore(remote, base / "deep" / "run")


def test_a_restored_directory_has_nothing_to_bring_back(base, mirror, remote):
    mirror.sync()
    restore(remote, base / "run")
    before = files(remote)
    assert Mirror(base / "run", remote, tell=print).sync() == passes.SyncReport()
    assert files(remote) == before


def test_restore_brings_what_is_further_and_leaves_what_is_further_here(base, local, mirror, remote):
    restored = base / "run"
    shutil.copytree(local, restored)
    second_state(local)
    mirror.sync()
    put(restored, checkpoints__T1_002_ckpt=checkpoint(95), checkpoints__T1_003_ckpt=checkpoint(5))
    put(restored, T1_results_csv=b"made anew, later\n")
    assert restore(remote, restored)
    assert (restored / "seeds" / "T1_001.json").read_bytes() == b"record 1"
    assert (restored / "checkpoints" / "T1_002.ckpt").read_bytes() == checkpoint(95)
    assert (restored / "T1_results.csv").read_bytes() == b"made anew, later\n"
    assert (restored / "figures" / "T1.png").read_bytes() == b"two points"
    put(local, checkpoints__T1_002_ckpt=checkpoint(200), checkpoints__T1_003_ckpt=checkpoint(6))
    mirror.sync()
    assert restore(remote, restored)
    assert progress(restored) == (2, 206)


def test_restore_brings_no_checkpoint_of_a_seed_that_is_finished_here(base, mirror, remote):
    mirror.sync()
    put(base / "run", seeds__T1_001_json=b"record 1")
    restore(remote, base / "run")
    assert [path.name for path in (base / "run" / "checkpoints").iterdir()] == ["T1_002.ckpt"]


@pytest.mark.parametrize(("steps", "stays"), [(50, False), (150, True)])
def test_the_older_generation_of_a_checkpoint_counts_where_the_newer_is_torn_or_absent(
    base, mirror, remote, steps, stays
):
    mirror.sync()
    for newer in (checkpoint(900)[:-5], None):
        run = base / f"run-{newer is None}"
        put(run, checkpoints__T1_001_old=checkpoint(steps))
        if newer is not None:
            put(run, checkpoints__T1_001_ckpt=newer)
        assert progress(run) == (0, steps)
        restore(remote, run)
        laid = run / "checkpoints" / "T1_001.ckpt"
        assert (laid.exists() and laid.read_bytes() == checkpoint(100)) != stays
        assert (run / "checkpoints" / "T1_001.old").read_bytes() == checkpoint(steps)


def test_restore_takes_the_generation_before_where_the_newest_is_damaged(base, two_generations):
    stored(two_generations, "checkpoints/T1_002.ckpt").unlink()
    with pytest.warns(UserWarning, match="going on from manifest-00000001"):
        assert restore(two_generations, base / "run")
    assert progress(base / "run") == (1, 140)


def test_a_failing_local_disk_is_a_storage_error(base, mirror, remote):
    mirror.sync()
    (base / "file").write_bytes(b"")
    with pytest.raises(StorageError, match="Not a directory"):
        restore(remote, base / "file" / "run")


# ── progress ──


def test_progress_compares_finished_seeds_first_and_steps_then(base):
    assert progress(base / "absent") == (0, 0)
    put(base / "a", seeds__T1_000_json=b"r", checkpoints__T1_001_ckpt=checkpoint(5))
    put(base / "b", seeds__T1_000_json=b"r", checkpoints__T1_001_ckpt=checkpoint(4))
    put(base / "c", checkpoints__T1_000_ckpt=checkpoint(10**9))
    assert progress(base / "a") > progress(base / "b") > progress(base / "c")


def test_checkpoints_of_finished_seeds_records_kept_beside_and_drafts_are_no_progress(base):
    put(base, seeds__T1_000_json=b"r", checkpoints__T1_000_ckpt=checkpoint(5))
    put(base, **{"seeds__T1_000.other-12345678_json": b"r"})
    (base / "seeds" / ".T1_001.json").write_bytes(b"draft")
    assert progress(base) == (1, 0)


# ── in the background ──


@pytest.fixture
def hasty(monkeypatch):
    monkeypatch.setattr(background, "RETRY_S", (0.01, 0.04))
    monkeypatch.setattr(background, "LAST_TRIES_S", (0.0, 0.01, 0.01))


def test_the_mirror_follows_the_run_and_stop_brings_the_last_state(local, remote, said):
    with Mirror(local, remote, period_s=0.01, tell=said.append):
        until(lambda: has_come(remote, (1, 140)))
        put(local, seeds__T1_001_json=b"record 1")
        until(lambda: has_come(remote, (2, 40)))
    with Mirror(local, remote, period_s=1000, tell=said.append):
        put(local, seeds__T1_002_json=b"record 2")
    assert newest(remote).progress == (3, 0)
    assert contents(newest(remote)) == {
        path: content for path, content in files_to_mirror(local).items() if "checkpoints" not in path
    }


def test_stop_lays_the_views_under_their_own_names_and_nothing_but_views(local, remote, said):
    expected = {path: c for path, c in files(local).items() if entries.kind(path) == "view"}
    with Mirror(local, remote, tell=said.append):
        pass
    lying = {path: c for path, c in files(remote).items() if not path.startswith("mirror/")}
    assert lying == expected
    assert set(lying) == {"T1_results.json", "T1_results.csv", "figures/T1.png"}
    (remote / "T1_results.csv").write_bytes(b"torn by a kill")
    for path in lying:
        os.utime(remote / path, (1, 1))
    with Mirror(local, remote, tell=said.append):
        pass
    assert {path: (remote / path).read_bytes() for path in lying} == expected
    unchanged = {path for path in lying if (remote / path).stat().st_mtime == 1}
    assert unchanged == set(lying) - {"T1_results.csv"}


def test_stop_tells_the_bytes_in_all_and_in_the_busiest_hour(base, remote, said):
    local, clock = base / "run", Clock()
    mirror = Mirror(local, remote, period_s=1000, tell=said.append, clock=clock)
    put(local, locks__x_lock=b"", seeds__T1_000_json=b"r" * 5_000_000)
    mirror.sync()
    clock.now += 2 * 3600
    put(local, seeds__T1_001_json=b"s" * 3_000_000)
    mirror.start()
    mirror.stop()
    assert said == [f"mirror: 8 MB written in 2.0 h, 5 MB in the busiest hour to {remote}"]


def test_a_failing_mirror_is_told_of_once_tried_again_and_told_of_once_when_it_works(
    base, local, said, hasty
):
    drive = base / "drive"
    drive.write_bytes(b"a file where the mirror's directory should be")
    with Mirror(local, drive / "run", period_s=0.01, tell=said.append) as mirror:
        until(lambda: len(said) == 1)
        time.sleep(0.1)
        assert len(said) == 1
        assert said[0].startswith("mirror: fails and is tried again, the run goes on: ")
        assert "Not a directory" in said[0]
        drive.unlink()
        until(lambda: len(said) == 2)
        assert said[1] == f"mirror: works again: {drive / 'run'}"
        until(lambda: has_come(drive / "run", (1, 140)))
        faults = Faults(drive, at=range(10**9), strike=disconnected)
        with faults.installed():
            until(lambda: len(said) == 3)
            assert "Transport endpoint is not connected" in said[2]
        until(lambda: len(said) == 4)
        put(local, seeds__T1_001_json=b"record 1")
    assert mirror._problem is None
    assert newest(drive / "run").progress[0] == 2


def test_the_pauses_between_tries_grow(local, remote, said, monkeypatch):
    mirror = Mirror(local, remote, period_s=7.0, tell=said.append)
    results = iter([True, *[False] * 9, True, False])
    pauses = []

    def wait(pause):
        pauses.append(pause)
        return len(pauses) > 12

    monkeypatch.setattr(mirror._stopping, "wait", wait)
    monkeypatch.setattr(mirror, "_try", lambda last=False: last or next(results))
    mirror._run()
    assert pauses == [0, 7, 10, 20, 40, 80, 160, 320, 600, 600, 600, 7, 10]


def test_a_mirror_that_fails_to_the_end_stops_in_bounded_time_and_says_where_the_last_state_is(
    base, local, said, hasty
):
    (base / "drive").write_bytes(b"")
    with Mirror(local, base / "drive" / "run", period_s=0.01, tell=said.append):
        pass
    assert len(said) == 2
    assert f"the last state is only in {local}: " in said[1]
    assert "Not a directory" in said[1]


def test_a_mirror_that_hangs_holds_up_neither_the_run_nor_its_end(local, remote, said, hasty, monkeypatch):
    release, reached, real = threading.Event(), threading.Event(), os.fsync

    def hang(handle):
        reached.set()
        release.wait(PATIENCE)
        real(handle)

    monkeypatch.setattr(background, "STOP_S", 0.05)
    monkeypatch.setattr(os, "fsync", hang)
    mirror = Mirror(local, remote, tell=said.append)
    mirror.start()
    thread = mirror._thread
    assert reached.wait(PATIENCE)
    mirror.stop()
    assert thread.is_alive()
    assert "it does not answer" in said[0]
    assert thread.daemon
    release.set()
    thread.join(PATIENCE)
    assert not thread.is_alive()


def test_whatever_goes_wrong_in_a_pass_or_in_telling_of_it_never_reaches_the_run(
    local, remote, monkeypatch, hasty
):
    def broken(*args, **kwargs):
        raise ValueError("unforeseen")

    monkeypatch.setattr(background, "Pass", broken)
    mirror = Mirror(local, remote, period_s=0.01, tell=broken)
    with mirror:
        until(lambda: mirror._problem is not None)
    assert str(mirror._problem) == "unforeseen"


def test_a_mirror_may_be_stopped_twice_or_before_it_began_and_begun_again(local, remote, said):
    mirror = Mirror(local, remote, period_s=0.01, tell=said.append)
    mirror.stop()
    assert said == []
    mirror.start()
    mirror.stop()
    mirror.stop()
    assert len(said) == 1
    mirror.start()
    time.sleep(0.05)
    put(local, seeds__T1_001_json=b"record 1")
    until(lambda: has_come(remote, (2, 40)))
    mirror.stop()


def test_the_mirror_needs_neither_torch_nor_pandas_nor_pydantic():
    code = "import sys, dglib.mirror; print(sorted({'torch', 'pandas', 'pydantic'} & set(sys.modules)))"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        == "[]\n"
    )
