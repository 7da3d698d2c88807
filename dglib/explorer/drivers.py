"""What makes a live panel go: a thread of its own, or the page's clock where threads do not reach the page.

Both call `turn(seconds)` again and again: it trains for about so long, draws, and returns how many seconds
may pass until the next turn (0: none; None: until woken).
"""

from __future__ import annotations

import atexit
import contextvars
import itertools
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

import ipywidgets as widgets

Turn = Callable[[float], float | None]

SLICE_SECONDS = 0.1  # of training between two pictures
GONE_SECONDS = 20.0  # without a sign from a page that had given one: nobody looks any more
ASK_SECONDS = 2.0  # how often a page that has gone is asked whether it is back
FRAMES_AHEAD = 3  # pictures sent that the page has not confirmed
_NUMBERS = itertools.count(1)


class Driver(Protocol):
    """Calls turns until it is closed."""

    hint: str

    @property
    def view(self) -> widgets.Widget | None:
        """What the reader must see of it on the page, if anything; `hint` says what to do to begin."""

    def wake(self) -> None:
        """Something was asked for: a turn is due now. From any thread."""

    def close(self) -> None:
        """No turn after this; what it held is given back."""


class ThreadDriver:
    """Turns in one daemon thread, so that the kernel is free meanwhile.

    Attributes:
        thread: alive from the first `wake` to `close`; none is begun for a page that nobody touches.
    """

    hint = "Press ‘start ordered’, then move λ."
    view: widgets.Widget | None = None

    def __init__(self, turn: Turn) -> None:
        self._turn = turn
        self._woken = threading.Event()
        self._closing = threading.Event()
        self._starting = threading.Lock()
        # In the context of the cell, so that what the thread sends belongs to it.
        context = contextvars.copy_context()
        name = f"dglib-live-{next(_NUMBERS)}"
        self.thread = threading.Thread(target=context.run, args=(self._loop,), name=name, daemon=True)

    def wake(self) -> None:
        self._woken.set()
        with self._starting:
            if self.thread.ident is None and not self._closing.is_set():
                atexit.register(self.close)  # the interpreter must not end under a step
                self.thread.start()

    def close(self) -> None:
        """End the thread after the slice under way, and wait for that."""
        with self._starting:
            self._closing.set()
        self._woken.set()
        atexit.unregister(self.close)
        if self.thread.is_alive() and threading.current_thread() is not self.thread:
            self.thread.join()

    def _loop(self) -> None:
        while not self._closing.is_set():
            self._woken.clear()
            pause = self._turn(SLICE_SECONDS)
            if pause != 0 and not self._closing.is_set():
                self._woken.wait(pause)


class PlayDriver:
    """Turns at the ticks of a `Play`, whose clock runs on the page; the reader starts it with its ▶.

    What is asked for is done and drawn at once, without training.
    """

    hint = "Press ‘start ordered’, then ▶ to let it train, then move λ."

    def __init__(self, turn: Turn) -> None:
        self._turn = turn
        self.play = widgets.Play(min=0, max=10**9, interval=40, description="train")
        self.play.add_class("dglib-live-play")
        self.play.observe(self._tick, "value")
        told = widgets.HTML("▶ lets it train: here the page's own clock drives it")
        self.view: widgets.Widget | None = widgets.HBox([self.play, told])

    def wake(self) -> None:
        self._turn(0)

    def close(self) -> None:
        self.play.unobserve_all()

    def _tick(self, change: Any) -> None:
        self._turn(SLICE_SECONDS)


class Page:
    """Whether the page is still there: what is set here comes back from it, on any version of the widgets.

    Args:
        back: called when the page gives its first sign, and when one that had gone gives a sign again.

    Attributes:
        view: to be part of the page, though there is nothing to see.
    """

    def __init__(self, back: Callable[[], None]) -> None:
        self._back = back
        self._asked = widgets.IntText(0)
        self._answered = widgets.IntText(0)
        self._link = widgets.jslink((self._asked, "value"), (self._answered, "value"))
        self._answered.observe(self._answer, "value")
        self.view = widgets.HBox([self._asked, self._answered], layout={"display": "none"})
        self._is_known = False
        self._silent_since: float | None = None
        self._asked_at = 0.0

    @property
    def gone(self) -> bool:
        """Whether a page that had answered has fallen silent."""
        return self._is_known and self._silence > GONE_SECONDS

    @property
    def patience(self) -> float:
        """Seconds until one that has gone should be asked again, more each time.

        A kernel that nobody looks at must fall silent in the end: servers end idle ones.
        """
        return max(ASK_SECONDS, self._silence - GONE_SECONDS)

    @property
    def keeps_up(self) -> bool:
        """Whether another picture may be sent. A page that never answered is not waited for."""
        behind = self._asked.value - self._answered.value
        late = time.monotonic() - self._asked_at > 1
        return not self._is_known or behind < FRAMES_AHEAD or late

    def ask(self) -> None:
        """Ask for a sign."""
        self._asked_at = time.monotonic()
        if self._silent_since is None:
            self._silent_since = self._asked_at
        self._asked.value += 1

    def sign(self) -> None:
        """The page has shown that it is there: it answered, or somebody touched something."""
        was_gone, self._silent_since = self.gone, None
        if was_gone:
            self._back()

    def close(self) -> None:
        self._answered.unobserve_all()
        for widget in (self._link, self._asked, self._answered, self.view):
            widget.close()

    @property
    def _silence(self) -> float:
        since = self._silent_since
        return 0.0 if since is None else time.monotonic() - since

    def _answer(self, change: Any) -> None:
        if not self._is_known:
            self._is_known = True
            self._back()
        self.sign()


def driver_for(turn: Turn) -> Driver:
    """The one that works here: in Colab what a thread sends does not reach the page."""
    return PlayDriver(turn) if "google.colab" in sys.modules else ThreadDriver(turn)
