"""A run directory copied in the background to a place where rename and locks cannot be trusted (a Drive).

    with Mirror(local, remote):
        ...  # work in `local`

    <remote>/mirror/
        manifest-00000042-9f86d081.json               a generation: name, size and checksum of each file
        seeds/T1-spinodal-000.json.60303ae22b998861   a file, the hash of its content in its name
        checkpoints/, states/, attempts/
        claim-5d1c0a9e-4711-1764436304-HOST           a process of HOST works on the run (pid, Unix time in s)
    <remote>/T1-spinodal_results.json, figures/       views under their plain names, written at the end

No file in the folder is rewritten and a manifest is written after all that it names: an interruption at any
instant leaves the generations before it usable. Manifests of dglib 0.1 are the same but for their views.
One machine works on a run; a claim older than `STALE_S` is that of a machine that died.
`dglib.runs.mirror_store` reads and writes the folder.
"""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path, PurePosixPath
from types import TracebackType

from filelock import FileLock, Timeout

from dglib.errors import StorageError, UserError
from dglib.files import make_directory, write_atomically
from dglib.runs.liveness import has_ended
from dglib.runs.mirror_store import (
    FOLDER,
    Entry,
    Generation,
    Remote,
    kind,
    steps_in,
    token_of,
    unfinished_only,
    write,
)

CHECKPOINT_S = 900.0  # between two copies of a checkpoint in training
PERIOD_S = 180.0  # between passes, each of which renews the claim; a new record begins one at once
POLL_S = 5.0
RETRY_S = (10.0, 600.0)  # after a failure: the first pause, doubled up to the last
LAST_TRIES_S = (0.0, 1.0, 4.0)  # pauses before the tries of the last pass
STOP_S = 60.0  # waited for the last pass


