"""What stands still in the recorded runs' picture: branches over λ, and trajectories over epochs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from dglib.analysis import style
from dglib.analysis.curves import median_curve
from dglib.analysis.fields import rounded
from dglib.analysis.style import THICK, THIN, Look
from dglib.experiments import get
from dglib.explorer.readout import Selection
from dglib.explorer.traces import Branch, Evaluation, Seed, branches, levels

_PALE = 0.13  # of seeds not chosen
_FINE = 120  # steps over the span of λ
_UNDER: dict[str, Any] = {"color": style.LIGHT_GREY, "linewidth": THIN}  # of what is on no branch: the init
_STAIRS: dict[str, Any] = {
    "color": style.DARK_GREY,
    "linewidth": THIN,
    "alpha": 0.5,
    "drawstyle": "steps-pre",
}


@dataclass(frozen=True)
class Row:
    """A row of the panel of thresholds: which one ("lambda-up", "lambda-down") of which seed."""

    experiment: str
    kind: str
    seed: int
    look: Look


class Ground:
    """Four panels of a figure, drawn for one choice of experiments and seeds.

    Attributes:
        chosen, traces: the seeds chosen, and their traces over λ.
        rows: of the lower left panel, from the top; none where no threshold was to be found.
        ends: the span of λ shown.
    """

    def __init__(self, figure: Figure, seeds: Sequence[Seed], selection: Selection) -> None:
        self.figure = figure
        self.shown = [seed for seed in seeds if seed.experiment in selection.experiments]
        self.chosen = selection.of(seeds)
        self.traces = [trace for seed in self.chosen for trace in seed.traces]
        self.rows: list[Row] = []
        visited = levels(self.shown) or [0.3, 0.7]
        air = max(0.03, 0.1 - (visited[-1] - visited[0]) / 2)
        self.ends = visited[0] - air, visited[-1] + air
        self._keys = self._legend_keys()
        self._panels()
        self._branches()
        self._lower()
        self._trajectories()
        columns = min(4, len(self._keys)) or None
        style.legend_below(self.figure, self._keys, columns=columns)

    def look(self, branch: Branch) -> Look:
        """How a branch is drawn here."""
        crowded = any(get(seed.experiment).direction for seed in self.shown)
        return branch.beside if crowded else branch.look

    def _panels(self) -> None:
        self.figure.set_layout_engine("none")  # places are known, and finding them takes a third of the time
        second_row = 0.035 if len(self._keys) > 4 else 0.0
        grid = self.figure.add_gridspec(
            2, 2, width_ratios=[1.1, 1], height_ratios=[2.4, 1.3], wspace=0.14, hspace=0.17,
            left=0.075, right=0.99, top=0.955, bottom=0.145 + second_row,
        )  # fmt: skip
        self.plane = self.figure.add_subplot(grid[0, 0])
        self.lower = self.figure.add_subplot(grid[1, 0], sharex=self.plane)
        self.over_time = self.figure.add_subplot(grid[0, 1])
        self.lam_over_time = self.figure.add_subplot(grid[1, 1], sharex=self.over_time)
        style.panel(self.plane, "a  Error on each branch, over λ", "", "Test error")
        style.panel(self.over_time, "c  Error of the chosen seeds, over epochs", "", "Test error")
        style.panel(self.lam_over_time, "d  λ over epochs", "Epoch", "λ")
        for axes in (self.plane, self.over_time):
            style.error_axis(axes)
            axes.tick_params(labelbottom=False)
        self.plane.set_xlim(*self.ends)
        self.lam_over_time.set_ylim(*self.ends)
        self.plane.xaxis.set_major_locator(MaxNLocator(nbins=8, steps=[1, 2, 5, 10]))

    def _branches(self) -> None:
        picked = {id(seed) for seed in self.chosen}
        for seed in self.shown:
            alpha = 0.5 if id(seed) in picked else _PALE
            for trace in seed.traces:
                errors, look = trace.curve.errors, self.look(trace.branch)
                self.plane.plot(list(errors), list(errors.values()), **look.line(THIN, alpha))
            if seed.look:
                last = _columns([arm[-1] for arm in seed.trajectories], "level", "error")
                marker = seed.look.marker
                self.plane.plot(*last, marker, color=seed.look.color, alpha=2 * alpha if alpha < 0.5 else 1)
        for branch in branches().values():
            curves = [trace.curve for trace in self.traces if trace.branch is branch]
            xs, ys = median_curve(curves, branch.rising) if curves else ([], [])
            look = self.look(branch)
            self.plane.plot(xs, ys, **look.line(THICK), marker=look.marker, markersize=4, zorder=4)
            style.arrow(self.plane, xs, ys, look.color)
        if not self.chosen:
            style.note(self.plane, "no seed is chosen")
        elif not self.traces and not any(seed.look for seed in self.chosen):
            style.note(self.plane, "no sweep on record for these seeds")

    def _lower(self) -> None:
        """A row for each threshold; where there is none, the gaps."""
        for branch in branches().values():
            kind = "lambda-up" if branch.rising else "lambda-down"
            for trace in self.traces:
                if branch.short and trace.branch is branch:
                    self.rows.append(Row(branch.experiment, kind, trace.seed, self.look(branch)))
        if self.rows:
            style.panel(self.lower, "b  Where each seed's threshold lies", "λ", "")
            self._name_rows()
            return
        for seed in self.chosen:
            if len(seed.traces) == 2:
                self._gap(seed)
        if self.lower.lines:
            style.panel(self.lower, "b  Gap of each seed between its branches", "λ", "Gap")
            self.lower.axhline(0, color=style.GREY, linewidth=0.6, zorder=1)
            return
        style.panel(self.lower, "b  Where each seed's threshold lies", "λ", "")
        self.lower.set_yticks([])
        held = any(seed.look for seed in self.chosen)
        text = "λ was held: no threshold to find" if held else "no threshold on record"
        self.lower.text(0.5, 0.5, text, transform=self.lower.transAxes, ha="center", color=style.DARK_GREY)

    def _gap(self, seed: Seed) -> None:
        """Error above less error below, at the levels of both branches."""
        below, above = (trace.curve.errors for trace in seed.traces)
        found = {lam: rounded(above[lam] - below[lam]) for lam in sorted(below.keys() & above.keys())}
        look = self.look(seed.traces[1].branch)
        line: dict[str, Any] = look.line(THIN, 0.8) | {"marker": look.marker, "markersize": 3}
        self.lower.plot(list(found), list(found.values()), **line)

    def _name_rows(self) -> None:
        looks = [row.look.color for row in self.rows]
        for color in dict.fromkeys(looks):
            mine = [index for index, each in enumerate(looks) if each == color]
            named = (b for b in branches().values() if b.short and self.look(b).color == color)
            self.lower.text(
                -0.012, (mine[0] + mine[-1]) / 2, next(named).short,
                transform=self.lower.get_yaxis_transform(),
                ha="right", va="center", fontsize=7.5, color=color,
            )  # fmt: skip
        self.lower.set_yticks([])
        self.lower.set_ylim(len(self.rows) - 0.3, -0.7)

    def _trajectories(self) -> None:
        known = False
        for seed in self.chosen:
            for arm in seed.trajectories:
                timed = [e for e in arm if e.epoch is not None]
                known = known or bool(timed)
                line = seed.look.line(THIN, 0.9) if seed.look else _UNDER
                self.over_time.plot(*_columns(timed, "epoch", "error"), **line)
                self.lam_over_time.plot(*_columns(timed, "epoch", "level"), **_STAIRS)
            for trace in seed.traces:
                look = self.look(trace.branch)
                self.over_time.plot(*_columns(trace.evaluations, "epoch", "error"), **look.line(THIN, 0.85))
        self.lam_over_time.xaxis.set_major_locator(MaxNLocator(integer=True))
        if not known:
            for axes in (self.over_time, self.lam_over_time):
                style.note(axes, "no epochs on record")

    def _legend_keys(self) -> list[tuple[str, dict[str, Any]]]:
        keys: list[tuple[str, dict[str, Any]]] = []
        for branch in branches().values():
            n = sum(trace.branch is branch for trace in self.traces)
            if n:
                look = self.look(branch)
                keys.append(
                    (f"{branch.title} ({n})", look.line(THICK) | {"marker": look.marker, "markersize": 4})
                )
        classes = {seed.label: seed.look for seed in self.chosen if seed.look}
        held = {seed.label: get(seed.experiment).symbol for seed in self.chosen if seed.look}
        for label, look in classes.items():
            n = sum(seed.label == label for seed in self.chosen)
            keys.append(
                (f"{held[label]}, {label} ({n})", look.line(1.2) | {"marker": look.marker, "markersize": 4})
            )
        if self.traces:
            keys.append(
                ("thin: each seed; thick: their median", {"color": style.DARK_GREY, "linewidth": THIN})
            )
        return keys


def _columns(evaluations: Iterable[Evaluation], *names: str) -> list[list[float]]:
    """Columns of evaluations; NaN, which breaks a line, where there was no finite error."""
    rows = [[getattr(e, name) for name in names] for e in evaluations]
    return [[math.nan if row[i] is None else row[i] for row in rows] for i in range(len(names))]
