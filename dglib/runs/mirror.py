"""Where runs are written, and the copy of a run directory where its results go.

A mounted Drive loses renames, locks and now and then itself. Where `base_dir` is on one, or with `mirror`,
runs are written to a local directory, and copied in the background:

    <remote>/mirror/
        manifest-00000042-9f86d081.json               a generation: name, size and checksum of each file
        seeds/T1-spinodal-000.json.60303ae22b998861   a file, the hash of its content in its name
        checkpoints/, states/, attempts/
        claim-5d1c0a9e-4711-1764436304-HOST           HOST trains the run (process id, Unix time in s)
    <remote>/T1-spinodal_results.json, figures/       views under their plain names, written at the end

A manifest is written after all files that it names, and intact files of the two newest generations are not
touched, so an interruption at any instant leaves these usable. One machine trains a run.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import secrets
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Any, NamedTuple, Protocol

from filelock import FileLock, Timeout

from dglib.base_dir import base_directory, on_drive
from dglib.control import unwinding
from dglib.errors import StorageError, UserError
from dglib.files import (
    checkpoint_steps,
    make_directory,
    older,
    sealed,
    unsealed,
    write_atomically,
    write_through,
)
from dglib.runs.identity import agree, current, shared_of
from dglib.runs.progress import has_ended
from dglib.runs.store import run_directories

CHECKPOINT_S = 900.0  # between two copies of a checkpoint in training
PERIOD_S = 180.0  # between passes, each of which renews the claim; a new record begins one at once
RETRY_S = 60.0  # after a failure
POLL_S = 5.0
LAST_TRIES_S = (0.0, 1.0, 4.0)  # pauses before the tries of the last pass
STOP_S = 60.0  # how long the end waits for the last pass
STALE_S = 600.0  # a claim that was not renewed for so long is that of a machine that died
GENERATIONS = 2

SEALED_AS = "mirror manifest"
MANIFEST = re.compile(r"manifest-(\d{8,})-[0-9a-f]{8}\.json")
CLAIM = re.compile(r"claim-([0-9a-f]{8})-\d+-(\d+)-(.*)")
# Paths in a run directory. No name begins with a dot.
RECORD = re.compile(r"seeds/[^./\\][^/\\]*\.json")
CHECKPOINT = re.compile(r"checkpoints/[^./\\][^/\\@]*\.ckpt")
_STATE = re.compile(r"(checkpoints|states)/[^./\\][^/\\]*@[^/\\]*\.ckpt")  # at the end of a phase
RUN_MANIFEST = re.compile(r"[^./\\][^/\\]*_manifest\.json")
_ATTEMPTS = re.compile(r"attempts/[^./\\][^/\\]*")
# In the order of restoring: a directory without its manifest is not taken for a whole one.
_MIRRORED = (RECORD, _STATE, CHECKPOINT, _ATTEMPTS, RUN_MANIFEST)
VIEW = re.compile(r"[^./\\][^/\\]*(_results\.json|_reading\.json|\.csv)|figures/[^./\\][^/\\]*")


def is_mirrored(path: str) -> bool:
    """Whether a file is mirrored, given its path in the run directory. Views are not, they are copied."""
    return any(pattern.fullmatch(path) for pattern in _MIRRORED)


# ── the folder <remote>/mirror ──


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
        for _, name in sorted(((_number(name), name) for name in self.sizes if _number(name)), reverse=True):
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
        found: dict[str, Entry] = {}
        for files in reversed(self.generations.values()):
            found |= {
                path: entry for path, entry in files.items() if self.sizes.get(entry.stored) == entry.size
            }
        return without_finished(found)

    def run_manifests(self) -> list[dict[str, Any]]:
        """The run's own manifests, of all generations."""
        found = []
        for files in self.generations.values():
            for path in filter(RUN_MANIFEST.fullmatch, files):
                with suppress(ValueError, TypeError):  # missing or damaged
                    found.append(dict(json.loads(self.content(files[path]) or b"")))
        return found

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
        kept = {
            name for manifest, files in newest for name in (manifest, *(e.stored for e in files.values()))
        }
        for name in sorted(self.sizes.keys() - kept, key=lambda name: (not _number(name), name)):
            if not name.startswith("seeds/") and not CLAIM.fullmatch(name):
                (self.path / name).unlink(missing_ok=True)

    @property
    def claims(self) -> list[Claim]:
        matches = filter(None, map(CLAIM.fullmatch, self.sizes))
        return [Claim(match[0], match[1], int(match[2]), match[3]) for match in matches]

    def refuse_others(self, token: str | None) -> None:
        """Raise UserError where another machine than the one with this token trains the run."""
        mine = any(claim.token == token for claim in self.claims)
        for claim in self.claims:
            # Of two that began at once, one gives up.
            if claim.token != token and claim.age < STALE_S and not (mine and str(token) < claim.token):
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
    Records here stay. The run's manifest is written last, so that a directory restored in part is not taken
    for a whole one.

    Returns:
        What is damaged on the mirror; an older intact copy was used where there is one.

    Raises:
        OSError, StorageError: the mirror cannot be read, or the directory not written to.
    """
    damaged = [f"{name} (unreadable)" for name in folder.torn]
    paths = {path: folder.copies(path)[0] for files in folder.generations.values() for path in files}
    paths = {path: entry for path, entry in without_finished(paths).items() if not _is_done(path, local)}

    def intact(path: str) -> tuple[Entry, bytes] | None:
        for entry in folder.copies(path):
            if (content := folder.content(entry)) is not None:
                return entry, content
        return None

    def is_further(path: str) -> bool:
        here = local / path
        if RECORD.fullmatch(path):
            return not here.exists()
        steps = max(checkpoint_steps(p.read_bytes()) if p.exists() else -1 for p in (here, older(here)))
        if steps >= 0 and here.exists() and here.stat().st_mtime_ns == paths[path].modified:
            return False  # the same copy
        there = intact(path)
        return there is not None and checkpoint_steps(there[1]) > steps

    states = [path for path in paths if RECORD.fullmatch(path) or CHECKPOINT.fullmatch(path)]
    further = {_seed(path) for path in states if is_further(path)}
    for path in (path for pattern in _MIRRORED for path in sorted(paths) if pattern.fullmatch(path)):
        here = local / path
        if RECORD.fullmatch(path) and here.exists():
            continue
        if _seed(path) not in further and (here.exists() or older(here).exists()):
            continue
        found = intact(path)
        if found is None or found[0] != paths[path]:
            damaged.append(f"{paths[path].stored} ({'an older copy is used' if found else 'lost'})")
        if found is not None:
            here.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(here, found[1])
            os.utime(here, ns=(found[0].modified, found[0].modified))
    return damaged


def _seed(path: str) -> str:
    return PurePosixPath(path).name.partition(".")[0]


def _is_done(path: str, local: Path) -> bool:
    """Whether a path is that of a checkpoint of a seed whose record is here."""
    return path.startswith("checkpoints/") and (local / "seeds" / f"{_seed(path)}.json").exists()


def without_finished(files: Mapping[str, Entry]) -> dict[str, Entry]:
    """Without the checkpoints of seeds whose records are there."""
    done = {_seed(path) for path in files if RECORD.fullmatch(path)}
    return {
        path: entry
        for path, entry in files.items()
        if not (path.startswith("checkpoints/") and _seed(path) in done)
    }


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

    found = {}
    for directory, _, names in os.walk(folder, onerror=fail):
        for path in (Path(directory, name) for name in names):
            with suppress(FileNotFoundError):  # a claim that was just renewed
                found[path.relative_to(folder).as_posix()] = path.stat().st_size
    return found


def _number(name: str) -> int:
    """The number of a manifest's generation, at least 1; 0 of another file."""
    match = MANIFEST.fullmatch(name)
    return int(match[1]) if match else 0


