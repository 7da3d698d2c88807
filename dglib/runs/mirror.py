"""A copy of a run directory on a mounted Drive: its format, the machine that has claimed it, and restoring.

A Drive loses renames, locks and now and then itself. So a mirror needs none of them:

    <remote>/mirror/
        manifest-00000042-9f86d081.json               a generation: name, size and checksum of each file
        seeds/T1-spinodal-000.json.60303ae22b998861   a file, the hash of its content in its name
        checkpoints/, states/, attempts/
        claim-5d1c0a9e-4711-1764436304-HOST           HOST trains the run (process id, Unix time in s)
    <remote>/T1-spinodal_results.json, figures/       views under their plain names, written at the end

A manifest is written after all files that it names, and intact files of the two newest generations are not
touched, so an interruption at any instant leaves these usable. One machine trains a run.
`dglib.runs.location` copies while a run is trained.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from dglib.errors import StorageError, UserError
from dglib.files import checkpoint_steps, older, sealed, unsealed, write_atomically, write_through

PERIOD_S = 180.0  # between passes, each of which renews the claim
STALE_S = 600.0  # a claim that was not renewed for so long is that of a machine that died
GENERATIONS = 2
SEALED_AS = "mirror manifest"
MANIFEST = re.compile(r"manifest-(\d{8,})-[0-9a-f]{8}\.json")
CLAIM = re.compile(r"claim-([0-9a-f]{8})-\d+-(\d+)-(.*)")

# Kinds of files by their paths in a run directory. No name begins with a dot.
_NAME = r"[^./\\][^/\\]*"
_KINDS = re.compile(
    rf"(?P<record>seeds/{_NAME}\.json)"
    rf"|(?P<state>(?:checkpoints|states)/{_NAME}@[^/\\]*\.ckpt)"  # at the end of a phase
    rf"|(?P<checkpoint>checkpoints/{_NAME}\.ckpt)"
    rf"|(?P<attempts>attempts/{_NAME})"
    rf"|(?P<manifest>{_NAME}_manifest\.json)"
    rf"|(?P<view>{_NAME}(?:_results\.json|_reading\.json|\.csv)|figures/{_NAME})"
)
# In the order of restoring: a directory without its manifest is not taken for a whole one. Views are copied.
MIRRORED = ("record", "state", "checkpoint", "attempts", "manifest")


def kind_of(path: str) -> str:
    """One of `MIRRORED`, "view", or "" of a file that is not copied, given its path in the run directory."""
    match = _KINDS.fullmatch(path)
    return match.lastgroup or "" if match else ""


@dataclass(frozen=True)
class Entry:
    """A copy: its name in the folder, SHA-256, bytes, and the file's time of change in ns."""

    stored: str
    sha256: str
    size: int
    modified: int


class Claim(NamedTuple):
    """A machine trains the run. A run directory has one token per machine: host names are not unique."""

    name: str
    token: str
    renewed: int
    host: str

    @property
    def age(self) -> float:
        return abs(time.time() - self.renewed)  # a clock that was set back must not block anybody


