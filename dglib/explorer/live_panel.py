"""The live panel: sliders, buttons and the picture of a network that trains meanwhile."""

from __future__ import annotations

import queue
from collections.abc import Callable, Mapping
from typing import Any

import ipywidgets as widgets

from dglib.errors import UserError
from dglib.explorer.canvas import hiding, lay_out, static_html
from dglib.explorer.drivers import Driver, Page, driver_for
from dglib.explorer.live_picture import DPI, STILL_NOTE, WIDTH, LivePicture, readout_html, recorded_loop
from dglib.explorer.live_run import LiveRun, save_path
from dglib.explorer.live_settings import STARTS, Settings
from dglib.explorer.runs import Places, notebook_settings
from dglib.training.data import load_dataset
from dglib.training.numerics import Numerics

_PIXELS = round(WIDTH * DPI)
_RATES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3)
_PERIODS = (1, 2, 4, 8, 16, 32, 64, 128)


def live_panel(globals_: Mapping[str, object]) -> LivePanel:
    """A live panel under a notebook's parameters; closes what an earlier run of the same cell left.

    That is found under the name `live`, and under the names that the shell gives to results by itself.

    Raises:
        UserError: one line on what is wrong with the parameters.
    """
    places = notebook_settings(globals_)
    for name, value in list(globals_.items()):
        if isinstance(value, LivePanel) and (name == "live" or name.startswith("_")):
            value.close()
    return LivePanel(places)


