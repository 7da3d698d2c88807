"""The live picture, error and λ over time and the path in their plane, and the line of numbers below it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from itertools import pairwise
from typing import Any

from matplotlib.collections import LineCollection
from matplotlib.ticker import MaxNLocator

from dglib.analysis import style
from dglib.analysis.curves import median_curve
from dglib.analysis.style import LOOKS, THICK, THIN
from dglib.explorer.canvas import Canvas
from dglib.explorer.live_settings import Point, Status
from dglib.explorer.runs import QUICK, Choice, Places, choices, load
from dglib.explorer.traces import Seed, branches, seeds_of

WIDTH, HEIGHT, DPI = 8.6, 3.9, 125  # inches, and pixels to one of them
RISING, FALLING = LOOKS["ordered"], LOOKS["collapsed"]  # of λ
_PALE = 0.32
_FIRST_EPOCHS = 50  # on the axis of time, which then doubles
_MOST = 1500  # points drawn: a longer past is thinned out
_OPENED = 6  # runs that are opened to find a recorded loop
STILL_NOTE = "A still picture: in a running notebook, or under Voilà, a network trains here while λ is moved."
_CSS = "font-family:'DejaVu Sans',sans-serif;font-size:13px;line-height:1.6"
Points = list[tuple[float, float]]


def stretches(points: Sequence[Point]) -> tuple[list[list[Point]], list[list[Point]]]:
    """A path cut up where λ turns: the stretches on which it rose, and those on which it fell.

    While λ is held, a stretch goes on as it went; the first goes as λ first does. Each begins with the last
    point of the one before.
    """
    moves = (b.lam > a.lam for a, b in pairwise(points) if a.lam != b.lam)
    rising = next(moves, True)
    found: dict[bool, list[list[Point]]] = {True: [], False: []}
    if points:
        found[rising].append([points[0]])
    for before, after in pairwise(points):
        if after.lam != before.lam and (after.lam > before.lam) != rising:
            rising = not rising
            found[rising].append([before])
        found[rising][-1].append(after)
    return found[True], found[False]


def recorded_loop(places: Places) -> list[Seed]:
    """The newest of the recorded runs in which λ was raised, else of the quick run; [] without any."""
    for choice in [*choices(places)[:_OPENED], Choice(QUICK, "")]:
        if choice.path.exists():
            seeds = seeds_of(load(choice))
            if any(trace.branch.rising and trace.branch.short for seed in seeds for trace in seed.traces):
                return seeds
    return []


class LivePicture:
    """Made once; `draw` puts a live run's status on it.

    Args:
        recorded: the seeds whose loop stands behind the path; may be empty.
        dpi: pixels to the inch.
    """

    def __init__(self, recorded: Sequence[Seed], dpi: float = DPI) -> None:
        with style.styled():
            self._canvas = Canvas(WIDTH, HEIGHT, dpi)
            self._panels()
            self._loop(recorded)
            self._moving()
            self._span(_FIRST_EPOCHS)
            self._canvas.settle()
            self._prime()

    def draw(self, status: Status) -> bytes:
        """The picture as PNG. From any thread."""
        epochs = _FIRST_EPOCHS
        while epochs <= status.epochs:
            epochs *= 2
        with style.drawing():
            if epochs != self._epochs:
                with style.styled():
                    self._span(epochs)
                    self._canvas.settle()
            self._place(status)
            return self._canvas.png(epochs, [], self._artists)

    def _span(self, epochs: int) -> None:
        self._epochs = epochs
        self._over_time.set_xlim(0, epochs)

    def _panels(self) -> None:
        grid = self._canvas.figure.add_gridspec(2, 2, width_ratios=[1, 1.12], height_ratios=[2.2, 1])
        figure = self._canvas.figure
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
        """Medians over seeds, pale, and the legend of everything."""
        keys: list[tuple[str, dict[str, Any]]] = [
            ("λ rising", RISING.line(THICK)),
            ("λ falling", FALLING.line(THICK)),
            ("preparing", {"color": style.GREY, "linewidth": THIN}),
        ]
        for branch in branches().values():
            if not branch.short or branch.look is LOOKS["trapped"]:
                continue
            curves = [trace.curve for seed in recorded for trace in seed.traces if trace.branch is branch]
            xs, ys = median_curve(curves, branch.rising) if curves else ([], [])
            if not xs:
                continue
            look = branch.look.line(THICK, _PALE)
            self._plane.plot(xs, ys, **look, marker=branch.look.marker, markersize=4, zorder=2)
            keys.append((f"{branch.title} (median of {len(curves)})", look))
        if len(keys) == 3:
            self._plane.set_title("c  The path", loc="left")
        style.legend_below(self._canvas.figure, keys, columns=3)

    def _moving(self) -> None:
        """Make what moves; it is left out of the background."""
        self._lines = {
            (axes, look): LineCollection(
                [],
                colors=look.color,
                linestyles=[look.dashes],
                linewidths=width,
                animated=True,
                zorder=4,
            )
            for axes, width in ((self._over_time, 1.3), (self._plane, 1.8))
            for look in (RISING, FALLING)
        }
        grey: dict[str, Any] = {"color": style.GREY, "linewidth": THIN, "animated": True, "zorder": 3}
        self._preparing = [axes.plot([], [], **grey)[0] for axes in (self._over_time, self._plane)]
        for (axes, _), lines in self._lines.items():
            axes.add_collection(lines, autolim=False)
        (self._lam,) = self._lam_over_time.plot(
            [], [], color=style.BLACK, linewidth=1.1, drawstyle="steps-pre", animated=True
        )
        self._cursor = self._plane.axvline(0, color=style.BLACK, linewidth=0.9, animated=True, zorder=3)
        self._newest = [
            axes.plot(
                [], [], "o", markersize=size, markeredgecolor="black", animated=True, zorder=6, clip_on=False
            )[0]
            for axes, size in ((self._over_time, 5), (self._plane, 8))
        ]
        self._name = self._plane.text(
            0, 1.0, "", transform=self._plane.get_xaxis_transform(), fontsize=9, fontweight="bold",
            ha="center", va="top", animated=True, zorder=7,
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 1},
        )  # fmt: skip
        self._artists = [
            *self._preparing, self._cursor, *self._lines.values(), self._lam, *self._newest, self._name,
        ]  # fmt: skip
        for artist in self._artists:
            artist.set_in_layout(False)

    def _prime(self) -> None:
        """Show every colour once: the first picture decides on the colours of all."""
        lams = [0.3, 0.3, 0.5, 0.8, 0.6, 0.2]
        sample = [Point(5 * i, lam, lam, i < 2) for i, lam in enumerate(lams)]
        self._set(sample, 0.2)
        self._canvas.png("prime", [], self._artists)

    def _place(self, status: Status) -> None:
        points = [point for point in status.points if point.error is not None]
        now = status.now
        if now is not None and now.error is not None and now not in points[-1:]:
            points.append(now)
        step = max(1, math.ceil(len(points) / _MOST))
        thinned = points[: -_MOST // 3 : step] + points[-_MOST // 3 :] if step > 1 else points
        self._set(thinned, status.wanted.lam)

    def _set(self, points: Sequence[Point], lam: float) -> None:
        prepared = [point for point in points if point.prepared]
        moved = [*prepared[-1:], *(point for point in points if not point.prepared)]
        rising, falling = stretches(moved)
        for (axes, look), lines in self._lines.items():
            place = _in_plane if axes is self._plane else _in_time
            parts = rising if look is RISING else falling
            lines.set_segments([place(stretch) for stretch in parts if len(stretch) > 1])
        for line, place in zip(self._preparing, (_in_time, _in_plane), strict=True):
            line.set_data(*_columns(place(prepared)))
        self._lam.set_data(*_columns([(p.epoch, p.lam) for p in points]))
        falls = any(stretch[-1] is moved[-1] for stretch in falling) if moved else False
        color = (FALLING if falls else RISING).color
        if not any(not p.prepared for p in points):
            color = style.GREY
        for mark, place in zip(self._newest, (_in_time, _in_plane), strict=True):
            mark.set_data(*_columns(place(points[-1:])))
            mark.set_markerfacecolor(color)
        self._cursor.set_xdata([lam, lam])
        self._name.set_text(f"λ = {lam:.2f}")
        self._name.set_x(min(max(lam, 0.09), 0.92))


def _in_time(points: Sequence[Point]) -> Points:
    return [(p.epoch, p.error or 0.0) for p in points]


def _in_plane(points: Sequence[Point]) -> Points:
    return [(p.lam, p.error or 0.0) for p in points]


def _columns(points: Points) -> tuple[list[float], list[float]]:
    return [x for x, _ in points], [y for _, y in points]


def readout_html(status: Status, message: str = "") -> str:
    """Two lines of HTML: the run's numbers, and a message; values carry `data-value`."""
    preparing = status.state == "preparing"
    here = status.settings if preparing else status.wanted  # what the next step is taken with
    error = "–" if status.error is None else f"{status.error:.3f}"
    if status.state == "diverged":
        message = message or "the network has diverged: its logits are not finite; start anew, or reset"
    parts = [
        f"<b>{_value('state', status.state)}</b>",
        f"begun {_value('start', status.start.name)}",
        f"step {_value('step', str(status.steps))}",
        f"epoch {_value('epoch', str(status.epochs))}",
        f"λ {_value('lambda', f'{here.lam:.3f}')}",
        f"error {_value('error', error)}",
        f"LR {_value('lr', f'{here.lr:g}')}",
        f"K {_value('k', str(here.refresh_period))}",
        f"η {_value('eta', f'{here.noise_rate:.2f}')}",
    ]
    if not message and preparing:
        message = f"preparing at λ {status.start.lam:.2f} for {status.start.epochs} epochs"
        if status.wanted != status.settings:
            message += f"; what you have set (λ {status.wanted.lam:.2f}) acts then"
    told = _value("message", message)
    return f'<div style="{_CSS}">{" · ".join(parts)}<br>{told}&nbsp;</div>'


def _value(name: str, text: str) -> str:
    return f'<span data-value="{name}">{escape(text)}</span>'
