"""Requests to stop a run or a command: from signals, notebooks' interrupts, or another thread."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from dglib.errors import UserError


class Interrupted(KeyboardInterrupt):
    """A run was asked to stop and has saved its state; the same command resumes it."""


class Control:
    """A request to stop before the next step. Safe to use from other threads."""

    def __init__(self) -> None:
        self._stop = threading.Event()

    def stop(self) -> None:
        self._stop.set()

    def stopping(self) -> bool:
        return self._stop.is_set()

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Ctrl-C, SIGTERM and a closed terminal ask for a stop; a second signal interrupts at once."""

        def handle(number: int, frame: FrameType | None) -> None:
            if self.stopping():
                raise KeyboardInterrupt
            self.stop()

        with _handled(handle, ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")):
            yield


@contextmanager
def unwinding() -> Iterator[None]:
    """SIGTERM and a closed terminal raise `Interrupted` meanwhile, as Ctrl-C raises KeyboardInterrupt.

    So open files are closed, half-written ones removed and mirrors completed. Training stops between two
    steps instead, see `Control.listening`.
    """

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise Interrupted(f"stopped by {signal.Signals(number).name}")

    with _handled(interrupt, ("SIGTERM", "SIGHUP", "SIGBREAK")):
        yield


@contextmanager
def _handled(handler: Callable[[int, FrameType | None], None], names: Sequence[str]) -> Iterator[None]:
    """Handle those of the named signals that this system has; one that is ignored stays so, as under nohup.

    Outside the main thread, where Python delivers no signals, this does nothing.
    """
    before = {}
    try:
        if threading.current_thread() is threading.main_thread():
            for name in names:
                number = getattr(signal, name, None)
                ignored = name != "SIGINT" and number and signal.getsignal(number) is signal.SIG_IGN
                if number is not None and not ignored:
                    before[number] = signal.signal(number, handler)
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, signal.SIG_DFL if earlier is None else earlier)


def require_posix(given: str, instead: str) -> None:
    """Refuse what needs POSIX signals where there are none, as on Windows.

    Args:
        given: what was asked for.
        instead: what works there.
    """
    if not hasattr(signal, "pthread_kill"):
        raise UserError(f"{given}: needs a POSIX system (Linux, macOS, WSL); here {instead}")
