"""A run directory without training, faults at any operation on files, and a script that kills at each.

    python tests/mirror_cases.py DIRECTORY

It prints after how many kills of a pass the old generation was there, after how many the new one, and how
many kills of a restore were made good.
"""

import errno
import hashlib
import io
import os
import shutil
import sys
import time
import warnings
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from dglib.mirror import Mirror, newest, restore

OPERATIONS = ["open", "write", "fsync", "close", "mkdir", "unlink"]
OPERATIONS += ["link", "replace", "utime", "scandir", "listdir", "stat"]
_MOMENTS = count(time.time_ns(), 1_000_000)


def checkpoint(steps, size=300):
    """A file with a checkpoint's first line; the content goes with the steps."""
    body = (b"%d\n" % steps * size)[:size]
    return b"dglib checkpoint 1 %s %d\n" % (hashlib.sha256(body).hexdigest().encode(), steps) + body


def put(directory, **files):
    """Write files atomically, as a run does: `put(d, a__b_json=b"...")` writes a/b.json.

    Each is later than those before it, also where the system's clock for files ticks seldom.
    """
    for name, content in files.items():
        head, _, suffix = name.rpartition("_")
        path = directory / f"{head.replace('__', '/')}.{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.draft")
        draft.write_bytes(content)
        os.utime(draft, ns=(next(_MOMENTS),) * 2)
        draft.replace(path)


def first_state(local):
    """A run with a finished seed and two under way."""
    put(
        local,
        T1_manifest_json=b'{"fingerprint": "f"}',
        seeds__T1_000_json=b"record 0",
        checkpoints__T1_001_ckpt=checkpoint(100),
        checkpoints__T1_002_ckpt=checkpoint(40),
        attempts__T1_000_jsonl=b"began\nended\n",
        T1_results_json=b"[0]",
        T1_results_csv=b"seed\n0\n",
        figures__T1_png=b"one point",
    )


def second_state(local):
    """The same run later: seed 1 has finished, seed 2 is further, and the views were built anew."""
    put(local, seeds__T1_001_json=b"record 1", checkpoints__T1_002_ckpt=checkpoint(90))
    (local / "checkpoints" / "T1_001.ckpt").unlink()
    put(local, T1_results_json=b"[0, 1]", T1_results_csv=b"seed\n0\n1\n", figures__T1_png=b"two points")


def contents(manifest):
    """The files of a generation, read and checked; None for None."""
    return None if manifest is None else {path: manifest.read(path) for path in manifest.files}


def files(directory):
    """All files below a directory, with their contents."""
    return {
        str(p.relative_to(directory)): p.read_bytes() for p in sorted(directory.rglob("*")) if p.is_file()
    }


class Faults:
    """Counts operations on files below a root and calls `strike(operation)` before those numbered in `at`."""

    def __init__(self, root, at=(), strike=None):
        self.root, self.at, self.strike = str(root), at, strike
        self.operations, self.handles = [], set()
        self.real = {name: getattr(os, name) for name in OPERATIONS} | {"read": io.open}

    def _concerns(self, subject):
        if isinstance(subject, int):
            return subject in self.handles
        return os.fspath(subject).startswith(self.root)

    def _wrap(self, name):
        def call(subject, *args, **kwargs):
            if not self._concerns(subject):
                return self.real[name](subject, *args, **kwargs)
            self.operations.append((name, subject, *args))
            if len(self.operations) - 1 in self.at:
                if name == "write" and args:  # torn: half of it arrives
                    self.real["write"](subject, args[0][: len(args[0]) // 2])
                if name == "close":
                    self.real["close"](subject)
                self.strike(name)
            result = self.real[name](subject, *args, **kwargs)
            if name == "open":
                self.handles.add(result)
            elif name == "close":
                self.handles.discard(subject)
            return result

        return call

    @contextmanager
    def installed(self):
        for name in OPERATIONS:
            setattr(os, name, self._wrap(name))
        io.open = self._wrap("read")
        try:
            yield self
        finally:
            for name in OPERATIONS:
                setattr(os, name, self.real[name])
            io.open = self.real["read"]


def disconnected(operation):
    raise OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN))


def quiet(line):
    pass


def prepare(base):
    """A mirror with generations behind it and its run, further on: (local, remote, old, new).

    Old and new are the contents of the newest generation before the next pass and after it.
    """
    local, remote = base / "local", base / "remote"
    first_state(local)
    mirror = Mirror(local, remote, tell=quiet)
    for steps in (20, 30, 40):  # so that the next pass has something to delete
        put(local, checkpoints__T1_002_ckpt=checkpoint(steps))
        mirror.sync()
    old = contents(newest(remote))
    second_state(local)
    spare = base / "spare"
    shutil.copytree(remote, spare)
    Mirror(local, spare, tell=quiet).sync()
    new = contents(newest(spare))
    shutil.rmtree(spare)
    assert old != new
    return local, remote, old, new


def killed_at(operation, root, action):
    """Run an action in a child that dies at the operation of this number; False where it got to the end."""
    child = os.fork()
    if not child:
        try:
            with Faults(root, [operation], lambda name: os._exit(9)).installed():
                action()
            os._exit(0)
        except BaseException as error:
            print("in the child:", repr(error), file=sys.stderr)
            os._exit(1)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, 9), status
    return status == 9


def kill_passes(base):
    """Kill a pass at each of its operations; returns how many left the old generation, how many the new."""
    local, remote, old, new = prepare(base)
    found = {"old": 0, "new": 0}
    for at in count():
        target = base / f"at-{at}"
        shutil.copytree(remote, target)
        killed = killed_at(at, target, lambda target=target: Mirror(local, target, tell=quiet).sync())
        there = contents(newest(target))
        assert there in (old, new), f"killed at operation {at}: a mix"
        found["new" if there == new else "old"] += 1
        mirror = Mirror(local, target, tell=quiet)
        mirror.sync()
        mirror.sync()
        assert contents(newest(target)) == new, f"killed at operation {at}: not made good"
        named = {entry.stored for entry in newest(target).files.values()}
        left = {p for p in files(target / "mirror") if p.startswith("checkpoints/")} - named
        assert len(left) <= 2, f"killed at operation {at}: {left} stay for good"
        if not killed:
            return found


def kill_restores(base):
    """Kill a restore at each of its operations; returns how many were tried."""
    _, remote, new, _ = prepare(base)
    for at in count():
        target = base / f"at-{at}" / "run"
        killed = killed_at(at, target, lambda target=target: restore(remote, target))
        if target.exists():
            whole = {p: c for p, c in files(target).items() if not Path(p).name.startswith(".")}
            assert whole.items() <= new.items(), f"killed at operation {at}: a file is torn"
            assert "T1_manifest.json" not in whole or whole == new, (
                f"killed at operation {at}: taken for whole"
            )
        assert restore(remote, target) or not killed or whole == new
        assert new.items() <= files(target).items(), f"killed at operation {at}: not made good"
        if not killed:
            return at


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    place = Path(sys.argv[1])
    (place / "pass").mkdir(parents=True)
    (place / "restore").mkdir()
    print(*kill_passes(place / "pass").values(), kill_restores(place / "restore"))
