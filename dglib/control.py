"""What a run is asked between its steps: to stop, to pause, another λ or learning rate.

The asking comes from signals, notebooks' interrupts, or another thread.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

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
        """SIGINT and SIGTERM ask for a stop; a second one interrupts at once.

        Outside the main thread, where Python hands out no signals, this does nothing.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def handle(number: int, frame: FrameType | None) -> None:
            if self.stopping():
                raise KeyboardInterrupt
            self.stop()

        before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


@contextmanager
def unwinding() -> Iterator[None]:
    """SIGTERM raises KeyboardInterrupt meanwhile, as SIGINT does, so that what has to be done last is done.

    Outside the main thread, where Python hands out no signals, this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
