"""Stop requests, asked for between steps: from signals, notebooks' interrupts, or another thread."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupted(KeyboardInterrupt):
    """A run was asked to stop and has saved its state; the same command goes on from there."""


class Control:
    """What the outside may ask of a run. Safe to use from other threads.

    Attributes:
        lam: overrides the protocol's λ from the next step on; None leaves the protocol in charge.
    """

    def __init__(self) -> None:
        self._stop = threading.Event()
        self.lam: float | None = None

    def stop(self) -> None:
        """Ask the run to stop before its next step."""
        self._stop.set()

    def stopping(self) -> bool:
        return self._stop.is_set()

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
