"""The live panel: sliders, buttons and a picture of a network in training, and what drives the training."""

from __future__ import annotations

import atexit
import contextvars
import queue
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import astuple
from functools import partial
from typing import Any

import ipywidgets as widgets

from dglib.errors import UserError
from dglib.explorer.live_picture import LivePicture, readout_html, recorded_loop
from dglib.explorer.live_run import LiveRun, Settings, save_path
from dglib.explorer.panel import Panel
from dglib.explorer.runs import Source
from dglib.training.data import load_dataset
from dglib.training.numerics import Numerics

IDLE_SECONDS = 600.0  # without a change; then it pauses: the page may be closed, and servers end idle kernels
_RATES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3)
_PERIODS = (1, 2, 4, 8, 16, 32, 64, 128)
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
    """Calls a turn at every tick of a `Play`. Requests are answered at once, without training.

    For Colab, where messages of a thread do not reach the page.
    """

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


class LivePanel(Panel):
    """The live part of the explorer. Controls are attributes: `panel.lam.value = 0.6` moves λ.

    Args:
        source: where paths are saved, and where a recorded loop is searched for.
        driver: calls the turns.

    Attributes:
        run: trained in the driver's thread.
    """

    part, css = "live", "dglib-live"
    still_note = "A still picture: in a running notebook, or under Voilà, a network trains while λ is moved."

    def __init__(self, source: Source, driver: Callable[[Turn], Any] = driver_here) -> None:
        super().__init__()
        self._base = source.base
        self.run = LiveRun(load_dataset("digits"), Numerics.resolve("cpu", 1))
        self.run.control.pause()
        self._picture = LivePicture(recorded_loop(source))
        self._requests: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._shown: object = None
        self._setting = self._closed = False
        self._changed_at = time.monotonic()
        self._driver = driver(self._turn)
        self._message: str = self._driver.hint
        self._make_controls()
        self._draw()

    def close(self) -> None:
        """End the training and its thread, and close the widgets; repeated calls do nothing."""
        if not self._closed:
            self._closed = True
            self._driver.close()
            super().close()

    def _make_controls(self) -> None:
        default, third = Settings(), widgets.Layout(width="330px")
        decimals = {"readout_format": ".2f"}
        self.lam = widgets.FloatSlider(
            default.lam, min=0.0, max=1.0, step=0.01, description="λ", layout=self.line, **decimals
        )
        rates = [(f"{rate:g}", rate) for rate in _RATES]
        self.lr = widgets.SelectionSlider(options=rates, value=default.lr, description="LR", layout=third)
        self.k = widgets.SelectionSlider(
            options=_PERIODS, value=default.refresh_period, description="K, steps", layout=third
        )
        self.eta = widgets.FloatSlider(
            default.noise_rate, min=0.0, max=0.9, step=0.05, description="η, noise", layout=third, **decimals
        )
        self.ordered = self._button("start ordered", partial(self._begin, "ordered"), "primary")
        self.collapsed = self._button("start collapsed", partial(self._begin, "collapsed"), "primary")
        self.pause = self._button("pause", self._pause_or_resume)
        self.one = self._button("step", self._step)
        self.again = self._button("reset", self._begin)
        self.save = self._button("save path", self._save_path)
        buttons = {
            "ordered": self.ordered, "collapsed": self.collapsed, "pause": self.pause, "step": self.one,
            "reset": self.again, "save": self.save,
        }  # fmt: skip
        sliders = {"lambda": self.lam, "lr": self.lr, "k": self.k, "eta": self.eta}
        for slider in sliders.values():
            slider.observe(self._moved, "value")
        view = [self._driver.view] if self._driver.view is not None else []
        rows = [[*buttons.values()], *view, self.lam, [self.lr, self.k, self.eta]]
        self._lay_out(buttons | sliders, rows)
        # Also closed from outside, by itself or with all widgets: the thread must end.
        self.widget.observe(lambda change: self.close() if change["new"] is None else None, "comm")

    def _button(self, text: str, action: Callable[[], None], style: str = "") -> Any:
        """A button that requests an action of the next turn."""

        def request(_: Any) -> None:
            self._requests.put(action)
            self._changed()

        button = widgets.Button(description=text, button_style=style, layout=widgets.Layout(width="150px"))
        button.on_click(request)
        return button

    def _moved(self, _: Any) -> None:
        if not self._setting:
            self._apply_sliders()
            self._changed()

    def _apply_sliders(self) -> None:
        lam, eta = round(self.lam.value, 6), round(self.eta.value, 6)
        self.run.change(Settings(lam, self.lr.value, self.k.value, eta))

    def _changed(self) -> None:
        self._changed_at = time.monotonic()
        if not self._closed:
            self._driver.wake()

    # ── the driver's turns, one at a time ──

    def _turn(self, seconds: float) -> bool:
        """Answer requests, train, draw; return whether the run is active."""
        try:
            return self._advance(seconds)
        except Exception as error:  # a thread that ends silently would look like a frozen page
            self.run.control.pause()
            self._message = f"stopped by {type(error).__name__}: {error}"
            self.numbers.value = self._html(self._message)
            return False

    def _advance(self, seconds: float) -> bool:
        control = self.run.control
        while not self._requests.empty():
            self._message = ""
            try:
                self._requests.get()()
            except UserError as error:
                self._message = str(error)
        if not control.paused and time.monotonic() - self._changed_at > IDLE_SECONDS:
            control.pause()
            self._message = f"paused: nothing was changed for {IDLE_SECONDS / 60:g} minutes; press ‘resume’"
        if seconds and not control.paused:
            try:
                self.run.advance(seconds)
            except UserError as error:  # a cell trains with other settings of torch
                control.pause()
                self._message = str(error)
        self._draw()
        return not control.paused and self.run.status().state != "diverged"

    def _begin(self, start: str | None = None) -> None:
        """Begin at a start; None: at the latest, with every slider at its default, and paused if it was."""
        control, reset = self.run.control, start is None
        self.run.begin(start or self.run.status().start.name, defaults=reset)
        self._setting = True
        try:
            values = astuple(self.run.status().wanted)
            self.lam.value, self.lr.value, self.k.value, self.eta.value = values
        finally:
            self._setting = False
        self._apply_sliders()  # they may have been moved meanwhile
        if not reset:
            control.resume()

    def _pause_or_resume(self) -> None:
        control = self.run.control
        control.resume() if control.paused else control.pause()

    def _step(self) -> None:
        self.run.control.pause()
        self.run.step()

    def _save_path(self) -> None:
        status = self.run.status()
        table = save_path(status, self._picture.draw(status), self._base)
        self._message = f"path saved in {table.parent.absolute()}: {table.name} and {table.stem}.png"

    def _draw(self) -> None:
        status = self.run.status()
        state = (status.steps, status.state, status.settings, status.wanted, status.start, self._message)
        if self._shown == state or self._closed:
            return
        self.picture.value = self._picture.draw(status)
        self.numbers.value = self._html(self._message)
        self.pause.description = "resume" if self.run.control.paused else "pause"
        self._shown = state

    def _alternative(self) -> str:
        return "Error over epochs and over λ of a network in training; the numbers are below."

    def _html(self, note: str) -> str:
        return readout_html(self.run.status(), note)
