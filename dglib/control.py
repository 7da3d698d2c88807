"""Requests to a run between its steps: stop, pause, another λ or learning rate.

They come from signals, notebooks' interrupts, or another thread.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from dglib.errors import UserError

POLL_SECONDS = 0.02  # how often a paused run checks whether to resume


class Interrupted(KeyboardInterrupt):
    """A run was asked to stop and has saved its state; the same command resumes it."""


class Control:
    """Requests to a run. Safe to use from other threads.

    Attributes:
        lam: overrides the protocol's λ from the next step on; None: the protocol's. Records contain the
            protocol's λ all the same.
        lr: overrides the protocol's learning rate, likewise.
        paused: no step is taken until `resume`.
    """

    def __init__(self) -> None:
        self._stop = threading.Event()
        self.lam: float | None = None
        self.lr: float | None = None
        self.paused = False

    def stop(self) -> None:
        """Ask the run to stop before its next step."""
        self._stop.set()

    def stopping(self) -> bool:
        return self._stop.is_set()

    def pause(self) -> None:
        """Ask the run to take no more steps for now."""
        self.paused = True

    def resume(self) -> None:
        """End a pause."""
        self.paused = False

    def wait(self) -> bool:
        """Wait while paused. Returns whether to continue: false once a stop was asked for."""
        # No lock is held in here: a signal's handler that asks for a stop runs in this same thread.
        while self.paused and not self.stopping():
            time.sleep(POLL_SECONDS)
        return not self.stopping()

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Ctrl-C, SIGTERM and a closed terminal ask for a stop; a second signal interrupts at once.

        Outside the main thread, where Python delivers no signals, this does nothing.
        """

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
    if os.name != "posix" or not hasattr(signal, "pthread_kill") or not hasattr(signal, "SIGKILL"):
        raise UserError(f"{given}: needs a POSIX system (Linux, macOS, WSL); here {instead}")
