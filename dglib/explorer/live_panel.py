"""The live panel: sliders, buttons and a picture of a network in training, one slice per tick of the page."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import astuple
from functools import partial
from html import escape
from itertools import chain, pairwise
from operator import attrgetter
from pathlib import Path
from typing import Any

import ipywidgets as widgets
from matplotlib.ticker import MaxNLocator

from dglib.analysis import style
from dglib.analysis.curves import median_curve
from dglib.analysis.style import PENS, THICK, THIN
from dglib.errors import UserError
from dglib.explorer.live_run import LiveRun, Point, Settings, save_path
from dglib.explorer.panel import Canvas, Mark, Panel, cursor
from dglib.explorer.runs import QUICK, Seed, branches, load
from dglib.runs.directories import is_run
from dglib.training.data import load_dataset
from dglib.training.numerics import Numerics

SLICE_SECONDS = 0.1  # of training per tick
_RATES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3)
_PERIODS = (1, 2, 4, 8, 16, 32, 64, 128)
HEIGHT = 3.9  # inches
RISING, FALLING = PENS["ordered"], PENS["collapsed"]  # of λ
_PALE = 0.32
_FIRST_EPOCHS = 50  # on the axis of time; doubled as needed
_MOST = 1500  # points drawn; older ones are thinned out
_CSS = "font-family:'DejaVu Sans',sans-serif;font-size:13px;line-height:1.6"


def stretches(points: Sequence[Point]) -> tuple[list[list[Point]], list[list[Point]]]:
    """Cut a path where λ turns: parts on which it rose, and parts on which it fell.

    A constant λ continues the part before it. Every part begins with the last point of the one before.
    """
    lams = [point.settings.lam for point in points]
    moves = (after > before for before, after in pairwise(lams) if after != before)
    rising = next(moves, True)
    parts: dict[bool, list[list[Point]]] = {True: [], False: []}
    if points:
        parts[rising].append([points[0]])
    for before, after in pairwise(points):
        if (change := after.settings.lam - before.settings.lam) and (change > 0) != rising:
            rising = not rising
            parts[rising].append([before])
        parts[rising][-1].append(after)
    return parts[True], parts[False]


class LivePicture:
    """Made once; `draw` shows a live run.

    Args:
        recorded: seeds whose loop is shown behind the path, of the same network; may be empty.
    """

    def __init__(self, recorded: Sequence[Seed]) -> None:
        with style.styled():
            self.canvas = Canvas(HEIGHT)
            self._panels()
            self._loop(recorded)
            self._freeze(_FIRST_EPOCHS)

    def draw(self, run: LiveRun) -> Canvas:
        """From any thread."""
        epochs = _FIRST_EPOCHS
        while epochs <= len(run.points):
            epochs *= 2
        if epochs != self._epochs:
            with style.styled():
                self._freeze(epochs)
        self.canvas.marks = self._marks(run)
        return self.canvas

    def _freeze(self, epochs: int) -> None:
        self._epochs = epochs
        self._over_time.set_xlim(0, epochs)
        self.canvas.freeze()

    def _panels(self) -> None:
        figure = self.canvas.figure
        grid = figure.add_gridspec(2, 2, width_ratios=[1, 1.12], height_ratios=[2.2, 1])
        self._over_time = figure.add_subplot(grid[0, 0])
        self._lam_over_time = figure.add_subplot(grid[1, 0], sharex=self._over_time)
        self._plane = figure.add_subplot(grid[:, 1])
        style.panel(self._over_time, "a  Error over epochs", "", "Test error")
        style.panel(self._lam_over_time, "b  λ over epochs", "Epoch", "λ")
        style.panel(self._plane, "c  The path, and the recorded loop behind it", "λ", "Test error")
        for axes in (self._over_time, self._plane):
            style.error_axis(axes)
        self._over_time.tick_params(labelbottom=False)
        self._lam_over_time.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
        self._lam_over_time.set_ylim(-0.03, 1.03)
        self._lam_over_time.set_yticks([0, 0.5, 1])
        self._plane.set_xlim(-0.02, 1.02)
        self._plane.set_xticks([0, 0.2, 0.4, 0.6, 0.8, 1.0])

    def _loop(self, recorded: Sequence[Seed]) -> None:
        """Medians over seeds, pale, and the legend."""
        keys: list[tuple[str, dict[str, Any]]] = [
            ("λ rising", RISING.line(THICK)),
            ("λ falling", FALLING.line(THICK)),
            ("preparing", {"color": style.GREY, "linewidth": THIN}),
        ]
        for branch in branches().values():
            curves = [trace.curve for seed in recorded for trace in seed.traces if trace.branch == branch]
            xs, ys = median_curve(curves, branch.rising)
            if not xs or not branch.short or branch.pen == "trapped":
                continue
            line = PENS[branch.pen].line(THICK, _PALE)
            marker = PENS[branch.pen].marker
            self._plane.plot(xs, ys, **line, marker=marker, markersize=4, zorder=2)
            keys.append((f"{branch.title} (median of {len(curves)})", line))
        if len(keys) == 3:
            self._plane.set_title("c  The path", loc="left")
        style.legend_below(self.canvas.figure, keys, columns=3)

    def _marks(self, run: LiveRun) -> list[Mark]:
        points = [point for point in run.points if point.error is not None]
        now = run.now
        if now is not None and now.error is not None and now not in points[-1:]:
            points.append(now)
        every = max(1, math.ceil(len(points) / _MOST))
        if every > 1:
            points = points[: -_MOST // 3 : every] + points[-_MOST // 3 :]
        prepared = [point for point in points if point.prepared]
        moved = [*prepared[-1:], *(point for point in points if not point.prepared)]
        rising, falling = stretches(moved)
        falls = any(part[-1] is moved[-1] for part in falling)
        color = style.GREY if len(prepared) == len(points) else (FALLING if falls else RISING).color
        marks = []
        error = attrgetter("error")
        for axes, x, width, size in (
            (self._over_time, attrgetter("epoch"), 1.3, 5),
            (self._plane, attrgetter("settings.lam"), 1.8, 8),
        ):
            for parts, shade, line, dashes in (
                ([prepared], style.GREY, THIN, ()),
                (rising, RISING.color, width, ()),
                (falling, FALLING.color, width, FALLING.dashes[1]),
            ):
                # NaN breaks the line between two parts.
                xs = [*chain.from_iterable([*map(x, part), math.nan] for part in parts)]
                ys = [*chain.from_iterable([*map(error, part), math.nan] for part in parts)]
                marks.append(Mark(axes, xs, ys, shade, line, dashes))
            marks += [Mark(axes, [x(p)], [error(p)], color, size=size) for p in points[-1:]]
        stairs = [p for p in points for _ in range(2)]  # λ of a point holds from the one before
        epochs, lams = [p.epoch for p in stairs[:-1]], [p.settings.lam for p in stairs[1:]]
        marks.append(Mark(self._lam_over_time, epochs, lams, width=1.1))
        return [*marks, *cursor(run.wanted.lam, self._plane, size=9)]


def readout_html(run: LiveRun, message: str = "") -> str:
    """Two lines of HTML: the run's numbers, each with its `data-value`, and a message."""
    preparing = run.state == "preparing"
    here = run.settings if preparing else run.wanted  # of the next step
    if not message and run.state == "diverged":
        message = "the network has diverged: its logits are not finite; start again, or reset"
    if not message and preparing:
        message = f"preparing at λ {run.start.lam:.2f} for {run.start.epochs} epochs"
        if run.wanted != run.settings:
            message += f"; your settings (λ {run.wanted.lam:.2f}) apply after that"
    error = "–" if run.now is None or run.now.error is None else f"{run.now.error:.3f}"
    parts = [
        f"<b>{_value('state', run.state)}</b>",
        f"started {_value('start', run.start.name)}",
        f"step {_value('step', str(run.steps))}",
        f"epoch {_value('epoch', str(len(run.points)))}",
        f"λ {_value('lambda', f'{here.lam:.3f}')}",
        f"error {_value('error', error)}",
        f"LR {_value('lr', f'{here.lr:g}')}",
        f"K {_value('k', str(here.refresh_period))}",
        f"η {_value('eta', f'{here.noise_rate:.2f}')}",
    ]
    return f'<div style="{_CSS}">{" · ".join(parts)}<br>{_value("message", message)}&nbsp;</div>'


