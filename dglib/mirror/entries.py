"""The files of a run directory as a mirror sees them: which, what they hold, which of two versions stands."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from dglib.errors import UserError

FOLDER = "mirror"  # another layout gets another name, so that no version deletes another's files

Kind = Literal["record", "checkpoint", "attempt", "manifest", "view"]
Progress = tuple[int, int]  # finished seeds, then steps trained in the checkpoints of unfinished ones

_CHUNK = 1 << 20
_CHECKPOINT = re.compile(rb"dglib checkpoint \d+ ([0-9a-f]{64})(?: (\d+))?")
_GONE = (FileNotFoundError, NotADirectoryError, IsADirectoryError)


def kind(path: str) -> Kind | None:
    """What a file of a run directory is, from its path there; None: it is not mirrored."""
    parts = PurePosixPath(path).parts
    if not is_below(path) or any(part.startswith(".") for part in parts):
        return None
    match parts:
        case ("seeds", name) if name.endswith(".json"):
            return "record"
        case ("checkpoints", name) if name.endswith(".ckpt"):
            return "checkpoint"
        case ("attempts", _):
            return "attempt"
        case ("figures", _):
            return "view"
        case (name,) if name.endswith("_manifest.json"):
            return "manifest"
        case (name,) if name.endswith(("_results.json", "_reading.json", ".csv")):
            return "view"
    return None


@dataclass(frozen=True)
class Content:
    """What was read: SHA-256 and size in bytes; steps of a checkpoint, None where it is not a whole one."""

    sha256: str
    size: int
    steps: int | None


def read_through(path: Path, into: Callable[[bytes], None] = lambda chunk: None) -> Content:
    """Read a file once from end to end, handing every chunk on."""
    whole, body = hashlib.sha256(), hashlib.sha256()
    with path.open("rb") as file:
        chunk = file.readline(_CHUNK)
        size, head = 0, _CHECKPOINT.fullmatch(chunk.removesuffix(b"\n"))
        while chunk:
            into(chunk)
            whole.update(chunk)
            if head and size:
                body.update(chunk)
            size += len(chunk)
            chunk = file.read(_CHUNK)
    intact = head is not None and head[1] == body.hexdigest().encode()
    return Content(whole.hexdigest(), size, int(head[2] or 0) if head and intact else None)


@dataclass(frozen=True)
class Entry:
    """A mirrored file: name in the mirror's folder, SHA-256, bytes, time of change in ns, steps trained."""

    stored: str
    sha256: str
    size: int
    modified: int
    steps: int = 0

    def is_whole(self, remote: Path, *, thorough: bool) -> bool:
        """Whether it is there with its size and, if `thorough`, its checksum."""
        path = remote / FOLDER / self.stored
        try:
            if path.stat().st_size != self.size:
                return False
            return not thorough or read_through(path).sha256 == self.sha256
        except _GONE:
            return False


def preferred(path: str, there: Entry, other: Entry) -> Entry:
    """Which of two versions stands: of a record the first, of a checkpoint the further, else the later."""
    if kind(path) == "record":
        return there
    return max(there, other, key=lambda entry: (entry.steps, entry.modified))


def unfinished_only(files: Mapping[str, Entry]) -> dict[str, Entry]:
    """Without the checkpoints of seeds whose records are there."""
    done = _finished(files)
    return {p: e for p, e in files.items() if kind(p) != "checkpoint" or PurePosixPath(p).stem not in done}


def beside(path: str, sha256: str) -> str:
    """The name under which a second, different record of a finished seed is kept; no reader takes it up."""
    return f"{path.removesuffix('.json')}.other-{sha256[:8]}.json"


def check_same_run(path: str, ours: bytes, theirs: bytes, remote: Path) -> None:
    """Refuse to mix two runs' files, should two machines have given their directories one name.

    Raises:
        UserError: the two versions of a run's manifest have different fingerprints.
    """
    try:
        fingerprints = {json.loads(content)["fingerprint"] for content in (ours, theirs)}
    except (ValueError, KeyError, TypeError):
        return
    if len(fingerprints) > 1:
        raise UserError(f"{remote}: holds another run: its {path} has another fingerprint")


def _finished(paths: Iterable[str]) -> set[str]:
    stems = {PurePosixPath(path).stem for path in paths if kind(path) == "record"}
    return {stem for stem in stems if "." not in stem}  # a dot: kept beside the one that stands


def measure(paths: Iterable[str], steps: Mapping[str, int]) -> Progress:
    """Progress from the files' paths and the steps of each checkpoint."""
    done = _finished(paths)
    return len(done), sum(n for path, n in steps.items() if PurePosixPath(path).stem not in done)


def is_below(path: str) -> bool:
    """Whether a path stays below the directory that it is joined to."""
    pure = PurePosixPath(path)
    return str(pure) == path and not pure.is_absolute() and ".." not in pure.parts
