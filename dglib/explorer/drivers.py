"""What calls the live panel's turns: a thread, or in Colab, where a thread's messages do not reach the page,
the clock of a `Play` widget on the page.
"""

from __future__ import annotations

import atexit
import contextvars
import sys
import threading
from collections.abc import Callable

import ipywidgets as widgets

_SLICE_SECONDS = 0.1  # of training between two frames

Turn = Callable[[float], bool]
"""(seconds to train) -> whether another turn should follow at once."""


class ThreadDriver:
    """Calls turns in a daemon thread, which starts at the first `wake`."""

    hint = "Press ‘start ordered’, then move λ."
    view: widgets.Widget | None = None

    def __init__(self, turn: Turn) -> None:
        self._turn = turn
        self._woken, self._closing, self._starting = threading.Event(), threading.Event(), threading.Lock()
        context = contextvars.copy_context()  # so that the thread's messages belong to the cell
        self._thread = threading.Thread(
            target=context.run, args=(self._loop,), name="dglib-live", daemon=True
        )

    def wake(self) -> None:
        """Request a turn; from any thread."""
        self._woken.set()
        with self._starting:
            if self._thread.ident is None and not self._closing.is_set():
                atexit.register(self.close)  # the interpreter must not exit during a step
                self._thread.start()

    def close(self) -> None:
        """Wait for the current turn and end the thread."""
        with self._starting:
            self._closing.set()
        self._woken.set()
        atexit.unregister(self.close)
        if self._thread.is_alive() and threading.current_thread() is not self._thread:
            self._thread.join()

    def _loop(self) -> None:
        while not self._closing.is_set():
            self._woken.clear()
            if not self._turn(_SLICE_SECONDS) and not self._closing.is_set():
                self._woken.wait()


class PlayDriver:
    """Calls a turn at every tick of a `Play`. Requests are answered at once, without training."""

    hint = "Press ‘start ordered’, then ▶ to let it train, then move λ."

    def __init__(self, turn: Turn) -> None:
        self._turn = turn
        self.play = widgets.Play(min=0, max=10**9, interval=40, description="train")
        self.play.add_class("dglib-live-play")
        self.play.observe(lambda _: self._turn(_SLICE_SECONDS), "value")
        note = widgets.HTML("▶ lets it train: here the page's own clock drives it")
        self.view: widgets.Widget | None = widgets.HBox([self.play, note])

    def wake(self) -> None:
        self._turn(0)

    def close(self) -> None:
        self.play.unobserve_all()


def driver_here(turn: Turn) -> ThreadDriver | PlayDriver:
    return PlayDriver(turn) if "google.colab" in sys.modules else ThreadDriver(turn)
