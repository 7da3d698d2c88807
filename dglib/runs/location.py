"""Where runs are written, and the thread that copies them to where their results go.

Where `base_dir` is on a mounted Drive, or with `mirror`, runs are written to a local directory and mirrored
in the background, in the form of `dglib.runs.mirror`.
"""

from __future__ import annotations

import errno
import hashlib
import json
import secrets
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from filelock import FileLock, Timeout

from dglib.base_dir import base_directory, on_drive
from dglib.control import unwinding
from dglib.errors import StorageError, UserError
from dglib.files import make_directory, write_atomically
from dglib.runs.identity import agree, current, shared_of
from dglib.runs.mirror import (
    MIRRORED,
    PERIOD_S,
    Entry,
    MirrorFolder,
    kind_of,
    restore,
    token_of,
    without_finished,
    write,
)
from dglib.runs.progress import has_ended
from dglib.runs.store import run_directories

CHECKPOINT_NS = 15 * 60 * 10**9  # between two copies of a checkpoint in training
RETRY_S = 60.0  # after a failure
POLL_S = 5.0
LAST_TRIES_S = (0.0, 1.0, 4.0)  # pauses before the tries of the last pass
STOP_S = 60.0  # how long the end waits for the last pass


class Mirror:
    """Copies what is new in a run directory, in a thread; several processes of a machine may do so at once.

    Records are copied when they appear, checkpoints every quarter of an hour and by the last pass. A
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
        self._refused = self._complete = False
        self._stopping, self._ended = threading.Event(), threading.Event()
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
            self._ended.wait(STOP_S)  # a `join` that an interrupt ends would be the thread's last
        except KeyboardInterrupt:
            if not isinstance(error, KeyboardInterrupt):  # the first
                self._ended.wait(STOP_S)
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
            last: also copy every checkpoint, and the views under their plain names.

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
        full = self._copy(folder, files, last)
        files = without_finished(files)
        if files != before:
            folder.write_manifest(files)
        if last:
            self._copy_views()
        folder.clean()
        if full is not None:
            raise full
        return files != before

    def _copy(self, folder: MirrorFolder, files: dict[str, Entry], last: bool) -> OSError | None:
        """Copy what is due into `files`, checkpoints last. Returns the error of those without space."""
        paths = self._paths(MIRRORED)
        for path in sorted(paths, key=lambda path: kind_of(path) == "checkpoint"):
            entry, in_training = files.get(path), kind_of(path) == "checkpoint"
            if entry is not None and kind_of(path) == "record":
                continue
            try:
                modified = (self.local / path).stat().st_mtime_ns
                pause = CHECKPOINT_NS if in_training and not last else 0
                if entry is not None and abs(modified - entry.modified) <= pause:
                    continue
                content = (self.local / path).read_bytes()
            except FileNotFoundError:  # the checkpoint of a seed that has just finished
                continue
            try:
                files[path] = folder.store(path, content, modified)
            except OSError as error:
                if not path.endswith(".ckpt"):
                    raise
                return error  # a checkpoint may start from a state that was not copied
        return None

    def _paths(self, kinds: Sequence[str]) -> list[str]:
        folders = ("", "seeds/", "attempts/", "states/", "checkpoints/", "figures/")
        paths = [below + name for below in folders for name in _names(self.local / below)]
        return [path for path in paths if kind_of(path) in kinds]

    def _copy_views(self) -> None:
        """Write views in place: the next run mends one that a kill tears here."""
        for path in self._paths(["view"]):
            content, target = (self.local / path).read_bytes(), self.remote / path
            if not target.exists() or target.read_bytes() != content:
                write(target, content)

    def _run(self) -> None:
        try:
            self._pass_until_stopped()
        finally:
            self._ended.set()

    def _pass_until_stopped(self) -> None:
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

    def bring_back(self, prefix: str, identity: Mapping[str, Any]) -> None:
        """Before a run directory is made: restore from the mirror what is newer there than here.

        A line on stderr for each damaged mirror.

        Args:
            prefix: of the names of run directories to consider.
            identity: of the run, from `identity.describe`. A directory that it could only join is left while
                another machine trains there.

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
                    print(f"mirror: {remote}: {line}", file=sys.stderr, flush=True)
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
                print(f"mirror: not copied to {target}: {error}", file=sys.stderr, flush=True)
