"""The picture of recorded runs: errors over λ and over epochs, thresholds, and what lies at the cursor."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from matplotlib.ticker import AutoLocator, MaxNLocator

from dglib.analysis import style, wording
from dglib.analysis.curves import median_curve
from dglib.analysis.intervals import rounded
from dglib.analysis.style import PENS, THICK, THIN
from dglib.explorer.panel import Canvas, Mark, cursor
from dglib.explorer.readout import Readout
from dglib.explorer.runs import Seed, branches, columns, levels

HEIGHT = 4.9  # inches
_PALE = 0.13  # of seeds not chosen
_UNDER: dict[str, Any] = {"color": style.LIGHT_GREY, "linewidth": THIN}  # outside the branches: the init
_STAIRS: dict[str, Any] = {**_UNDER, "color": style.DARK_GREY, "alpha": 0.5, "drawstyle": "steps-pre"}
_DOTS: dict[str, Any] = {"linestyle": "none", "marker": ".", "markersize": 5}  # levels with no line between


class RecordedPicture:
    """Branches over λ with every seed's thresholds, and the chosen seeds' trajectories over epochs.

    `draw` shows a cursor and limits.

    Args:
        visible: seeds of the chosen experiments.
        chosen: those of them that are chosen.
    """

    def __init__(self, visible: Sequence[Seed], chosen: Sequence[Seed]) -> None:
        self._visible, self._chosen = visible, chosen
        self._traces = [trace for seed in self._chosen for trace in seed.traces]
        self._rows = [
            (branch, seed)
            for branch in branches().values()
            for seed in self._chosen
            if branch.short and any(trace.branch == branch for trace in seed.traces)
        ]
        self._by_branch = {
            branch: traces
            for branch in branches().values()
            if (traces := [trace for trace in self._traces if trace.branch == branch])
        }
        visited = levels(self._visible) or [0.3, 0.7]
        margin = max(0.03, 0.1 - (visited[-1] - visited[0]) / 2)
        self._low, self._high = visited[0] - margin, visited[-1] + margin
        with style.styled():
            self.canvas = Canvas(HEIGHT)
            keys = self._legend_keys()
            self._panels(second_row=len(keys) > 4)
            self._branches()
            self._lower()
            self._trajectories()
            style.legend_below(self.canvas.figure, keys, columns=min(4, len(keys)) or None)
            self.canvas.freeze()

    def draw(self, readout: Readout) -> Canvas:
        self.canvas.marks = [*self._cells(readout), *self._at_cursor(readout), *self._limits(readout)]
        return self.canvas

    def _panels(self, second_row: bool) -> None:
        figure = self.canvas.figure
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
                errors, pen = trace.curve.errors, PENS[trace.branch.pen]
                line = pen.line(THIN, alpha) | (_DOTS if trace.held else {})
                self.plane.plot(list(errors), list(errors.values()), **line)
        for branch, traces in self._by_branch.items():
            xs, ys = median_curve([trace.curve for trace in traces], branch.rising)
            pen, held = PENS[branch.pen], traces[0].held
            line = pen.line(THICK) | ({"linestyle": "none", "markeredgecolor": "white"} if held else {})
            self.plane.plot(xs, ys, **line, marker=pen.marker, markersize=6 if held else 4, zorder=4)
            if not held:
                style.arrow(self.plane, xs, ys, pen.color)
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
            options: dict[str, Any] = {"transform": self.lower.transAxes, "ha": "center"}
            self.lower.text(0.5, 0.5, "no threshold on record", color=style.DARK_GREY, **options)

    def _plot_gaps(self, seed: Seed) -> None:
        """Error above less error below, at the levels of both branches."""
        below, above = (trace.curve.errors for trace in seed.traces)
        differences = {lam: rounded(above[lam] - below[lam]) for lam in sorted(below.keys() & above.keys())}
        pen = PENS[seed.traces[1].branch.pen]
        line: dict[str, Any] = pen.line(THIN, 0.8) | {"marker": pen.marker, "markersize": 3}
        line |= _DOTS if seed.traces[0].held else {}
        self.lower.plot(list(differences), list(differences.values()), **line)

    def _name_rows(self) -> None:
        shown = [branch for branch, _ in self._rows]
        for branch in dict.fromkeys(shown):
            self.lower.text(
                -0.012, shown.index(branch) + (shown.count(branch) - 1) / 2, branch.short,
                transform=self.lower.get_yaxis_transform(),
                ha="right", va="center", fontsize=7.5, color=PENS[branch.pen].color,
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
            for trace in (trace for trace in seed.traces if not trace.held):
                line = PENS[trace.branch.pen].line(THIN, 0.85)
                self.over_time.plot(*columns(trace.evaluations, "epoch", "error"), **line)
        self.lam_over_time.xaxis.set_major_locator(MaxNLocator(integer=True))
        if not known:
            for axes in (self.over_time, self.lam_over_time):
                style.note(axes, "no epochs on record")

    def _legend_keys(self) -> list[tuple[str, dict[str, Any]]]:
        keys = []
        for branch, traces in self._by_branch.items():
            pen, line = PENS[branch.pen], PENS[branch.pen].line(THICK)
            line |= {"linestyle": "none"} if traces[0].held else {}
            keys.append((f"{branch.title} ({len(traces)})", line | {"marker": pen.marker, "markersize": 4}))
        if self._traces:
            thin = {"color": style.DARK_GREY, "linewidth": THIN}
            keys.append(("thin or small: each seed; thick or large: their median", thin))
        return keys

    def _limits(self, readout: Readout) -> list[Mark]:
        limits, marks = readout.analysis.limits, []
        for value, text in (
            (limits.collapse_error, "collapsed at or above"),
            (limits.recovery_error, "recovered at or below"),
        ):
            for axes in (self.plane, self.over_time):
                line = Mark(axes, axes.get_xlim(), [value, value], style.DARK_GREY, 0.9, dashes=(4, 2))
                marks.append(line)
            name: dict[str, Any] = {"align": "right", "above": 5, "font_size": 7}
            end = self.over_time.get_xlim()[1]
            marks.append(Mark(axes, [end], [value], style.DARK_GREY, text=f"{text} {value:.2f}", **name))
        return marks

    def _cells(self, readout: Readout) -> list[Mark]:
        """A bar per seed over the cell of its threshold, with an arrow where it is open."""
        marks = []
        for branch in dict.fromkeys(branch for branch, _ in self._rows):
            color, xs, ys = PENS[branch.pen].color, list[float](), list[float]()
            for y, (_, seed) in enumerate(self._rows):
                if self._rows[y][0] != branch:
                    continue
                key = (seed.experiment, seed.seed, branch.trajectory)
                if (cell := readout.analysis.thresholds.get(key)) is None:
                    marks.append(Mark(self.lower, [self._low], [y], color, text="×"))
                    continue
                lower, upper = cell.lower, cell.upper
                xs += [max(lower, self._low), min(upper, self._high), math.nan]
                ys += [y] * 3
                for end, at, arrow in ((lower, self._low, "◂"), (upper, self._high, "▸")):
                    marks += [Mark(self.lower, [at], [y], color, text=arrow)] if math.isinf(end) else []
            marks.append(Mark(self.lower, xs, ys, color, width=min(2.4, 60 / len(self._rows))))
        return marks

    def _at_cursor(self, readout: Readout) -> list[Mark]:
        lam = readout.lam
        marks = cursor(lam, self.plane, self.lower)
        marks.append(Mark(self.lam_over_time, self.lam_over_time.get_xlim(), [lam, lam], width=1.1))
        for branch, traces in self._by_branch.items():
            color = PENS[branch.pen].color
            errors = [r.error for r in readout.readings if r.trace.branch == branch and r.error is not None]
            marks.append(Mark(self.plane, [lam] * len(errors), errors, color, size=5.5))
            xs, ys = list[float](), list[float]()
            for trace in traces:
                epochs, values = columns(trace.evaluations_at(lam), "epoch", "error")
                xs, ys = [*xs, *epochs, math.nan], [*ys, *values, math.nan]
            size = 4 if len(self._traces) <= 12 else 2.5
            options = {"width": THIN} if traces[0].held else {"size": size}
            marks.append(Mark(self.over_time, xs, ys, color, **options))
        if readout.gaps:
            marks += self._gap(readout)
        return marks

    def _gap(self, readout: Readout) -> list[Mark]:
        """A bar between the errors of the first gap, with its value and the verdict on this λ."""
        lam, (low, high) = readout.lam, readout.gaps[0].errors
        span = self._high - self._low
        right = lam > (self._low + self._high) / 2
        name: dict[str, Any] = {"align": "right" if right else "left", "bold": True}
        x, y = lam + (-0.02 if right else 0.02) * span, (low + high) / 2
        lines = [f"mean gap {wording.decimal(readout.gaps[0].value)}"]
        lines += [text for *_, text in readout.verdicts[:1]]
        width = [lam - 0.008 * span, lam + 0.008 * span]
        bars = [Mark(self.plane, width, [end, end], width=3) for end in (low, high)]
        texts = [Mark(self.plane, [x], [y], text=text, above=-11 * i, **name) for i, text in enumerate(lines)]
        return [Mark(self.plane, [lam, lam], [low, high], width=3), *bars, *texts]