def _value(name: str, text: str) -> str:
    return f'<span data-value="{name}">{escape(text)}</span>'


class LivePanel(Panel):
    """The live part of the explorer. Controls are attributes: `panel.lam.value = 0.6` moves λ.

    The page's clock, a `Play` widget, requests each slice of training, so that it stops with the page.
    ipywidgets 7, which Colab has, cannot start it from here: there it is shown.

    Args:
        base: the base directory, below which paths are saved.
    """

    part, css = "live", "dglib-live"
    still_note = "A still picture: in a running notebook, or under Voilà, a network trains while λ is moved."

    def __init__(self, base: Path) -> None:
        super().__init__()
        self._base = base
        self.run = LiveRun(load_dataset("digits"), Numerics.resolve("cpu", 1))
        self.run.paused = True
        self._picture = LivePicture(load(QUICK).seeds if is_run(QUICK) else [])
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
        with self._lock:
            if not self._closed:
                self._closed = True
                super().close()

    def _make_controls(self) -> None:
        default, third = Settings(), widgets.Layout(flex="1 1 300px", max_width="330px")
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
        self.step = self._button("step", self._step)
        self.reset = self._button("reset", self._begin)
        self.save = self._button("save path", self._save_path)
        for slider in (self.lam, self.lr, self.k, self.eta):
            slider.observe(lambda _: None if self._setting else self._do(self._apply_sliders), "value")
        self.clock.observe(lambda _: None if self.run.paused else self._do(self._train), "value")
        if self._playing:
            self.clock.layout.display = "none"
        buttons = [self.ordered, self.collapsed, self.pause, self.step, self.reset, self.save, self.clock]
        self._lay_out([buttons, self.lam, [self.lr, self.k, self.eta]])
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
        self.run.wanted = Settings(lam, self.lr.value, self.k.value, eta)

    def _begin(self, start: str | None = None) -> None:
        """Begin at a start; None: at the latest, with every slider at its default, and paused if it was."""
        self.run.begin(start or self.run.start.name, defaults=start is None)
        self._setting = True
        try:
            values = astuple(self.run.wanted)
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
        table = save_path(self.run, self._picture.draw(self.run).png(), self._base)
        self._message = f"path saved in {table.parent.absolute()}: {table.name} and {table.stem}.png"

    def _draw(self) -> None:
        self._paint(self._picture.draw(self.run))
        self.numbers.value = readout_html(self.run, self._message)
        self.pause.description = "resume" if self.run.paused else "pause"
        if self._playing:
            self.clock.playing = self.run.state not in ("paused", "diverged")

    def _alternative(self) -> str:
        return "Error over epochs and over λ of a network in training; the numbers are below."

    def _html(self, note: str) -> str:
        return readout_html(self.run, note)
