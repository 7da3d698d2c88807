"""A run directory without training, and what is on its mirror."""

import hashlib
import os
import time
from itertools import count

from dglib.runs.location import Mirror
from dglib.runs.mirror import MirrorFolder

_MOMENTS = count(time.time_ns(), 10**12)
VIEWS = {"T1_results.json", "T1_results.csv", "figures/T1.png"}


def checkpoint(steps, size=300):
    """A file like a checkpoint; the content goes with the steps."""
    body = (b"%d\n" % steps * size)[:size]
    return b"dglib checkpoint 1 %s %d\n" % (hashlib.sha256(body).hexdigest().encode(), steps) + body


def put(directory, **files):
    """Write files atomically, as a run does: `put(d, a__b_json=b"...")` writes a/b.json.

    Each is a quarter of an hour later than the one before it: a checkpoint in training is copied.
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
    """A run with a finished seed and two that are not."""
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


def files(directory):
    """All files below a directory, with their contents."""
    return {
        str(p.relative_to(directory)): p.read_bytes() for p in sorted(directory.rglob("*")) if p.is_file()
    }


def to_mirror(local):
    """What a mirror of a run directory holds but for the views."""
    kept = ("seeds/", "checkpoints/", "attempts/", "T1_manifest")
    return {path: content for path, content in files(local).items() if path.startswith(kept)}


def contents(remote):
    """The files that another machine would restore, by path, and that their hashes hold."""
    found = MirrorFolder(remote)
    return {path: found.content(entry) for path, entry in found.files().items()}


def stored(remote, path):
    """Where the newest generation has a file."""
    found = MirrorFolder(remote)
    return found.path / found.copies(path)[0].stored


def silent(line):
    pass


def sync(local, remote, **options):
    """A pass of a new process of the machine."""
    return Mirror(local, remote, silent).sync(**options)
