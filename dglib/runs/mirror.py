"""A run directory copied in the background to a place where rename and locks cannot be trusted (a Drive).

    with Mirror(local, remote):
        ...  # train in `local`

    <remote>/mirror/
        manifest-00000042-9f86d081.json               a generation: name, size and checksum of each file
        seeds/T1-spinodal-000.json.60303ae22b998861   a file, the hash of its content in its name
        checkpoints/, states/, attempts/
        claim-5d1c0a9e-4711-1764436304-HOST           a process of HOST trains the run (pid, Unix time in s)
    <remote>/T1-spinodal_results.json, figures/       views under their plain names, written at the end

A manifest is written after all files that it names, and intact files of the two newest generations are not
touched, so an interruption at any instant leaves these usable. One machine trains a run.
"""

from __future__ import annotations

import errno
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path, PurePosixPath
from types import TracebackType

from filelock import FileLock, Timeout

from dglib.errors import StorageError, UserError
from dglib.files import make_directory, write_atomically
from dglib.runs.mirror_folder import (
    CHECKPOINT,
    RECORD,
    VIEW,
    Entry,
    MirrorFolder,
    is_mirrored,
    token_of,
    without_finished,
    write,
)

CHECKPOINT_S = 900.0  # between two copies of a checkpoint in training
PERIOD_S = 180.0  # between passes, each of which renews the claim; a new record begins one at once
RETRY_S = 60.0  # after a failure
POLL_S = 5.0
LAST_TRIES_S = (0.0, 1.0, 4.0)  # pauses before the tries of the last pass
STOP_S = 60.0  # how long the end waits for the last pass


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
        folder.claim(token, renew_after=PERIOD_S)
        before = folder.generations[0].files if folder.generations else {}
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
        passed, records = float("-inf"), None
        while not self._refused:
            now = _names(self.local / "seeds")
            pause = RETRY_S if self._problem else PERIOD_S
            if time.monotonic() - passed >= pause or (now != records and not self._problem):
                self._try()
                passed, records = time.monotonic(), now
            if self._stopping.wait(POLL_S):
                break
        for pause in LAST_TRIES_S:
            time.sleep(pause)
            if self._refused or self._try(last=True):
                break
        self._complete = not self._problem
        with suppress(Exception):  # whatever it is: the run continues
            MirrorFolder(self.remote).release(token_of(self.local))

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