class LivePanel:
    """The live part of the explorer. Controls are attributes: `panel.lam.value = 0.6` moves λ.

    Args:
        places: where paths are saved, and where a recorded loop is searched for.
        driver_for: what makes it go, given its turn; by default what works here.

    Attributes:
        widget: the root, to be displayed; `show` does it, with a still picture for where it cannot be.
        run: the session; trains in the driver's thread.
        redraws: pictures sent so far.
        failure: what ended the training unexpectedly, or None.
    """

    def __init__(self, places: Places, driver_for: Callable[..., Driver] = driver_for) -> None:
        self._places = places
        self.run = LiveRun(load_dataset("digits"), Numerics.resolve("cpu", 1))
        self.run.control.pause()
        self._picture = LivePicture(recorded_loop(places))
        self._asked: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._shown: object = None
        self._is_setting = self._closed = False
        self.failure: Exception | None = None
        self.redraws = 0
        self._page = Page(self._wake)
        self._driver = driver_for(self._turn)
        self._message = self._driver.hint
        self._make()
        self._draw()

    def show(self) -> None:
        """Display the panel, with a still picture for where widgets cannot be shown."""
        lay_out(self.still(), self.widget)

    def _ipython_display_(self) -> None:
        self.show()

    def still(self) -> str:
        """The picture and its numbers as HTML."""
        reading = readout_html(self.run.status(), STILL_NOTE)
        alternative = "Error over epochs and over λ of a network in training; the numbers are below."
        return static_html("live", self.picture.value, alternative, reading, _PIXELS)

    def close(self) -> None:
        """End the training and its thread, and take the panel off the page. Again: nothing happens."""
        if self._closed:
            return
        self._closed = True
        self._driver.close()
        self._page.close()
        for each in (*self._controls, self.picture, self.numbers, *self._boxes, self.widget):
            each.unobserve_all()
            each.close()

    # ── what the reader does: on the kernel's own thread ──

    def begin(self, start: str) -> None:
        """Start "ordered" or "collapsed" anew, under the settings that the sliders show."""
        self._set(lam=STARTS[start].lam)
        self._ask(lambda: self._begin(lambda: self.run.begin(start)))

    def reset(self) -> None:
        """Back to the beginning of this start, every slider at its default; paused if it was."""
        lam = self.run.status().start.lam
        self._set(**{**vars(Settings()), "lam": lam})
        self._ask(lambda: self._begin(self.run.reset, self.run.control.paused))

    def pause_or_go_on(self) -> None:
        """Take no more steps, or go on taking them."""
        self._ask(self._pause_or_go_on)

    def step(self) -> None:
        """Pause, and take a single step."""
        self._ask(self._step)

    def save_path(self) -> None:
        """Save the path so far as a CSV and a picture below the base directory."""
        self._ask(self._save_path)

    def _moved(self, _: Any) -> None:
        """A slider was moved."""
        self._page.sign()
        if not self._is_setting:
            self._apply()
            self._wake()

    def _apply(self) -> None:
        try:
            self.run.change(
                lam=round(self.lam.value, 6),
                lr=self.lr.value,
                refresh_period=self.k.value,
                noise_rate=round(self.eta.value, 6),
            )
        except UserError as error:
            self._say(str(error))

    def _set(self, **values: Any) -> None:
        """Move sliders without acting on it."""
        controls = {"lam": self.lam, "lr": self.lr, "refresh_period": self.k, "noise_rate": self.eta}
        self._is_setting = True
        try:
            for name, value in values.items():
                controls[name].value = value
        finally:
            self._is_setting = False

    def _ask(self, action: Callable[[], None]) -> None:
        self._page.sign()
        self._asked.put(action)
        self._wake()

    def _wake(self) -> None:
        if not self._closed:
            self._driver.wake()

    # ── what the driver does: one turn at a time, in its thread ──

    def _turn(self, seconds: float) -> float | None:
        try:
            return self._work(seconds)
        except Exception as error:  # a thread that ends without a word would look like a frozen page
            self.failure = error
            self.run.control.pause()
            self._say(f"stopped by {type(error).__name__}: {error}")
            self.numbers.value = readout_html(self.run.status(), self._message)
            return None

    def _work(self, seconds: float) -> float | None:
        while not self._asked.empty():
            self._say("")
            try:
                self._asked.get()()
            except UserError as error:
                self._say(str(error))
        away = self._page.gone
        goes = not away and not self.run.control.paused and self.run.status().state != "diverged"
        if goes and seconds:
            try:
                self.run.advance(seconds)
            except UserError as error:  # as where a cell trains with other switches of torch meanwhile
                self.run.control.pause()
                self._say(str(error))
                goes = False
        if self._page.keeps_up or not goes:
            self._draw(away)
        if away:
            self._page.ask()
            return self._page.patience
        return 0 if goes else None

    def _begin(self, begin: Callable[[], None], paused: bool = False) -> None:
        begin()
        self._apply()  # sliders may have been moved since
        self.failure = None
        if not paused:
            self.run.control.go_on()

    def _pause_or_go_on(self) -> None:
        if self.run.control.paused:
            self.run.control.go_on()
        else:
            self.run.control.pause()

    def _step(self) -> None:
        self.run.control.pause()
        self.run.step()

    def _save_path(self) -> None:
        status = self.run.status()
        table = save_path(status, self._picture.draw(status), self._places.base)
        self._say(f"path saved in {table.parent.absolute()}: {table.name} and {table.stem}.png")

    def _say(self, message: str) -> None:
        self._message = message
        self._shown = None

    def _draw(self, away: bool = False) -> None:
        """Show where the run stands, unless that is shown."""
        status = self.run.status()
        seen = (status.steps, status.state, status.settings, status.wanted, status.start, away, self._message)
        if self._shown == seen or self._closed:
            return
        self.picture.value = self._picture.draw(status)
        message = "the page has gone: waiting for it" if away else self._message
        self.numbers.value = readout_html(status, message)
        self.pause.description = "go on" if self.run.control.paused else "pause"
        self._shown = seen
        self.redraws += 1
        self._page.ask()

    # ── how it looks ──

    def _make(self) -> None:
        """The controls, each with a class of its own, and what they do."""
        default, line = Settings(), widgets.Layout(width=f"{_PIXELS}px", max_width="100%")
        self.lam = widgets.FloatSlider(
            value=default.lam, min=0.0, max=1.0, step=0.01, readout_format=".2f", description="λ", layout=line
        )
        several = widgets.Layout(width="330px")
        self.lr = widgets.SelectionSlider(
            options=[(f"{rate:g}", rate) for rate in _RATES], value=default.lr, description="LR",
            layout=several,
        )  # fmt: skip
        self.k = widgets.SelectionSlider(
            options=_PERIODS, value=default.refresh_period, description="K, steps", layout=several
        )
        self.eta = widgets.FloatSlider(
            value=default.noise_rate, min=0.0, max=0.9, step=0.05, readout_format=".2f",
            description="η, noise", layout=several,
        )  # fmt: skip
        self.ordered = _button("start ordered", lambda: self.begin("ordered"), "primary")
        self.collapsed = _button("start collapsed", lambda: self.begin("collapsed"), "primary")
        self.pause = _button("pause", self.pause_or_go_on)
        self.one = _button("step", self.step)
        self.again = _button("reset", self.reset)
        self.save = _button("save path", self.save_path)
        self.picture = widgets.Image(format="png", layout=line)
        self.numbers = widgets.HTML(layout=line)
        classes = {
            "lambda": self.lam, "lr": self.lr, "k": self.k, "eta": self.eta, "ordered": self.ordered,
            "collapsed": self.collapsed, "pause": self.pause, "step": self.one, "reset": self.again,
            "save": self.save,
        }  # fmt: skip
        self._controls = list(classes.values())
        for name, control in {**classes, "picture": self.picture, "readout": self.numbers}.items():
            control.add_class(f"dglib-live-{name}")
        for slider in (self.lam, self.lr, self.k, self.eta):
            slider.observe(self._moved, "value")
        self._lay_out()

    def _lay_out(self) -> None:
        wrapped = widgets.Layout(flex_flow="row wrap")
        buttons = widgets.HBox(
            [self.ordered, self.collapsed, self.pause, self.one, self.again, self.save], layout=wrapped
        )
        others = widgets.HBox([self.lr, self.k, self.eta], layout=wrapped)
        hidden = widgets.HTML(hiding("live"))
        view = [self._driver.view] if self._driver.view is not None else []
        self._boxes = [buttons, others, hidden, *view]
        self.widget = widgets.VBox(
            [hidden, buttons, *view, self.lam, others, self.picture, self.numbers, self._page.view]
        )
        self.widget.add_class("dglib-live")
        # However it is closed (by hand, or with all widgets at once), the thread ends.
        self.widget.observe(self._taken_away, "comm")

    def _taken_away(self, change: Any) -> None:
        if change["new"] is None:
            self.close()


def _button(text: str, action: Callable[[], None], style: str = "") -> Any:
    button = widgets.Button(description=text, button_style=style, layout=widgets.Layout(width="150px"))
    button.on_click(lambda _: action())
    return button
