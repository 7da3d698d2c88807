"""A run directory copied in the background to where results shall end up, such as a mounted Drive.

    with Mirror(local, remote):
        ...  # work in `local`

See `dglib.mirror.generations` for what lies there, `dglib.mirror.restoring` for the way back.
"""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from filelock import FileLock, Timeout

from dglib.mirror.ledger import Ledger
from dglib.mirror.memory import Memory
from dglib.mirror.passes import Pass, SyncReport

PERIOD_S = 180.0
BYTES_PER_HOUR = 2_000_000_000
RETRY_S = (10.0, 600.0)  # after a failure: the first pause, doubled up to the last
LAST_TRIES_S = (0.0, 1.0, 4.0)  # pauses before the tries of the last pass
STOP_S = 60.0  # what `stop` waits for them


class Mirror:
    """Copies what is new in a run directory, in a thread of its own.

    Records are copied as soon as they are seen; checkpoints and views wait where the bytes of an hour are
    used up, and a quarter of these is kept for checkpoints at the end. A mirror that fails is tried again
    with growing pauses, told of once, and never stops or slows the run. Several processes and machines may
    mirror one run: what others brought stays, and the bytes of all are counted.

    Args:
        local: the run directory. `remote`: its mirror; directories are made as needed.
        period_s: between passes, in seconds.
        bytes_per_hour: written at most in any hour, records excepted.
        tell: is given lines to print.
        clock: Unix time in seconds.
    """

    def __init__(
        self,
        local: Path,
        remote: Path,
        *,
        period_s: float = PERIOD_S,
        bytes_per_hour: int = BYTES_PER_HOUR,
        tell: Callable[[str], None] = print,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.local, self.remote = local.absolute(), remote.absolute()
        self._period_s = period_s
        self._ledger = Ledger(bytes_per_hour, clock)
        self._memory = Memory(self.local)
        self._tell, self._told = tell, set[str]()
        self._mount = self.remote
        while not _is_mount(self._mount):
            self._mount = self._mount.parent
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._problem: Exception | None = None
        self._put_off: tuple[str, ...] = ()

    def start(self) -> None:
        """Begin to mirror; the first pass is at once."""
        self._stopping.clear()
        self._thread = threading.Thread(target=self._run, name="mirror", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Bring the last state and lay the views under their own names, within `STOP_S`; never raises."""
        if self._thread is None:
            return
        self._stopping.set()
        self._thread.join(STOP_S)
        if self._thread.is_alive():
            problem = f"it does not answer within {STOP_S:.0f} s"
        else:
            problem = "" if self._problem is None else str(self._problem)
        self._thread = None
        line = f"mirror: {self._ledger.summary()} to {self.remote}"
        if problem:
            line += f"; the last state is only in {self.local}: {problem}"
        if self._put_off:
            line += f"; put off to the end: {', '.join(self._put_off)}"
        self._say(line)

    def __enter__(self) -> Mirror:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def sync(self, *, last: bool = False) -> SyncReport:
        """One pass: copy what is new, write a manifest, delete what only older generations named.

        Args:
            last: also spend the bytes kept for the end, and lay the views under their own names.

        Raises:
            OSError, UserError: the mirror fails; its newest generation before is as it was, or the new one is
                complete without what could not be written.
        """
        if not _is_mount(self._mount):
            # Or the files would go to the machine's own disk, below the empty mount point.
            raise OSError(errno.ENOTCONN, "no longer mounted", str(self._mount))
        locks = self.local / "locks"
        locks.mkdir(exist_ok=True)
        try:
            with FileLock(locks / "mirror.lock", timeout=STOP_S / 4 if last else 0):
                return Pass(self.remote, self._memory, self._ledger, self._say_once).run(last=last)
        except Timeout:
            if last:
                raise
            return SyncReport()  # another process of this machine is at it

    def _run(self) -> None:
        pause, failures = 0.0, 0
        while not self._stopping.wait(pause):
            failures = 0 if self._try() else failures + 1
            pause = min(RETRY_S[0] * 2 ** (failures - 1), RETRY_S[1]) if failures else self._period_s
        for pause in LAST_TRIES_S:
            time.sleep(pause)
            if self._try(last=True):
                break

    def _try(self, *, last: bool = False) -> bool:
        """A pass, and a line where the mirror begins to fail or works again."""
        try:
            self._put_off = self.sync(last=last).put_off
        except Exception as error:  # whatever it is: the run goes on
            if self._problem is None:
                self._say(f"mirror: fails and is tried again, the run goes on: {self.remote}: {error}")
            self._problem = error
            return False
        if self._problem is not None:
            self._say(f"mirror: works again: {self.remote}")
        self._problem = None
        return True

    def _say_once(self, subject: str, line: str | None) -> None:
        """Tell a line about a subject, once until a None says that it holds no more."""
        if line is None:
            self._told.discard(subject)
        elif subject not in self._told:
            self._told.add(subject)
            self._say(f"mirror: {line}")

    def _say(self, line: str) -> None:
        with suppress(Exception):  # a closed output must not stop the mirror
            self._tell(line)


def _is_mount(path: Path) -> bool:
    try:
        return path.is_mount()
    except OSError:
        return False
