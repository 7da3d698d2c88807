"""The recorded runs' picture: what does not move is drawn once, cursor, limits and marks on top of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection

from dglib.analysis import style
from dglib.explorer.canvas import Canvas
from dglib.explorer.readout import Readout, Selection
from dglib.explorer.recorded_ground import Ground
from dglib.explorer.traces import Seed, passages

WIDTH, HEIGHT, DPI = 8.6, 4.9, 125  # inches, and pixels to one of them
_BOX = {"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 1}
Points = list[tuple[float, float]]


class RecordedPicture:
    """The branches over λ with each seed's thresholds, and the chosen seeds' trajectories over epochs.

    Made for one choice of experiments and seeds; `draw` puts a cursor and limits on it.
    """

    def __init__(self, seeds: Sequence[Seed], selection: Selection, dpi: float = DPI) -> None:
        with style.styled():
            self._canvas = Canvas(WIDTH, HEIGHT, dpi)
            self._ground = Ground(self._canvas.figure, seeds, selection)
            self._moving()
            self._canvas.settle()

    def draw(self, readout: Readout) -> bytes:
        """The picture as PNG, with the cursor and limits of the readout's selection. From any thread."""
        with style.drawing():
            self._place(readout)
            return self._canvas.png(readout.selection.limits, self._below, self._above)

    def _moving(self) -> None:
        """Make what moves; it is left out of the background."""
        cursor: dict[str, Any] = {"color": style.BLACK, "linewidth": 1.1, "animated": True, "zorder": 5}
        self._cursors = [axes.axvline(0, **cursor) for axes in (self._ground.plane, self._ground.lower)]
        self._level = self._ground.lam_over_time.axhline(0, **cursor)
        dashed: dict[str, Any] = {
            "color": style.DARK_GREY,
            "linewidth": 0.9,
            "linestyle": (0, (4, 2)),
            "animated": True,
        }
        self._limits = [
            [axes.axhline(0, **dashed) for axes in (self._ground.plane, self._ground.over_time)]
            for _ in range(2)
        ]
        self._limit_names = [
            self._ground.over_time.text(
                0.995, 0, "", transform=self._ground.over_time.get_yaxis_transform(), ha="right", va="bottom",
                fontsize=7, color=style.DARK_GREY, animated=True, zorder=5,
                bbox=_BOX | {"pad": 0.5},
            )
            for _ in range(2)
        ]  # fmt: skip
        rows = len(self._ground.rows)
        self._cells = LineCollection([], linewidths=min(2.4, 60 / max(rows, 1)), animated=True, zorder=3)
        self._ground.lower.add_collection(self._cells, autolim=False)
        self._open = {
            sign: _marks(self._ground.lower, marker, 12) for sign, marker in ((-1, "<"), (1, ">"), (0, "x"))
        }
        self._dots = _marks(self._ground.plane, "o", 26)
        self._passed = _marks(self._ground.over_time, "o", 16 if len(self._ground.traces) <= 12 else 7)
        (self._gap,) = self._ground.plane.plot(
            [], [], "_-", color=style.BLACK, linewidth=3, markersize=9, animated=True, zorder=6
        )
        self._gap_name = self._ground.plane.text(
            0, 0, "", fontsize=8, fontweight="bold", va="center", bbox=_BOX, animated=True, zorder=7
        )
        self._name = self._ground.plane.text(
            0, 1.0, "", transform=self._ground.plane.get_xaxis_transform(), fontsize=8, fontweight="bold",
            ha="center", va="top", bbox=_BOX, animated=True, zorder=7,
        )  # fmt: skip

    @property
    def _below(self) -> list[Artist]:
        """What moves with the limits."""
        lines = [line for pair in self._limits for line in pair]
        return [*lines, *self._limit_names, self._cells, *self._open.values()]

    @property
    def _above(self) -> list[Artist]:
        """What moves with λ."""
        names = [self._gap_name, self._name]
        return [*self._cursors, self._level, self._dots, self._passed, self._gap, *names]

    def _place(self, readout: Readout) -> None:
        lam, limits = readout.selection.lam, readout.selection.limits
        for line in self._cursors:
            line.set_xdata([lam, lam])
        self._level.set_ydata([lam, lam])
        kinds = (
            (limits.collapse_error, "collapsed at or above"),
            (limits.recovery_error, "recovered at or below"),
        )
        for pair, name, (value, text) in zip(self._limits, self._limit_names, kinds, strict=True):
            for line in pair:
                line.set_ydata([value, value])
            name.set_y(value)
            name.set_text(f"{text} {value:.2f}")
        self._place_cells(readout)
        self._place_marks(readout)
        self._name.set_text(f"λ = {lam:.2f}")
        self._name.set_x(
            min(max(lam, self._ground.ends[0] + 0.08 * self._span), self._ground.ends[1] - 0.08 * self._span)
        )

    @property
    def _span(self) -> float:
        return self._ground.ends[1] - self._ground.ends[0]

    def _place_cells(self, readout: Readout) -> None:
        """A bar per seed over the cell of its threshold; one that is open at a side has an arrow."""
        found = {
            (r.seed.experiment, kind, r.seed.seed): f
            for r in readout.seeds
            for kind, f in r.thresholds.items()
        }
        bars: list[Points] = []
        colors: list[str] = []
        ends: dict[int, Points] = {-1: [], 1: [], 0: []}
        end_colors: dict[int, list[str]] = {-1: [], 1: [], 0: []}
        for y, row in enumerate(self._ground.rows):
            each = found.get((row.experiment, row.kind, row.seed))
            bounds = each.bounds if each else None
            sides = [0] if bounds is None else []
            if bounds is not None:
                left, right = max(bounds.lower, self._ground.ends[0]), min(bounds.upper, self._ground.ends[1])
                bars.append([(left, y), (right, y)])
                colors.append(row.look.color)
                sides = [s for s, b in ((-1, bounds.lower), (1, bounds.upper)) if math.isinf(b)]
            for side in sides:
                ends[side].append((self._ground.ends[max(side, 0)], y))
                end_colors[side].append(row.look.color)
        self._cells.set_segments(bars)
        self._cells.set_color(colors)
        for side, marks in self._open.items():
            _set(marks, ends[side], end_colors[side])

    def _place_marks(self, readout: Readout) -> None:
        lam = readout.selection.lam
        here = [r for row in readout.seeds for r in row.readings if r.error is not None]
        colors = [self._ground.look(reading.trace.branch).color for reading in here]
        _set(self._dots, [(lam, reading.error or 0.0) for reading in here], colors)
        passed = [
            (e, self._ground.look(trace.branch).color)
            for trace in self._ground.traces
            for e in passages(trace, lam)
        ]
        known = [(e, color) for e, color in passed if e.epoch is not None and e.error is not None]
        _set(
            self._passed, [(e.epoch or 0.0, e.error or 0.0) for e, _ in known], [color for _, color in known]
        )
        gap = readout.gaps[0] if readout.gaps else None
        self._gap.set_data([lam, lam] if gap else [], list(gap.ends) if gap else [])
        self._gap_name.set_visible(gap is not None)
        if gap:
            right = lam > self._ground.ends[1] - 0.25 * self._span
            self._gap_name.set_text(f"gap {gap.value:.2f}".replace("-", "−"))
            self._gap_name.set_position((lam + (-0.02 if right else 0.02) * self._span, sum(gap.ends) / 2))
            self._gap_name.set_horizontalalignment("right" if right else "left")


def _marks(axes: Axes, marker: str, size: float) -> Any:
    width = 0.7 if marker == "o" else 1.2
    look: dict[str, Any] = {"s": size, "marker": marker, "linewidths": width, "clip_on": False}
    return axes.scatter([], [], **look, animated=True, zorder=6)


def _set(marks: Any, points: Points, colors: list[str]) -> None:
    marks.set_offsets(points or [(math.nan, math.nan)])
    marks.set_facecolor(colors or "none")
    marks.set_edgecolor(colors or "none")