class Mirror:
    """Copies what is new in a run directory, in a thread of its own; several processes may do so at once.

    Records are copied when they appear, checkpoints every `CHECKPOINT_S` and when training has stopped. A
    mirror that fails is tried again, is reported in one line, and never stops a run.

    Args:
        local: the run directory.
        remote: its mirror; directories are made as needed.
        tell: called with lines to print.
    """

    def __init__(self, local: Path, remote: Path, tell: Callable[[str], None] = print) -> None:
        self.local, self.remote, self._tell = local.absolute(), remote.absolute(), tell
        self._mount = _mount_of(self.remote)
        self._claim = self._problem = ""
        self._checked = False  # whether checksums were compared once
        self._complete = False  # whether the last pass was made
        self._lost = False  # to another machine
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
                self._say(f"complete in {self.remote}")
            elif not self._lost:
                problem = self._problem or "the last pass was cut off"
                self._say(f"the last state is only in {self.local}: {problem}")

    def sync(self, *, last: bool = False) -> bool:
        """One pass: copy what is due, write a manifest, remove what only older generations name.

        Args:
            last: also write the views under their plain names.

        Returns:
            Whether there was anything new.

        Raises:
            OSError, StorageError: the mirror failed. The generations before are as they were, or a new one is
                complete but for the checkpoints that found no room.
            UserError: another machine works on the run.
        """
        if _mount_of(self.remote) != self._mount:
            # Or the files would go to the machine's own disk, below the empty mount point.
            raise OSError(errno.ENOTCONN, "no longer mounted", str(self._mount))
        make_directory(self.local / "locks")
        try:
            with FileLock(self.local / "locks" / "mirror.lock", timeout=STOP_S / 4 if last else 0):
                return self._pass(last)
        except Timeout:
            if last:
                raise
            return False  # another process of this machine is at it

    def _pass(self, last: bool) -> bool:
        found = Remote(self.remote)
        self._hold(found)
        before = found.generations[0] if found.generations else Generation("", 0, {}, {})
        files = found.files(lambda entry: found.has(entry, compare=not self._checked))
        full = self._copy(found, files)
        files, views = unfinished_only(files), dict(before.views)
        if last:
            self._write_views(views)
        changed = (files, views) != (before.files, before.views)
        if changed:
            found.write_manifest(files, views)
        found.clean()
        self._checked = True
        if full is not None:
            raise full
        return changed

    def _hold(self, found: Remote) -> None:
        """Claim the run for this machine, or renew the claim."""
        token = token_of(self.local)
        found.refuse_others(token)
        if token is None:
            token = secrets.token_hex(4)
            write_atomically(self.local / "locks" / "mirror.token", token.encode())
        claims = [claim for claim in found.claims() if claim.name == self._claim]
        if claims and claims[0].age < PERIOD_S:
            return
        found.folder.mkdir(parents=True, exist_ok=True)
        host = "".join(c for c in socket.gethostname() if c.isalnum() or c in ".-")
        name = f"claim-{token}-{os.getpid()}-{int(time.time())}-{host}"
        if name not in found.sizes:
            write(found.folder / name, f"{self.local}\n".encode())
        self._claim = name
        for claim in found.claims():
            here = {"pid": claim.pid, "host": socket.gethostname()}  # where the token is this machine's
            if (
                claim in claims
                or not claim.is_fresh
                or (claim.token == token and has_ended(here, claim.renewed))
            ):
                (found.folder / claim.name).unlink(missing_ok=True)

    def _copy(self, found: Remote, files: dict[str, Entry]) -> OSError | None:
        """Copy what is due, checkpoints last; returned is why one of these found no room."""
        full = None
        for path in sorted(self._paths(), key=lambda path: kind(path) == "checkpoint"):
            try:
                modified = (self.local / path).stat().st_mtime_ns
                if not self._is_due(path, modified, files):
                    continue
                content = (self.local / path).read_bytes()
            except FileNotFoundError:  # the checkpoint of a seed that has just finished
                continue
            steps = steps_in(content) if kind(path) == "checkpoint" else 0
            if steps < (files[path].steps if path in files else 0):  # less far, or damaged
                continue
            try:
                files[path] = found.store(path, content, modified, steps)
            except OSError as error:
                if kind(path) != "checkpoint":
                    raise
                full = error
        return full

    def _is_due(self, path: str, modified: int, files: Mapping[str, Entry]) -> bool:
        entry = files.get(path)
        if entry is not None and (entry.modified == modified or kind(path) == "record"):
            return False
        if kind(path) != "checkpoint":
            return True
        stem = PurePosixPath(path).stem
        if f"seeds/{stem}.json" in files:
            return False
        try:
            began = (self.local / "locks" / f"{stem}.holder").stat().st_mtime_ns
        except FileNotFoundError:  # nobody trains it now
            return True
        return modified - max(began, entry.modified if entry else 0) >= CHECKPOINT_S * 1e9

    def _paths(self, *, views: bool = False) -> list[str]:
        folders = ("", "seeds/", "attempts/", "states/", "checkpoints/", "figures/")
        found = [below + name for below in folders for name in _names(self.local / below)]
        return [path for path in found if kind(path) and (kind(path) == "view") == views]

    def _write_views(self, views: dict[str, str]) -> None:
        """One that is torn here by a kill is put right by the next run."""
        for path in self._paths(views=True):
            content, target = (self.local / path).read_bytes(), self.remote / path
            views[path] = hashlib.sha256(content).hexdigest()
            if not target.exists() or target.read_bytes() != content:
                target.parent.mkdir(parents=True, exist_ok=True)
                write(target, content, anew=False)

    def _run(self) -> None:
        failures, pause, passed, records = 0, 0.0, 0.0, None
        while not self._stopping.wait(pause) and not self._lost:
            now = _names(self.local / "seeds")
            if failures or now != records or time.monotonic() - passed >= PERIOD_S:
                failures = 0 if self._try() else failures + 1
                passed, records = time.monotonic(), now
            pause = min(RETRY_S[0] * 2 ** (failures - 1), RETRY_S[1]) if failures else POLL_S
        for pause in LAST_TRIES_S:
            time.sleep(pause)
            if self._lost or self._try(last=True):
                break
        self._complete = not self._problem and not self._lost
        with suppress(OSError):
            (self.remote / FOLDER / self._claim).unlink(missing_ok=True)

    def _try(self, *, last: bool = False) -> bool:
        """A pass, and a line where the mirror begins to fail, works again, or is another machine's."""
        try:
            self.sync(last=last)
            if self._problem:
                self._say(f"works again: {self.remote}")
            self._problem = ""
        except Exception as error:  # whatever it is: the run continues
            self._lost = isinstance(error, UserError) and not isinstance(error, StorageError)
            if self._lost or not self._problem:
                ends = "stopped" if self._lost else "fails and is tried again"
                self._say(f"{ends}, the run continues in {self.local}: {self.remote}: {error}")
            self._problem = str(error) or type(error).__name__
        return not self._problem

    def _say(self, line: str) -> None:
        with suppress(Exception):  # a closed output must not stop the mirror
            self._tell(f"mirror: {line}")


def _names(directory: Path) -> list[str]:
    with suppress(FileNotFoundError):
        return sorted(path.name for path in directory.iterdir())
    return []


def _mount_of(path: Path) -> Path:
    """The mount point of the file system that a path lies, or will lie, on."""
    for parent in (path, *path.parents):
        with suppress(OSError):
            if parent.is_mount():
                return parent
    return path
