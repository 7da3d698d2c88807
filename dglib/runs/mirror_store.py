"""Files on a mirror, under names that carry their hashes; manifests and claims. See `dglib.runs.mirror`."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import count
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from dglib.errors import StorageError, UserError
from dglib.files import sealed, unsealed, write_through

FOLDER = "mirror"
SEALED_AS = "mirror manifest"
MANIFEST = re.compile(r"manifest-(\d{8,})-[0-9a-f]{8}\.json")
CLAIM = re.compile(r"claim-([0-9a-f]{8})-(\d+)-(\d+)-(.*)")
STALE_S = 600.0
GENERATIONS = 2

Kind = Literal["record", "state", "checkpoint", "attempt", "manifest", "view"]
_CHECKPOINT = re.compile(rb"dglib checkpoint \d+ ([0-9a-f]{64})(?: (\d+))?")
GONE = (FileNotFoundError, NotADirectoryError, IsADirectoryError)


def kind(path: str) -> Kind | None:
    """The kind of a file of a run directory, given its path there; None: not mirrored."""
    match PurePosixPath(path).parts:
        case (*_, name) if name.startswith(".") or str(PurePosixPath(path)) != path:
            return None
        case ("seeds", name) if name.endswith(".json"):
            return "record"
        case ("checkpoints" | "states", name) if name.endswith(".ckpt"):
            return "state" if "@" in name else "checkpoint"  # of a phase's end, or of an unfinished seed
        case ("attempts", _):
            return "attempt"
        case (name,) if name.endswith("_manifest.json"):
            return "manifest"
        case (name,) if name.endswith(("_results.json", "_reading.json", ".csv")):
            return "view"
        case ("figures", _):
            return "view"
    return None


@dataclass(frozen=True)
class Entry:
    """A mirrored file: name in the folder, SHA-256, bytes, time of change in ns, steps of a checkpoint."""

    stored: str
    sha256: str
    size: int
    modified: int
    steps: int = 0


@dataclass(frozen=True)
class Generation:
    """A manifest: the mirrored files and the checksums of the views, both by path in the run directory."""

    name: str
    number: int
    files: Mapping[str, Entry]
    views: Mapping[str, str]


@dataclass(frozen=True)
class Claim:
    """The sign of life of a process; a run directory has one token per machine."""

    name: str
    token: str
    pid: int
    renewed: int
    host: str

    @property
    def age(self) -> float:
        return abs(time.time() - self.renewed)  # a clock that was set back must not block

    @property
    def is_fresh(self) -> bool:
        return self.age < STALE_S


class Remote:
    """What lies on a mirror now.

    Attributes:
        sizes: bytes of every file in the folder, by name there.
        generations: the readable ones, the newest first.
        torn: names of unreadable manifests.

    Raises:
        OSError, StorageError: it is there and cannot be read.
    """

    def __init__(self, remote: Path) -> None:
        self.folder = remote / FOLDER
        self.sizes = dict(self._list())
        self.generations: list[Generation] = []
        self.torn: list[str] = []
        for name in sorted(filter(MANIFEST.fullmatch, self.sizes), reverse=True):
            try:
                self.generations.append(_parsed(name, unsealed(SEALED_AS, self.folder / name)))
            except StorageError:
                raise
            except (UserError, ValueError, KeyError, TypeError, AttributeError):
                self.torn.append(name)
        self.generations.sort(key=lambda generation: (generation.number, generation.name), reverse=True)

    def _list(self, below: str = "") -> Iterator[tuple[str, int]]:
        try:
            entries = list(os.scandir(self.folder / below))
        except FileNotFoundError:
            return
        for entry in entries:
            if entry.is_dir():
                yield from self._list(f"{entry.name}/") if not below else ()
                continue
            with suppress(FileNotFoundError):  # a claim that was just renewed
                yield below + entry.name, entry.stat().st_size

    def claims(self) -> list[Claim]:
        matches = filter(None, map(CLAIM.fullmatch, self.sizes))
        return [Claim(match[0], match[1], int(match[2]), int(match[3]), match[4]) for match in matches]

    def refuse_others(self, token: str | None) -> None:
        """Raise UserError where another machine than the one with this token works on the run."""
        mine = [claim for claim in self.claims() if claim.token == token]
        for claim in self.claims():
            # Of two that began at once, one gives up.
            if claim.token != token and claim.is_fresh and (not mine or claim.token < mine[0].token):
                until = time.strftime("%H:%M:%S", time.localtime(claim.renewed + STALE_S))
                path = self.folder / claim.name
                raise UserError(
                    f"{self.folder.parent}: {claim.host} works on this run (last sign of life"
                    f" {claim.age:.0f} s ago): give another base_dir; if {claim.host} has died, the same"
                    f" command takes over after {until}, or at once when {path} is deleted"
                )

    def has(self, entry: Entry, *, compare: bool = False) -> bool:
        """Whether a copy is there with its size, and with its checksum if asked (checkpoints excepted)."""
        if self.sizes.get(entry.stored) != entry.size:
            return False
        return not compare or entry.steps > 0 or self.content(entry) is not None

    def content(self, entry: Entry) -> bytes | None:
        """What an entry names; None: missing or damaged."""
        with suppress(*GONE):
            content = (self.folder / entry.stored).read_bytes()
            return content if hashlib.sha256(content).hexdigest() == entry.sha256 else None
        return None

    def manifests_of_runs(self) -> list[dict[str, Any]]:
        """The runs' own manifests, of all generations."""
        entries = {e for g in self.generations for path, e in g.files.items() if kind(path) == "manifest"}
        found = []
        for entry in entries:
            with suppress(ValueError, TypeError):  # missing or damaged
                found.append(dict(json.loads(self.content(entry) or b"")))
        return found

    def files(self, is_intact: Callable[[Entry], bool]) -> dict[str, Entry]:
        """The newest intact copy of each file: the seeds do not depend on each other."""
        found: dict[str, Entry] = {}
        for generation in self.generations:
            for path, entry in generation.files.items():
                if path not in found and is_intact(entry):
                    found[path] = entry
        return unfinished_only(found)

    def store(self, path: str, content: bytes, modified: int, steps: int) -> Entry:
        """Write a file's content under a name that was never used, unless it is there."""
        digest = hashlib.sha256(content).hexdigest()
        base = f"{path}.{digest[:16]}"
        # A name that is taken is that of a copy from a pass that was cut off, whole or not.
        names = (f"{base}-{n}" if n else base for n in count())
        entries = (Entry(name, digest, len(content), modified, steps) for name in names)
        entry = next(e for e in entries if e.stored not in self.sizes or self.content(e) is not None)
        if entry.stored not in self.sizes:
            target = self.folder / entry.stored
            target.parent.mkdir(parents=True, exist_ok=True)
            write(target, content)
            self.sizes[entry.stored] = len(content)
        return entry

    def write_manifest(self, files: Mapping[str, Entry], views: Mapping[str, str]) -> None:
        """Make these files and views the newest generation."""
        numbers = [int(match[1]) for name in self.sizes if (match := MANIFEST.fullmatch(name))]
        number = max(numbers, default=0) + 1
        plain = {path: asdict(files[path]) for path in sorted(files)}
        made = {"made": datetime.now(UTC).isoformat(timespec="seconds"), "host": socket.gethostname()}
        content = sealed(SEALED_AS, {"number": number, **made, "files": plain, "views": views})
        name = f"manifest-{number:08d}-{hashlib.sha256(content).hexdigest()[:8]}.json"
        self.folder.mkdir(parents=True, exist_ok=True)
        write(self.folder / name, content)
        self.generations.insert(0, Generation(name, number, files, views))

    def clean(self) -> None:
        """Remove what the newest two whole generations do not name, manifests first, but no intact record."""
        whole = [g for g in self.generations if all(map(self.has, g.files.values()))][:GENERATIONS]
        kept = {name for g in whole for name in (g.name, *(entry.stored for entry in g.files.values()))}
        for name in sorted(self.sizes.keys() - kept, key=lambda name: (not MANIFEST.fullmatch(name), name)):
            path = self.folder / name
            intact = name.startswith("seeds/") and hashlib.sha256(path.read_bytes()).hexdigest()[:16] in name
            if not intact and not CLAIM.fullmatch(name):
                path.unlink(missing_ok=True)