def _entries(manifest: Any) -> dict[str, Entry]:
    found = {}
    for path, entry in manifest["files"].items():
        if VIEW.fullmatch(path):  # in manifests of dglib 0.1
            continue
        if not is_mirrored(path) or not re.fullmatch(re.escape(path) + r"\.[0-9a-f-]+", entry["stored"]):
            raise ValueError(f"{path}: not a file of a run directory")
        found[path] = Entry(**{key: entry[key] for key in ("stored", "sha256", "size", "modified")})
    return found


# ── copying while a run is trained ──


class Mirror:
    """Copies what is new in a run directory, in a thread; several processes of a machine may do so at once.

    Records are copied when they appear, checkpoints every `CHECKPOINT_S` and when training has stopped. A
    mirror that fails is tried again, is reported in one line, and never stops a run.

    Args:
        local: the run directory.
        remote: its mirror; directories are made as needed.
        report: called with lines to print.
    """

    def __init__(self, local: Path, remote: Path, report: Callable[[str], None] = print) -> None:
        self.local, self.remote, self._report = local.absolute(), remote.absolute(), report
        self._device: int | None = None  # of the file system that the mirror is on
        self._problem = ""
        self._complete = self._refused = False
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="mirror", daemon=True)

    def __enter__(self) -> Mirror:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait for the last pass, at most `STOP_S`. A second interrupt ends the wait at once."""
        try:
            self._stopping.set()
            self._thread.join(STOP_S)
        except KeyboardInterrupt:
            if not isinstance(error, KeyboardInterrupt):  # the first
                self._thread.join(STOP_S)
            raise
        finally:
            if self._complete:
                self._print(f"complete in {self.remote}")
            elif not self._refused:
                problem = self._problem or "the last pass was cut off"
                self._print(f"the last state is only in {self.local}: {problem}")

    def sync(self, *, last: bool = False) -> bool:
        """One pass: copy what is due, write a manifest, remove what only older generations name.

        Args:
            last: also write the views under their plain names.

        Returns:
            Whether there is a new generation.

        Raises:
            OSError, StorageError: the mirror failed. The generations before are as they were, or a new one is
                complete but for checkpoints for which there was no space.
            UserError: another machine trains the run.
        """
        self._check_file_system()
        make_directory(self.local / "locks")
        try:
            with FileLock(self.local / "locks" / "mirror.lock", timeout=STOP_S / 4 if last else 0):
                return self._pass(last)
        except Timeout:
            if last:
                raise
            return False  # another process of this machine copies now

    def _check_file_system(self) -> None:
        """Files of an unmounted mirror would go to the machine's own disk, below the empty mount point."""
        base = self.remote.parent
        if self._device is None:
            base.mkdir(parents=True, exist_ok=True)
            self._device = base.stat().st_dev
        if not base.is_dir() or base.stat().st_dev != self._device:
            raise OSError(errno.ENOTCONN, "no longer mounted", str(base))

    def _pass(self, last: bool) -> bool:
        folder = MirrorFolder(self.remote)
        token = token_of(self.local)
        folder.refuse_others(token)
        if token is None:
            token = secrets.token_hex(4)
            write_atomically(self.local / "locks" / "mirror.token", token.encode())
        folder.claim(token)
        before = next(iter(folder.generations.values()), {})
        files = folder.files()
        full = self._copy(folder, files)
        files = without_finished(files)
        if files != before:
            folder.write_manifest(files)
        if last:
            self._copy_views()
        folder.clean()
        if full is not None:
            raise full
        return files != before

    def _copy(self, folder: MirrorFolder, files: dict[str, Entry]) -> OSError | None:
        """Copy what is due into `files`, checkpoints last. Returns the error of those without space."""
        full = None
        paths = self._paths("", "seeds/", "attempts/", "states/", "checkpoints/")
        for path in sorted(filter(is_mirrored, paths), key=lambda path: bool(CHECKPOINT.fullmatch(path))):
            try:
                modified = (self.local / path).stat().st_mtime_ns
                if not self._is_due(path, modified, files):
                    continue
                content = (self.local / path).read_bytes()
            except FileNotFoundError:  # the checkpoint of a seed that has just finished
                continue
            try:
                files[path] = folder.store(path, content, modified)
            except OSError as error:
                if not path.endswith(".ckpt"):
                    raise
                full = error
                break  # a checkpoint may start from a state that was not copied
        return full

    def _is_due(self, path: str, modified: int, files: Mapping[str, Entry]) -> bool:
        entry = files.get(path)
        if entry is not None and (entry.modified == modified or RECORD.fullmatch(path)):
            return False
        if not CHECKPOINT.fullmatch(path):
            return True
        stem = PurePosixPath(path).stem
        if f"seeds/{stem}.json" in files:
            return False
        try:
            began = (self.local / "locks" / f"{stem}.holder").stat().st_mtime_ns
        except FileNotFoundError:  # no process trains it now
            return True
        return modified - max(began, entry.modified if entry else 0) >= CHECKPOINT_S * 1e9

    def _paths(self, *folders: str) -> list[str]:
        return [below + name for below in folders for name in _names(self.local / below)]

    def _copy_views(self) -> None:
        """Write views in place: the next run mends one that a kill tears here."""
        for path in filter(VIEW.fullmatch, self._paths("", "figures/")):
            content, target = (self.local / path).read_bytes(), self.remote / path
            if not target.exists() or target.read_bytes() != content:
                write(target, content)

    def _run(self) -> None:
        due, records = 0.0, None
        while not self._refused:
            now = _names(self.local / "seeds")
            if time.monotonic() >= due or (now != records and not self._problem):
                self._try()
                due, records = time.monotonic() + (RETRY_S if self._problem else PERIOD_S), now
            if self._stopping.wait(POLL_S):
                break
        for pause in LAST_TRIES_S:
            time.sleep(pause)
            if self._refused or self._try(last=True):
                break
        self._complete = not self._problem
        with suppress(Exception):  # whatever it is: the run continues
            if not self._in_training():
                MirrorFolder(self.remote).release(token_of(self.local))

    def _in_training(self) -> bool:
        """Whether a process of this machine trains a seed of the run: it needs the claim."""
        for path in (self.local / "locks").glob("*.holder"):
            with suppress(OSError, ValueError, AttributeError):
                if not has_ended(json.loads(path.read_bytes()), path.stat().st_mtime):
                    return True
        return False

    def _try(self, *, last: bool = False) -> bool:
        """A pass, and a line where the mirror begins to fail, works again, or is another machine's."""
        try:
            self.sync(last=last)
            if self._problem:
                self._print(f"works again: {self.remote}")
            self._problem = ""
        except Exception as error:  # whatever it is: the run continues
            self._refused = isinstance(error, UserError) and not isinstance(error, StorageError)
            if self._refused or not self._problem:
                what = "stopped" if self._refused else "fails and is tried again"
                self._print(f"{what}, the run continues in {self.local}: {self.remote}: {error}")
            self._problem = str(error) or type(error).__name__
        return not self._problem

    def _print(self, line: str) -> None:
        with suppress(Exception):  # a closed output must not stop the mirror
            self._report(f"mirror: {line}")


