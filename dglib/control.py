"""What a run is asked between its steps: to stop, to pause, another λ or learning rate.

The asking comes from signals, notebooks' interrupts, or another thread.
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

LOOK_SECONDS = 0.02  # how often a paused run looks whether to go on


class Interrupted(KeyboardInterrupt):
    """A run was asked to stop and has saved its state; the same command goes on from there."""


class Control:
    """What the outside may ask of a run. Safe to use from other threads.

    Attributes:
        lam: overrides the protocol's λ from the next step on; None leaves the protocol in charge. A record
            tells the protocol's: whoever overrides it notes that, as a live run does in its script.
        lr: overrides the protocol's learning rate, likewise.
        paused: no step is taken until `go_on`.
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

    def go_on(self) -> None:
        """End a pause."""
        self.paused = False

    def wait(self) -> bool:
        """Wait while paused. Returns whether to go on: false once a stop was asked for."""
        # No lock is held in here: a signal's handler that asks for a stop runs in this same thread.
        while self.paused and not self.stopping():
            time.sleep(LOOK_SECONDS)
        return not self.stopping()

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Ctrl-C, SIGTERM and a closed terminal ask for a stop; a second signal interrupts at once.

        Outside the main thread, where Python hands out no signals, this does nothing.
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

    So what is open is closed, files half-written are removed and a last copy is made, whatever is under way.
    Training asks more gently, see `Control.listening`.
    """

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise Interrupted(f"stopped by {signal.Signals(number).name}")

    with _handled(interrupt, ("SIGTERM", "SIGHUP", "SIGBREAK")):
        yield


@contextmanager
def _handled(handler: Callable[[int, FrameType | None], None], names: Sequence[str]) -> Iterator[None]:
    """Handle those of the named signals that this system has; one that is ignored stays so, as under nohup.

    Outside the main thread, where Python hands out no signals, this does nothing.
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
