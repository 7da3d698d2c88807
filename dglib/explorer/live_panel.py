"""The live panel: sliders, buttons and a picture of a network in training, one slice per tick of the page."""

from __future__ import annotations

import threading
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

SLICE_SECONDS = 0.1  # of training per tick
_RATES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3)
_PERIODS = (1, 2, 4, 8, 16, 32, 64, 128)


class LivePanel(Panel):
    """The live part of the explorer. Controls are attributes: `panel.lam.value = 0.6` moves λ.

    The page's clock, a `Play` widget, requests each slice of training, so that it stops with the page.
    ipywidgets 7, which Colab has, cannot start it from here: there it is shown.

    Args:
        source: where paths are saved, and where a recorded loop is searched for.
    """

    part, css = "live", "dglib-live"
    still_note = "A still picture: in a running notebook, or under Voilà, a network trains while λ is moved."

    def __init__(self, source: Source) -> None:
        super().__init__()
        self._base = source.base
        self.run = LiveRun(load_dataset("digits"), Numerics.resolve("cpu", 1))
        self.run.paused = True
        self._picture = LivePicture(recorded_loop(source))
        self._lock = threading.RLock()  # JupyterLab runs callbacks in several threads
        self._setting = self._closed = False
        self.clock = widgets.Play(min=0, max=10**9, interval=40, description="train")
        self._playing = self.clock.has_trait("playing")
        self._message = "Press ‘start ordered’, then move λ."
        if not self._playing:
            self._message = "Press ‘start ordered’, then ▶ to let it train, then move λ."
        self._make_controls()
        self._draw()

    def close(self) -> None:
        """End the training and close the widgets; repeated calls do nothing."""
        if not self._closed:
            self._closed = True
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
            slider.observe(lambda _: None if self._setting else self._do(self._apply_sliders), "value")
        self.clock.observe(lambda _: None if self.run.paused else self._do(self._train), "value")
        if self._playing:
            self.clock.layout.display = "none"
        rows = [[*buttons.values(), self.clock], self.lam, [self.lr, self.k, self.eta]]
        self._lay_out(buttons | sliders | {"play": self.clock}, rows)
        # Also closed from outside, by itself: the clock must stop.
        self.widget.observe(lambda change: self.close() if change["new"] is None else None, "comm")

    def _button(self, text: str, action: Callable[[], None], style: str = "") -> Any:
        def clicked(_: Any) -> None:
            with self._lock:
                self._message = ""
                self._do(action)

        button = widgets.Button(description=text, button_style=style, layout=widgets.Layout(width="150px"))
        button.on_click(clicked)
        return button

    def _do(self, action: Callable[[], None]) -> None:
        """Run what a control requests, and draw."""
        with self._lock:
            if self._closed:
                return
            try:
                action()
            except UserError as error:
                self._message = str(error)
            except Exception as error:  # not shown by the page otherwise
                self.run.paused = True
                self._message = f"stopped by {type(error).__name__}: {error}"
            self._draw()

    def _train(self) -> None:
        try:
            self.run.advance(SLICE_SECONDS)
        except UserError:  # a cell trains with other settings of torch
            self.run.paused = True
            raise

    def _apply_sliders(self) -> None:
        lam, eta = round(self.lam.value, 6), round(self.eta.value, 6)
        self.run.change(Settings(lam, self.lr.value, self.k.value, eta))

    def _begin(self, start: str | None = None) -> None:
        """Begin at a start; None: at the latest, with every slider at its default, and paused if it was."""
        self.run.begin(start or self.run.status().start.name, defaults=start is None)
        self._setting = True
        try:
            values = astuple(self.run.status().wanted)
            self.lam.value, self.lr.value, self.k.value, self.eta.value = values
        finally:
            self._setting = False
        if start is not None:
            self.run.paused = False

    def _pause_or_resume(self) -> None:
        self.run.paused = not self.run.paused

    def _step(self) -> None:
        self.run.paused = True
        self.run.step()

    def _save_path(self) -> None:
        status = self.run.status()
        table = save_path(status, self._picture.draw(status), self._base)
        self._message = f"path saved in {table.parent.absolute()}: {table.name} and {table.stem}.png"

    def _draw(self) -> None:
        status, paused = self.run.status(), self.run.paused
        self.picture.value = self._picture.draw(status)
        self.numbers.value = readout_html(status, self._message)
        self.pause.description = "resume" if paused else "pause"
        if self._playing:
            self.clock.playing = not paused and status.state != "diverged"

    def _alternative(self) -> str:
        return "Error over epochs and over λ of a network in training; the numbers are below."

    def _html(self, note: str) -> str:
        return readout_html(self.run.status(), note)