def _names(directory: Path) -> list[str]:
    with suppress(FileNotFoundError):
        return sorted(path.name for path in directory.iterdir())
    return []


def _to_stderr(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


class _Located(Protocol):
    """The parameters that determine where runs are."""

    base_dir: str | None
    mirror: bool
    work_dir: str | None


@dataclass(frozen=True)
class RunLocation:
    """`base`: where results go. `local`: where runs are written; the same without a mirror."""

    base: Path
    local: Path

    @classmethod
    def of(cls, parameters: _Located, where: str = "") -> RunLocation:
        """The location that `base_dir`, `mirror` and `work_dir` ask for. Nothing is created.

        Raises:
            UserError: one of the directories cannot be written to; the message begins with `where`.
        """
        base, work_dir = base_directory(parameters.base_dir, where), parameters.work_dir
        if not (parameters.mirror or on_drive(base)):
            return cls(base, base)
        if work_dir is None:
            name = hashlib.sha256(str(base.absolute()).encode()).hexdigest()[:12]
            work_dir = f"~/.cache/dglib/{name}"
        return cls(base, base_directory(work_dir, field="work_dir"))

    @property
    def mirrored(self) -> bool:
        return self.local != self.base

    def bring_back(
        self,
        prefix: str,
        identity: Mapping[str, Any],
        report: Callable[[str], None] = _to_stderr,
    ) -> None:
        """Before a run directory is made: restore from the mirror what is newer there than here.

        Args:
            prefix: of the names of run directories to consider.
            identity: of the run, from `identity.describe`. A directory that it could only join is left while
                another machine trains there.
            report: given a line for each damaged mirror.

        Raises:
            StorageError: the mirror cannot be read, or the local directory not written to.
            UserError: another machine trains the run.
        """
        if not self.mirrored:
            return
        try:
            with suppress(FileNotFoundError):
                next(self.base.iterdir(), None)  # an unreadable directory is not an empty one
            for remote in run_directories(self.base, prefix):
                damaged = self._restore(MirrorFolder(remote), self.local / remote.name, identity)
                if damaged:
                    more = f" and {len(damaged) - 5} more" if len(damaged) > 5 else ""
                    line = f"damaged: {'; '.join(damaged[:5])}{more}; what is lost is trained again"
                    report(f"mirror: {remote}: {line}")
        except OSError as error:
            raise StorageError.of(self.base, error, "read") from error

    def _restore(self, folder: MirrorFolder, local: Path, identity: Mapping[str, Any]) -> list[str]:
        runs = folder.run_manifests()
        if folder.sizes and not runs:
            return [*folder.torn, "no manifest of a run can be read, nothing is restored"]
        described = [current(run["identity"]) for run in runs if "identity" in run]
        own = any(agree(stored, identity) for stored in described)
        if not own and not any(agree(shared_of(stored), shared_of(identity)) for stored in described):
            return []
        try:
            folder.refuse_others(token_of(local))
        except UserError:
            if own:
                raise
            return []
        return restore(folder, local)

    @contextmanager
    def mirroring(self, directory: Path, report: Callable[[str], None]) -> Iterator[None]:
        """Mirror a run directory of `local` below `base` until the context ends, and once more then."""
        if not self.mirrored:
            yield
            return
        with unwinding(), Mirror(directory, self.base / directory.name, report):
            yield

    def copy_to_base(self, *paths: Path) -> None:
        """Copy files of `local` to the same paths below `base`, with a line for one that cannot be copied."""
        for path in paths if self.mirrored else ():
            target = self.base / path.absolute().relative_to(self.local.absolute())
            try:
                next(self.base.iterdir(), None)  # a Drive that vanished is not made anew on the disk below it
                write(target, path.read_bytes())
            except OSError as error:
                _to_stderr(f"mirror: not copied to {target}: {error}")