class MirrorFolder:
    """What is in the folder now.

    Attributes:
        sizes: bytes of every file, by name.
        generations: the copies by path in the run directory, by the manifest's name, the newest first.
        torn: names of unreadable manifests.

    Raises:
        OSError, StorageError: it is there and cannot be read.
    """

    def __init__(self, remote: Path) -> None:
        self.path = remote / "mirror"
        self.sizes = _sizes(self.path)
        self.generations: dict[str, Mapping[str, Entry]] = {}
        self.torn: list[str] = []
        for name in sorted(filter(_number, self.sizes), key=lambda name: (_number(name), name), reverse=True):
            try:
                self.generations[name] = _entries(unsealed(SEALED_AS, self.path / name))
            except StorageError:
                raise
            except (UserError, ValueError, KeyError, TypeError, AttributeError):
                self.torn.append(name)

    def content(self, entry: Entry) -> bytes | None:
        """The content of a copy; None: missing or damaged."""
        with suppress(FileNotFoundError, NotADirectoryError, IsADirectoryError):
            content = (self.path / entry.stored).read_bytes()
            return content if hashlib.sha256(content).hexdigest() == entry.sha256 else None
        return None

    def copies(self, path: str) -> list[Entry]:
        """The copies of a file, the newest first."""
        return [files[path] for files in self.generations.values() if path in files]

    def files(self) -> dict[str, Entry]:
        """The newest copy of each file that has its size: seeds do not depend on each other."""
        there: dict[str, Entry] = {}
        for files in reversed(self.generations.values()):
            there |= {path: e for path, e in files.items() if self.sizes.get(e.stored) == e.size}
        return without_finished(there)

    def run_manifests(self) -> list[dict[str, Any]]:
        """The run's own manifests, of all generations."""
        contents = []
        for files in self.generations.values():
            for entry in (entry for path, entry in files.items() if kind_of(path) == "manifest"):
                with suppress(ValueError, TypeError):  # missing or damaged
                    contents.append(dict(json.loads(self.content(entry) or b"")))
        return contents

    def store(self, path: str, content: bytes, modified: int) -> Entry:
        """Write a copy of a file unless it is there."""
        digest = hashlib.sha256(content).hexdigest()
        entry = Entry(f"{path}.{digest[:16]}", digest, len(content), modified)
        if self.content(entry) is None:
            write(self.path / entry.stored, content)
            self.sizes[entry.stored] = len(content)
        return entry

    def write_manifest(self, files: Mapping[str, Entry]) -> None:
        """Make these copies the newest generation."""
        number = max(map(_number, self.sizes), default=0) + 1
        plain = {path: asdict(files[path]) for path in sorted(files)}
        made = {"made": datetime.now(UTC).isoformat(timespec="seconds"), "host": socket.gethostname()}
        content = sealed(SEALED_AS, {"number": number, **made, "files": plain})
        name = f"manifest-{number:08d}-{hashlib.sha256(content).hexdigest()[:8]}.json"
        write(self.path / name, content)
        self.generations = {name: files, **self.generations}

    def clean(self) -> None:
        """Remove what the newest two generations do not name, manifests first, but no record."""
        newest = list(self.generations.items())[:GENERATIONS]
        needed = {
            name for manifest, files in newest for name in (manifest, *(e.stored for e in files.values()))
        }
        for name in sorted(self.sizes.keys() - needed, key=lambda name: (not _number(name), name)):
            if not name.startswith("seeds/") and not CLAIM.fullmatch(name):
                (self.path / name).unlink(missing_ok=True)

    @property
    def claims(self) -> list[Claim]:
        matches = filter(None, map(CLAIM.fullmatch, self.sizes))
        return [Claim(match[0], match[1], int(match[2]), match[3]) for match in matches]

    def refuse_others(self, token: str | None) -> None:
        """Raise UserError where another machine than the one with this token trains the run."""
        claimed = any(claim.token == token for claim in self.claims)
        for claim in self.claims:
            # Of two that began at once, one gives up.
            if claim.token != token and claim.age < STALE_S and not (claimed and str(token) < claim.token):
                until = time.strftime("%H:%M:%S", time.localtime(claim.renewed + STALE_S))
                raise UserError(
                    f"{self.path.parent}: {claim.host} trains this run (last sign of life"
                    f" {claim.age:.0f} s ago): give another base_dir; if {claim.host} has died, the same"
                    f" command takes over after {until}, or at once when {self.path / claim.name} is deleted"
                )

    def claim(self, token: str) -> None:
        """Write this machine's claim or renew it, and remove what is stale."""
        fresh = [c for c in self.claims if c.age < (PERIOD_S if c.token == token else STALE_S)]
        if not any(claim.token == token for claim in fresh):
            host = "".join(c for c in socket.gethostname() if c.isalnum() or c in ".-")
            write(self.path / f"claim-{token}-{os.getpid()}-{time.time():.0f}-{host}", b"\n")
        for claim in self.claims:
            if claim not in fresh:
                (self.path / claim.name).unlink(missing_ok=True)

    def release(self, token: str | None) -> None:
        """Remove this machine's claim."""
        for claim in self.claims:
            if claim.token == token:
                (self.path / claim.name).unlink(missing_ok=True)


