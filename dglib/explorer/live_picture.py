"""The live picture, error and λ over time and the path in the plane of both, and the numbers below it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape
from itertools import chain, pairwise
from typing import Any

from matplotlib.ticker import MaxNLocator

from dglib.analysis import style
from dglib.analysis.curves import median_curve
from dglib.analysis.style import LOOKS, THICK, THIN
from dglib.explorer.live_run import Point, Status
from dglib.explorer.panel import Canvas, Cursor
from dglib.explorer.runs import QUICK, Seed, Source, branches, choices, load

HEIGHT = 3.9  # inches
RISING, FALLING = LOOKS["ordered"], LOOKS["collapsed"]  # of λ
_PALE = 0.32
_FIRST_EPOCHS = 50  # on the axis of time; doubled as needed
_MOST = 1500  # points drawn; older ones are thinned out
_OPENED = 6  # runs searched for a recorded loop
_CSS = "font-family:'DejaVu Sans',sans-serif;font-size:13px;line-height:1.6"
_X: tuple[Callable[[Point], float], ...] = (
    lambda p: p.epoch,
    lambda p: p.settings.lam,
)  # in time, in the plane


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


def recorded_loop(source: Source) -> list[Seed]:
    """The seeds of the newest recorded run in which λ was raised, else of the quick run; [] without any."""
    available = choices(source)
    for path in [*available[:_OPENED], *(p for p in available[_OPENED:] if p == QUICK)]:
        seeds = load(path).seeds
        if any(trace.branch.rising and trace.branch.short for seed in seeds for trace in seed.traces):
            return seeds
    return []


class LivePicture:
    """Made once; `draw` shows the status of a live run.

    Args:
        recorded: seeds whose loop is shown behind the path; may be empty.
    """

    def __init__(self, recorded: Sequence[Seed]) -> None:
        with style.styled():
            self._canvas = Canvas(HEIGHT)
            self._panels()
            self._loop(recorded)
            self._moving()
            self._freeze(_FIRST_EPOCHS)

    def draw(self, status: Status) -> bytes:
        """The picture as PNG. From any thread."""
        epochs = _FIRST_EPOCHS
        while epochs <= status.epochs:
            epochs *= 2
        with style.DRAWING:
            if epochs != self._epochs:
                with style.styled():
                    self._freeze(epochs)
            self._place(status)
            return self._canvas.png(self._artists)

    def _freeze(self, epochs: int) -> None:
        self._epochs = epochs
        self._over_time.set_xlim(0, epochs)
        self._canvas.freeze()

    def _panels(self) -> None:
        figure = self._canvas.figure
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
            if not xs or not branch.short or branch.look == "trapped":
                continue
            line = LOOKS[branch.look].line(THICK, _PALE)
            marker = LOOKS[branch.look].marker
            self._plane.plot(xs, ys, **line, marker=marker, markersize=4, zorder=2)
            keys.append((f"{branch.title} (median of {len(curves)})", line))
        if len(keys) == 3:
            self._plane.set_title("c  The path", loc="left")
        style.legend_below(self._canvas.figure, keys, columns=3)

    def _moving(self) -> None:
        """Artists outside the background."""
        grey: dict[str, Any] = {"color": style.GREY, "linewidth": THIN, "zorder": 3}
        newest: dict[str, Any] = {"markeredgecolor": "black", "zorder": 6, "clip_on": False}
        self._lines, self._preparing, self._newest = {}, [], []
        for axes, width, size in ((self._over_time, 1.3, 5), (self._plane, 1.8, 8)):
            for look in (RISING, FALLING):
                (self._lines[axes, look],) = axes.plot([], [], animated=True, zorder=4, **look.line(width))
            self._preparing += axes.plot([], [], animated=True, **grey)
            self._newest += axes.plot([], [], "o", markersize=size, animated=True, **newest)
        (self._lam,) = self._lam_over_time.plot(
            [], [], color=style.BLACK, linewidth=1.1, drawstyle="steps-pre", animated=True
        )
        self._cursor = Cursor(self._plane, size=9, width=0.9)
        self._artists = [
            *self._preparing, *self._cursor.artists, *self._lines.values(), self._lam, *self._newest,
        ]  # fmt: skip
        for artist in self._artists:
            artist.set_in_layout(False)

    def _place(self, status: Status) -> None:
        points = [point for point in status.points if point.error is not None]
        now = status.now
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
        for (axes, look), line in self._lines.items():
            x = _X[axes is self._plane]
            parts = [part for part in (rising if look is RISING else falling) if len(part) > 1]
            # NaN breaks the line between two parts.
            xs, ys = ([[*map(value, part), math.nan] for part in parts] for value in (x, _error))
            line.set_data(list(chain.from_iterable(xs)), list(chain.from_iterable(ys)))
        for line, mark, x in zip(self._preparing, self._newest, _X, strict=True):
            line.set_data(list(map(x, prepared)), list(map(_error, prepared)))
            mark.set_data(list(map(x, points[-1:])), list(map(_error, points[-1:])))
            mark.set_markerfacecolor(color)
        self._lam.set_data([p.epoch for p in points], [p.settings.lam for p in points])
        self._cursor.move(status.wanted.lam)


def _error(point: Point) -> float:
    return point.error or 0.0


def readout_html(status: Status, message: str = "") -> str:
    """Two lines of HTML: the run's numbers, each with its `data-value`, and a message."""
    preparing = status.state == "preparing"
    here = status.settings if preparing else status.wanted  # of the next step
    if not message and status.state == "diverged":
        message = "the network has diverged: its logits are not finite; start again, or reset"
    if not message and preparing:
        message = f"preparing at λ {status.start.lam:.2f} for {status.start.epochs} epochs"
        if status.wanted != status.settings:
            message += f"; your settings (λ {status.wanted.lam:.2f}) apply after that"
    error = "–" if status.error is None else f"{status.error:.3f}"
    parts = [
        f"<b>{_value('state', status.state)}</b>",
        f"started {_value('start', status.start.name)}",
        f"step {_value('step', str(status.steps))}",
        f"epoch {_value('epoch', str(status.epochs))}",
        f"λ {_value('lambda', f'{here.lam:.3f}')}",
        f"error {_value('error', error)}",
        f"LR {_value('lr', f'{here.lr:g}')}",
        f"K {_value('k', str(here.refresh_period))}",
        f"η {_value('eta', f'{here.noise_rate:.2f}')}",
    ]
    return f'<div style="{_CSS}">{" · ".join(parts)}<br>{_value("message", message)}&nbsp;</div>'


def _value(name: str, text: str) -> str:
    return f'<span data-value="{name}">{escape(text)}</span>'
