"""The recorded runs' picture: branches and trajectories as background; cursor, limits and marks move."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.ticker import AutoLocator, MaxNLocator

from dglib.analysis import style, wording
from dglib.analysis.curves import median_curve
from dglib.analysis.fields import rounded
from dglib.analysis.style import LOOKS, THICK, THIN, Look
from dglib.experiments import Sweep, get
from dglib.explorer.panel import BOX, Canvas, Cursor
from dglib.explorer.readout import Readout, Selection
from dglib.explorer.runs import Seed, branches, columns, evaluations_at, levels

HEIGHT = 4.9  # inches
_PALE = 0.13  # of seeds not chosen
_UNDER: dict[str, Any] = {"color": style.LIGHT_GREY, "linewidth": THIN}  # outside the branches: the init
_STAIRS: dict[str, Any] = {**_UNDER, "color": style.DARK_GREY, "alpha": 0.5, "drawstyle": "steps-pre"}
Mark = tuple[tuple[float, float], str]  # place, colour


class RecordedPicture:
    """Branches over λ with every seed's thresholds, and the chosen seeds' trajectories over epochs.

    Made for one choice of experiments and seeds; `draw` shows a cursor and limits.
    """

    def __init__(self, seeds: Sequence[Seed], selection: Selection) -> None:
        self._visible = [seed for seed in seeds if seed.experiment in selection.experiments]
        self._chosen = selection.of(seeds)
        self._traces = [trace for seed in self._chosen for trace in seed.traces]
        self._rows = [
            (branch, seed)
            for branch in branches().values()
            for seed in self._chosen
            if branch.short and any(trace.branch == branch for trace in seed.traces)
        ]
        visited = levels(self._visible) or [0.3, 0.7]
        margin = max(0.03, 0.1 - (visited[-1] - visited[0]) / 2)
        self._low, self._high = visited[0] - margin, visited[-1] + margin
        with style.styled():
            self._canvas = Canvas(HEIGHT)
            keys = self._legend_keys()
            self._panels(second_row=len(keys) > 4)
            self._branches()
            self._lower()
            self._trajectories()
            style.legend_below(self._canvas.figure, keys, columns=min(4, len(keys)) or None)
            self._moving()
            self._canvas.freeze()

    def draw(self, readout: Readout) -> bytes:
        """The picture as PNG, with the cursor and limits of the readout's selection. From any thread."""
        with style.DRAWING:
            self._place_limits(readout)
            self._place_cells(readout)
            self._place_cursor(readout)
            return self._canvas.png(self._artists)

    def _look(self, branch: Sweep) -> Look:
        in_loop = any(get(seed.experiment).direction for seed in self._visible)
        return LOOKS[(branch.alternate_look if in_loop else "") or branch.look]

    def _panels(self, second_row: bool) -> None:
        figure = self._canvas.figure
        figure.set_layout_engine("none")  # positions are known; computing them takes a third of the time
        bottom = 0.18 if second_row else 0.145
        grid = figure.add_gridspec(
            2, 2, width_ratios=[1.1, 1], height_ratios=[2.4, 1.3], wspace=0.14, hspace=0.17,
            left=0.075, right=0.99, top=0.955, bottom=bottom,
        )  # fmt: skip
        self.plane = figure.add_subplot(grid[0, 0])
        self.lower = figure.add_subplot(grid[1, 0], sharex=self.plane)
        self.over_time = figure.add_subplot(grid[0, 1])
        self.lam_over_time = figure.add_subplot(grid[1, 1], sharex=self.over_time)
        style.panel(self.plane, "a  Error on each branch, over λ", "", "Test error")
        style.panel(self.over_time, "c  Error of the chosen seeds, over epochs", "", "Test error")
        style.panel(self.lam_over_time, "d  λ over epochs", "Epoch", "λ")
        for axes in (self.plane, self.over_time):
            style.error_axis(axes)
            axes.tick_params(labelbottom=False)
        self.plane.set_xlim(self._low, self._high)
        self.lam_over_time.set_ylim(self._low, self._high)
        self.plane.xaxis.set_major_locator(MaxNLocator(nbins=8, steps=[1, 2, 5, 10]))

    def _branches(self) -> None:
        for seed in self._visible:
            alpha = 0.5 if any(seed is other for other in self._chosen) else _PALE
            for trace in seed.traces:
                errors, look = trace.curve.errors, self._look(trace.branch)
                self.plane.plot(list(errors), list(errors.values()), **look.line(THIN, alpha))
        for branch in branches().values():
            curves = [trace.curve for trace in self._traces if trace.branch == branch]
            xs, ys = median_curve(curves, branch.rising)
            look = self._look(branch)
            self.plane.plot(xs, ys, **look.line(THICK), marker=look.marker, markersize=4, zorder=4)
            style.arrow(self.plane, xs, ys, look.color)
        if not self._traces:
            style.note(
                self.plane, "no sweep on record for these seeds" if self._chosen else "no seed is chosen"
            )

    def _lower(self) -> None:
        """A row for every threshold; without any, the gaps."""
        style.panel(self.lower, "b  Where each seed's threshold lies", "λ", "")
        self.lower.set_yticks([])
        if self._rows:
            self._name_rows()
            return
        for seed in self._chosen:
            if len(seed.traces) == 2:
                self._plot_gaps(seed)
        if self.lower.lines:
            self.lower.yaxis.set_major_locator(AutoLocator())
            style.panel(self.lower, "b  Gap of each seed between its branches", "λ", "Gap")
            self.lower.axhline(0, color=style.GREY, linewidth=0.6, zorder=1)
        else:
            place: dict[str, Any] = {"transform": self.lower.transAxes, "ha": "center"}
            self.lower.text(0.5, 0.5, "no threshold on record", color=style.DARK_GREY, **place)

    def _plot_gaps(self, seed: Seed) -> None:
        """Error above less error below, at the levels of both branches."""
        below, above = (trace.curve.errors for trace in seed.traces)
        found = {lam: rounded(above[lam] - below[lam]) for lam in sorted(below.keys() & above.keys())}
        look = self._look(seed.traces[1].branch)
        line: dict[str, Any] = look.line(THIN, 0.8) | {"marker": look.marker, "markersize": 3}
        self.lower.plot(list(found), list(found.values()), **line)

    def _name_rows(self) -> None:
        shown = [branch for branch, _ in self._rows]
        for branch in dict.fromkeys(shown):
            self.lower.text(
                -0.012, shown.index(branch) + (shown.count(branch) - 1) / 2, branch.short,
                transform=self.lower.get_yaxis_transform(),
                ha="right", va="center", fontsize=7.5, color=self._look(branch).color,
            )  # fmt: skip
        self.lower.set_ylim(len(self._rows) - 0.3, -0.7)

    def _trajectories(self) -> None:
        known = False
        for seed in self._chosen:
            for arm in seed.trajectories:
                epochs, errors, lams = columns(arm, "epoch", "error", "lambda")
                known = known or any(map(math.isfinite, epochs))
                alone = {} if seed.traces else {"color": style.DARK_GREY}
                self.over_time.plot(epochs, errors, **_UNDER | alone)
                self.lam_over_time.plot(epochs, lams, **_STAIRS)
            for trace in seed.traces:
                line = self._look(trace.branch).line(THIN, 0.85)
                self.over_time.plot(*columns(trace.evaluations, "epoch", "error"), **line)
        self.lam_over_time.xaxis.set_major_locator(MaxNLocator(integer=True))
        if not known:
            for axes in (self.over_time, self.lam_over_time):
                style.note(axes, "no epochs on record")

    def _legend_keys(self) -> list[tuple[str, dict[str, Any]]]:
        keys = []
        for branch in branches().values():
            if n := sum(trace.branch == branch for trace in self._traces):
                look = self._look(branch)
                line = {**look.line(THICK), "marker": look.marker, "markersize": 4}
                keys.append((f"{branch.title} ({n})", line))
        if self._traces:
            thin = {"color": style.DARK_GREY, "linewidth": THIN}
            keys.append(("thin: each seed; thick: their median", thin))
        return keys

    def _moving(self) -> None:
        """Artists outside the background."""
        moving: dict[str, Any] = {"animated": True}
        self._cursor = Cursor(self.plane, self.lower, size=8, width=1.1)
        self._level = self.lam_over_time.axhline(0, color=style.BLACK, linewidth=1.1, zorder=5, **moving)
        dashed: dict[str, Any] = {"color": style.DARK_GREY, "linewidth": 0.9, "linestyle": (0, (4, 2))}
        self._limits = [
            [axes.axhline(0, **dashed, **moving) for axes in (self.plane, self.over_time)] for _ in range(2)
        ]
        self._limit_names = [
            self.over_time.text(
                0.995, 0, "", transform=self.over_time.get_yaxis_transform(), ha="right", va="bottom",
                fontsize=7, color=style.DARK_GREY, animated=True, zorder=5, bbox=BOX | {"pad": 0.5},
            )
            for _ in range(2)
        ]  # fmt: skip
        width = min(2.4, 60 / max(len(self._rows), 1))
        self._cells = LineCollection([], linewidths=width, animated=True, zorder=3)
        self.lower.add_collection(self._cells, autolim=False)
        self._open = {marker: _marks(self.lower, marker, 12) for marker in "<>x"}
        self._dots = _marks(self.plane, "o", 26)
        self._passed = _marks(self.over_time, "o", 16 if len(self._traces) <= 12 else 7)
        bar: dict[str, Any] = {"color": style.BLACK, "linewidth": 3, "markersize": 9}
        (self._gap,) = self.plane.plot([], [], "_-", **bar, animated=True, zorder=6)
        bold: dict[str, Any] = {"fontsize": 8, "fontweight": "bold", "va": "center", "bbox": BOX}
        self._gap_name = self.plane.text(0, 0, "", **bold, animated=True, zorder=7)
        self._artists: list[Artist] = [
            *(line for pair in self._limits for line in pair), *self._limit_names, self._cells,
            *self._open.values(), *self._cursor.artists, self._level, self._dots, self._passed, self._gap,
            self._gap_name,
        ]  # fmt: skip

    def _place_limits(self, readout: Readout) -> None:
        limits = readout.selection.limits
        texts = (
            (limits.collapse_error, "collapsed at or above"),
            (limits.recovery_error, "recovered at or below"),
        )
        for pair, name, (value, text) in zip(self._limits, self._limit_names, texts, strict=True):
            for line in pair:
                line.set_ydata([value, value])
            name.set_y(value)
            name.set_text(f"{text} {value:.2f}")

    def _place_cells(self, readout: Readout) -> None:
        """A bar per seed over the cell of its threshold, with an arrow where it is open."""
        bars, colors = [], []
        marks: dict[str, list[Mark]] = {marker: [] for marker in self._open}
        for y, (branch, seed) in enumerate(self._rows):
            color = self._look(branch).color
            found = readout.analysis.thresholds.get((seed.experiment, seed.seed), {}).get(branch.trajectory)
            if found is None or found.bounds is None:
                marks["x"].append(((self._low, y), color))
                continue
            lower, upper = found.bounds.lower, found.bounds.upper
            bars.append([(max(lower, self._low), y), (min(upper, self._high), y)])
            colors.append(color)
            if math.isinf(lower):
                marks["<"].append(((self._low, y), color))
            if math.isinf(upper):
                marks[">"].append(((self._high, y), color))
        self._cells.set_segments(bars)
        self._cells.set_color(colors)
        for marker, scatter in self._open.items():
            _set(scatter, marks[marker])

    def _place_cursor(self, readout: Readout) -> None:
        lam, span = readout.selection.lam, self._high - self._low
        self._cursor.move(lam)
        self._level.set_ydata([lam, lam])
        _set(
            self._dots,
            [
                ((lam, r.error), self._look(r.trace.branch).color)
                for r in readout.readings
                if r.error is not None
            ],
        )
        passed = [
            ((epoch, error), self._look(trace.branch).color)
            for trace in self._traces
            for epoch, error in zip(*columns(evaluations_at(trace, lam), "epoch", "error"), strict=True)
        ]
        _set(self._passed, passed)
        gap = readout.gaps[0] if readout.gaps else None
        self._gap.set_data([lam, lam] if gap else [], list(gap.errors) if gap else [])
        self._gap_name.set_visible(gap is not None)
        if gap:
            right = lam > self._high - 0.25 * span
            self._gap_name.set_text(f"gap {wording.decimal(gap.value)}")
            self._gap_name.set_position((lam + (-0.02 if right else 0.02) * span, sum(gap.errors) / 2))
            self._gap_name.set_horizontalalignment("right" if right else "left")


def _marks(axes: Axes, marker: str, size: float) -> Any:
    width = 0.7 if marker == "o" else 1.2
    look: dict[str, Any] = {"s": size, "marker": marker, "linewidths": width, "clip_on": False}
    return axes.scatter([], [], **look, animated=True, zorder=6)


def _set(scatter: Any, marks: Sequence[Mark]) -> None:
    scatter.set_offsets([place for place, _ in marks] or [(math.nan, math.nan)])
    colors = [color for _, color in marks] or "none"
    scatter.set_facecolor(colors)
    scatter.set_edgecolor(colors)
