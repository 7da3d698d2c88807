"""The live panel: sliders, buttons and a picture of a network in training."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable
from typing import Any

import ipywidgets as widgets

from dglib.errors import UserError
from dglib.explorer.drivers import Turn, driver_here
from dglib.explorer.live_picture import LivePicture, readout_html, recorded_loop
from dglib.explorer.live_run import STARTS, LiveRun, Settings, save_path
from dglib.explorer.panel import Panel
from dglib.explorer.runs import Source
from dglib.training.data import load_dataset
from dglib.training.numerics import Numerics

IDLE_SECONDS = 600.0  # without a change; then it pauses: the page may be closed, and servers end idle kernels
_RATES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3)
_PERIODS = (1, 2, 4, 8, 16, 32, 64, 128)


class LivePanel(Panel):
    """The live part of the explorer. Controls are attributes: `panel.lam.value = 0.6` moves λ.

    Args:
        source: where paths are saved, and where a recorded loop is searched for.
        driver: calls the turns.

    Attributes:
        widget: the root widget; `show` displays it, with a still picture where widgets cannot be shown.
        run: trained in the driver's thread.
        frames: pictures sent so far.
        failure: the unexpected error that stopped the training, or None.
    """

    part, css = "live", "dglib-live"
    still_note = (
        "A still picture: in a running notebook, or under Voilà, a network trains here while λ is moved."
    )

    def __init__(self, source: Source, driver: Callable[[Turn], Any] = driver_here) -> None:
        super().__init__()
        self._source = source
        self.run = LiveRun(load_dataset("digits"), Numerics.resolve("cpu", 1))
        self.run.control.pause()
        self._picture = LivePicture(recorded_loop(source))
        self._requests: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._shown: object = None
        self._setting = self._closed = False
        self._changed_at = time.monotonic()
        self.failure: Exception | None = None
        self.frames = 0
        self._driver = driver(self._turn)
        self._message: str = self._driver.hint
        self._make_controls()
        self._draw()

    def close(self) -> None:
        """End the training and its thread, and close the widgets; repeated calls do nothing."""
        if self._closed:
            return
        self._closed = True
        self._driver.close()
        super().close()

    # ── the user's actions, in the kernel's thread ──

    def begin(self, start: str) -> None:
        """Start "ordered" or "collapsed" with the other settings as the sliders show them."""
        self._set_sliders(lam=STARTS[start].lam)
        self._request(lambda: self._begin(lambda: self.run.begin(start)))

    def reset(self) -> None:
        """Repeat the latest start with every slider at its default; a paused run stays paused."""
        lam = self.run.status().start.lam
        self._set_sliders(**{**vars(Settings()), "lam": lam})
        self._request(lambda: self._begin(self.run.reset, self.run.control.paused))

    def pause_or_resume(self) -> None:
        self._request(self._pause_or_resume)

    def step(self) -> None:
        """Pause, and take a single step."""
        self._request(self._step)

    def save_path(self) -> None:
        """Save the path as a CSV and a picture below the base directory."""
        self._request(self._save_path)

    def _moved(self, _: Any) -> None:
        if not self._setting:
            self._changed_at = time.monotonic()
            self._apply_sliders()
            self._wake()

    def _apply_sliders(self) -> None:
        lam, eta = round(self.lam.value, 6), round(self.eta.value, 6)
        self.run.change(Settings(lam, self.lr.value, self.k.value, eta))

    def _set_sliders(self, **values: Any) -> None:
        """Move sliders without acting on it."""
        controls = {"lam": self.lam, "lr": self.lr, "refresh_period": self.k, "noise_rate": self.eta}
        self._setting = True
        try:
            for name, value in values.items():
                controls[name].value = value
        finally:
            self._setting = False

    def _request(self, action: Callable[[], None]) -> None:
        self._changed_at = time.monotonic()
        self._requests.put(action)
        self._wake()

    def _wake(self) -> None:
        if not self._closed:
            self._driver.wake()

    # ── the driver's turns, one at a time ──

    def _turn(self, seconds: float) -> bool:
        """Answer requests, train, draw; return whether the run is active."""
        try:
            return self._advance(seconds)
        except Exception as error:  # a thread that ends silently would look like a frozen page
            self.failure = error
            self.run.control.pause()
            self._say(f"stopped by {type(error).__name__}: {error}")
            self.numbers.value = readout_html(self.run.status(), self._message)
            return False

    def _advance(self, seconds: float) -> bool:
        control = self.run.control
        while not self._requests.empty():
            self._say("")
            try:
                self._requests.get()()
            except UserError as error:
                self._say(str(error))
        if not control.paused and time.monotonic() - self._changed_at > IDLE_SECONDS:
            control.pause()
            self._say(f"paused: nothing was changed for {IDLE_SECONDS / 60:g} minutes; press ‘resume’")
        active = not control.paused and self.run.status().state != "diverged"
        if active and seconds:
            try:
                self.run.advance(seconds)
            except UserError as error:  # a cell trains with other settings of torch
                control.pause()
                self._say(str(error))
                active = False
        self._draw()
        return active

    def _begin(self, begin: Callable[[], None], paused: bool = False) -> None:
        begin()
        self._apply_sliders()  # they may have been moved since
        self.failure = None
        if not paused:
            self.run.control.resume()

    def _pause_or_resume(self) -> None:
        control = self.run.control
        control.resume() if control.paused else control.pause()

    def _step(self) -> None:
        self.run.control.pause()
        self.run.step()

    def _save_path(self) -> None:
        status = self.run.status()
        table = save_path(status, self._picture.draw(status), self._source.base)
        self._say(f"path saved in {table.parent.absolute()}: {table.name} and {table.stem}.png")

    def _say(self, message: str) -> None:
        self._message = message
        self._shown = None

    def _draw(self) -> None:
        status = self.run.status()
        state = (status.steps, status.state, status.settings, status.wanted, status.start, self._message)
        if self._shown == state or self._closed:
            return
        self.picture.value = self._picture.draw(status)
        self.numbers.value = readout_html(status, self._message)
        self.pause.description = "resume" if self.run.control.paused else "pause"
        self._shown = state
        self.frames += 1

    def _alternative(self) -> str:
        return "Error over epochs and over λ of a network in training; the numbers are below."

    def _html(self, note: str) -> str:
        return readout_html(self.run.status(), note)

    # ── widgets ──

    def _make_controls(self) -> None:
        """The controls, each with its own CSS class."""
        default = Settings()
        third, decimals = widgets.Layout(width="330px"), {"readout_format": ".2f"}
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
        self.ordered = _button("start ordered", lambda: self.begin("ordered"), "primary")
        self.collapsed = _button("start collapsed", lambda: self.begin("collapsed"), "primary")
        self.pause = _button("pause", self.pause_or_resume)
        self.one = _button("step", self.step)
        self.again = _button("reset", self.reset)
        self.save = _button("save path", self.save_path)
        classes = {
            "lambda": self.lam, "lr": self.lr, "k": self.k, "eta": self.eta, "ordered": self.ordered,
            "collapsed": self.collapsed, "pause": self.pause, "step": self.one, "reset": self.again,
            "save": self.save,
        }  # fmt: skip
        buttons = [self.ordered, self.collapsed, self.pause, self.one, self.again, self.save]
        view = [self._driver.view] if self._driver.view is not None else []
        self._lay_out(classes, [buttons, *view, self.lam, [self.lr, self.k, self.eta]])
        for slider in (self.lam, self.lr, self.k, self.eta):
            slider.observe(self._moved, "value")
        # Also closed from outside, by itself or with all widgets: the thread must end.
        self.widget.observe(lambda change: self.close() if change["new"] is None else None, "comm")


def _button(text: str, action: Callable[[], None], style: str = "") -> Any:
    button = widgets.Button(description=text, button_style=style, layout=widgets.Layout(width="150px"))
    button.on_click(lambda _: action())
    return button