def restore(folder: MirrorFolder, local: Path) -> list[str]:
    """Copy what is missing in a run directory from its mirror, and all of a seed that is further there.

    A seed is further where its checkpoint has more steps, or where it has a record and there is none here.
    Records here stay, and seeds with a record here need no checkpoint.

    Returns:
        What is damaged on the mirror; an older intact copy was used where there is one.

    Raises:
        OSError, StorageError: the mirror cannot be read, or the directory not written to.
    """
    damaged = [f"{name} (unreadable)" for name in folder.torn]
    newest = {path: folder.copies(path)[0] for files in folder.generations.values() for path in files}
    newest = {path: entry for path, entry in without_finished(newest).items() if not _is_settled(local, path)}

    def intact(path: str) -> tuple[Entry, bytes] | None:
        copies = ((entry, folder.content(entry)) for entry in folder.copies(path))
        return next(((entry, content) for entry, content in copies if content is not None), None)

    def is_further(path: str) -> bool:
        if kind_of(path) != "checkpoint":
            return kind_of(path) == "record"
        here, there = local / path, intact(path)
        steps = max(checkpoint_steps(p.read_bytes()) if p.exists() else -1 for p in (here, older(here)))
        return there is not None and checkpoint_steps(there[1]) > steps

    further = {_seed(path) for path in newest if is_further(path)}
    for path in sorted(newest, key=lambda path: (MIRRORED.index(kind_of(path)), path)):
        here = local / path
        if _seed(path) not in further and (here.exists() or older(here).exists()):
            continue
        usable = intact(path)
        if usable is None or usable[0] != newest[path]:
            damaged.append(f"{newest[path].stored} ({'an older copy is used' if usable else 'lost'})")
        if usable is not None:
            here.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(here, usable[1])
            os.utime(here, ns=(usable[0].modified, usable[0].modified))
    return damaged


def _is_settled(local: Path, path: str) -> bool:
    """Whether there is nothing to restore: a record here stays, and its seed needs no checkpoint."""
    if kind_of(path) == "record":
        return (local / path).exists()
    return path.startswith("checkpoints/") and (local / "seeds" / f"{_seed(path)}.json").exists()


def _seed(path: str) -> str:
    return PurePosixPath(path).name.partition(".")[0]


def without_finished(files: Mapping[str, Entry]) -> dict[str, Entry]:
    """Without the checkpoints of seeds whose records are there."""
    done = {_seed(path) for path in files if kind_of(path) == "record"}
    unneeded = {path for path in files if path.startswith("checkpoints/") and _seed(path) in done}
    return {path: entry for path, entry in files.items() if path not in unneeded}


def write(path: Path, content: bytes) -> None:
    """Write a file in place; one that could not be written as a whole is removed.

    Raises:
        OSError: it could not.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        write_through(path, content, anew=False)
        if path.stat().st_size != len(content):
            raise OSError(errno.EIO, "not written as a whole", str(path))
    except BaseException:
        with suppress(OSError):
            path.unlink()
        raise


def token_of(local: Path) -> str | None:
    """What identifies a run directory of this machine among those of others; None: not mirrored yet."""
    path = local / "locks" / "mirror.token"
    return path.read_text() if path.exists() else None


def _sizes(folder: Path) -> dict[str, int]:
    """The bytes of every file in a folder that may be missing, but not unreadable."""

    def fail(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            raise error

    sizes = {}
    for directory, _, names in os.walk(folder, onerror=fail):
        for path in (Path(directory, name) for name in names):
            with suppress(FileNotFoundError):  # a claim that was just renewed
                sizes[path.relative_to(folder).as_posix()] = path.stat().st_size
    return sizes


def _number(name: str) -> int:
    """The number of a manifest's generation, at least 1; 0 of another file."""
    match = MANIFEST.fullmatch(name)
    return int(match[1]) if match else 0


def _entries(manifest: Any) -> dict[str, Entry]:
    entries = {}
    for path, entry in manifest["files"].items():
        if kind_of(path) == "view":  # in manifests of dglib 0.1
            continue
        if not kind_of(path) or not re.fullmatch(re.escape(path) + r"\.[0-9a-f-]+", entry["stored"]):
            raise ValueError(f"{path}: not a file of a run directory")
        entries[path] = Entry(**{key: entry[key] for key in ("stored", "sha256", "size", "modified")})
    return entries
