"""From a mirror back into a run directory, and which of the two is further."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

from dglib.errors import StorageError
from dglib.files import make_directory, write_atomically, write_once
from dglib.mirror.entries import Entry, Kind, Progress, beside, check_same_run, kind, measure, read_through
from dglib.mirror.generations import Manifest, newest

_ORDER: tuple[Kind, ...] = ("record", "checkpoint", "attempt", "view", "manifest")


def restore(remote: Path, local: Path) -> bool:
    """Bring the newest good generation into a run directory that is absent, empty or behind, file by file.

    Checkpoints that are further here stay, and other files that are later here. A finished seed's record is
    never replaced: one that differs is laid beside it, with a warning. The run's manifest comes last, so that
    a directory that was restored in part is not taken for a whole one.

    Returns:
        Whether anything was brought.

    Raises:
        StorageError: the mirror cannot be read, or the directory not written to.
        UserError: the two are of different runs.
    """
    manifest = newest(remote)
    if manifest is None:
        return False
    try:
        paths = [path for path in manifest.files if _is_wanted(manifest, path, local / path)]
        local.mkdir(parents=True, exist_ok=True)
        for path in sorted(paths, key=lambda path: (_ORDER.index(kind(path) or "view"), path)):
            _lay(manifest, path, local / path)
    except OSError as error:
        raise StorageError.of(local, error) from error
    return bool(paths)


def progress(directory: Path) -> Progress:
    """How far a local run directory is; (0, 0) where there is none. Compare with `Manifest.progress`.

    Raises:
        OSError: a file of it cannot be read.
    """
    folders = [directory / name for name in ("seeds", "checkpoints") if (directory / name).is_dir()]
    names = [f"{folder.name}/{path.name}" for folder in folders for path in folder.iterdir()]
    checkpoints = {name for name in names if kind(name) == "checkpoint"}
    checkpoints |= {f"{name.removesuffix('.old')}.ckpt" for name in names if name.endswith(".old")}
    return measure(names, {name: max(0, _steps(directory / name)) for name in checkpoints})


def _is_wanted(manifest: Manifest, path: str, target: Path) -> bool:
    entry, what = manifest.files[path], kind(path)
    if what == "checkpoint":
        finished = (target.parents[1] / "seeds" / f"{target.stem}.json").exists()
        return not finished and _steps(target) < entry.steps
    if not target.exists():
        return True
    if read_through(target).sha256 == entry.sha256:
        return False
    if what == "record":
        return not _beside(target, entry).exists()
    if what == "manifest":
        check_same_run(path, target.read_bytes(), manifest.read(path), manifest.remote)
    return entry.modified > target.stat().st_mtime_ns


def _lay(manifest: Manifest, path: str, target: Path) -> None:
    entry, content = manifest.files[path], manifest.read(path)
    make_directory(target.parent)
    if kind(path) != "record":
        write_atomically(target, content)
    elif not write_once(target, content):
        stands, target = target, _beside(target, entry)
        write_atomically(target, content)
        warnings.warn(f"{stands}: the mirror's record differs and is kept as {target.name}", stacklevel=3)
    os.utime(target, ns=(entry.modified, entry.modified))


def _beside(target: Path, entry: Entry) -> Path:
    return target.with_name(beside(target.name, entry.sha256))


def _steps(checkpoint: Path) -> int:
    """Steps in the further of a checkpoint's generations; -1 where none is whole."""
    found = [-1]
    for path in (checkpoint, checkpoint.with_suffix(".old")):
        if path.exists():
            steps = read_through(path).steps
            found.append(-1 if steps is None else steps)
    return max(found)