def write(path: Path, content: bytes, *, anew: bool = True) -> None:
    """Write a file in place; nothing is left of one that could not be written as a whole.

    Raises:
        OSError: it could not.
    """
    try:
        write_through(path, content, anew=anew)
        if path.stat().st_size != len(content):
            raise OSError(errno.EIO, "not written as a whole", str(path))
    except BaseException:
        with suppress(OSError):
            path.unlink()
        raise


def _parsed(name: str, content: Any) -> Generation:
    files = {path: Entry(**entry) for path, entry in content["files"].items()}
    for path, entry in files.items():
        if (
            kind(path) is None
            or PurePosixPath("/", entry.stored).parts.count("..")
            or entry.stored[:1] == "/"
        ):
            raise ValueError(f"{path}: not a file of a run directory")
    files = {path: entry for path, entry in files.items() if kind(path) != "view"}  # of dglib 0.1
    views = {path: str(digest) for path, digest in content.get("views", {}).items() if kind(path) == "view"}
    return Generation(name, int(content["number"]), files, views)


def unfinished_only(files: Mapping[str, Entry]) -> dict[str, Entry]:
    """Without the checkpoints of seeds whose records are there."""
    done = {f"checkpoints/{PurePosixPath(path).stem}" for path in files if kind(path) == "record"}
    return {path: entry for path, entry in files.items() if path.partition(".")[0] not in done}


def steps_in(checkpoint: bytes) -> int:
    """Steps trained in a checkpoint's content; -1 where it is damaged."""
    head, _, body = checkpoint.partition(b"\n")
    match = _CHECKPOINT.fullmatch(head)
    if match is None or match[1] != hashlib.sha256(body).hexdigest().encode():
        return -1
    return int(match[2] or 0)


def token_of(local: Path) -> str | None:
    """What identifies a run directory of this machine among those of others; None: not mirrored yet."""
    path = local / "locks" / "mirror.token"
    return path.read_text() if path.exists() else None
