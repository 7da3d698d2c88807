"""The hysteresis loop in the plane of λ and error, with each seed's thresholds beneath it."""

import math
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dglib.analysis import style
from dglib.analysis.bounds import Bounds
from dglib.analysis.curves import median_curve
from dglib.analysis.fields import Records
from dglib.analysis.style import COLUMN_WIDTH, LOOKS, THICK, THIN, Look
from dglib.experiments.spinodal.passes import BACK, LOWERED, RAISED, TRAPPED, Pass, t1_passes, t2_passes

LOOK_OF = {
    RAISED: LOOKS["ordered"],
    BACK: LOOKS["collapsed"],
    LOWERED: LOOKS["lowered"],
    TRAPPED: LOOKS["trapped"],
}
_NAMES = {RAISED: "λ↑", BACK: "λ↓ back", LOWERED: "λ↓ T2", TRAPPED: "λ↓ trapped"}


def draw_loop(t1_records: Records, t2_records: Records) -> Figure:
    """Above, error against λ: seeds thin, medians thick, arrows along the sweep; below, thresholds' cells.

    T2's trapped seeds are a branch of their own. Diverged seeds have no branch; the legend counts the others.
    """
    figure = style.new_figure(height=4.8, width=COLUMN_WIDTH)
    top, below = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": [2.6, 1.6]})
    passes = [found for record in t1_records for found in t1_passes(record)]
    passes += [found for record in t2_records for found in t2_passes(record)]
    style.panel(top, "a  Mean error at each level of λ", "", "Test error")
    style.error_axis(top)
    style.panel(below, "b  Where each seed's threshold lies", "λ", "")
    for branch, look in LOOK_OF.items():
        _draw_branch(top, [each for each in passes if each.branch == branch], look, branch == RAISED)
    _draw_cells(below, passes)
    if not passes:
        for axes in (top, below):
            style.note(axes, "no sweep on record" if t1_records or t2_records else "no records")
    style.legend_below(figure, _keys(passes), columns=2)
    return figure


def _draw_branch(axes: Axes, passes: Sequence[Pass], look: Look, rising: bool) -> None:
    for each in passes:
        axes.plot(list(each.curve.errors), list(each.curve.errors.values()), **look.line(THIN, 0.5))
    xs, ys = median_curve([each.curve for each in passes], rising)
    axes.plot(xs, ys, **look.line(THICK), marker=look.marker, markersize=4, zorder=4)
    style.arrow(axes, xs, ys, look.color)


def _draw_cells(axes: Axes, passes: Sequence[Pass]) -> None:
    """A bar per seed over the cell of its threshold; one that is open at a side ends there in an arrow."""
    levels = [level for each in passes for level in each.curve.errors]
    low, high = min(levels, default=0.3) - 0.03, max(levels, default=0.7) + 0.03
    row = 0
    ticks: list[tuple[float, str]] = []
    for branch, look in LOOK_OF.items():
        members = [each for each in passes if each.branch == branch and each.bounds is not None]
        for each in sorted(members, key=lambda each: each.seed):
            _draw_cell(axes, row, each.bounds, look, (low, high))
            row += 1
        if members:
            ticks.append((row - 1 - (len(members) - 1) / 2, _NAMES[branch]))
            row += 1
    axes.set_xlim(low, high)
    axes.set_ylim(max(row, 1) - 0.5, -1)
    axes.set_yticks([y for y, _ in ticks], [label for _, label in ticks])
    axes.tick_params(axis="y", length=0)


def _draw_cell(axes: Axes, row: int, bounds: Bounds | None, look: Look, ends: tuple[float, float]) -> None:
    if bounds is None:
        return
    left, right = max(bounds.lower, ends[0]), min(bounds.upper, ends[1])
    axes.plot([left, right], [row, row], color=look.color, linewidth=2, solid_capstyle="butt")
    if math.isinf(bounds.upper):
        axes.plot([right], [row], ">", color=look.color, markersize=3.5, clip_on=False)
    if math.isinf(bounds.lower):
        axes.plot([left], [row], "<", color=look.color, markersize=3.5, clip_on=False)


def _keys(passes: Sequence[Pass]) -> list[tuple[str, dict[str, Any]]]:
    counts = {branch: sum(each.branch == branch for each in passes) for branch in LOOK_OF}
    return [
        (
            f"{branch} ({counts[branch]})",
            look.line(THICK) | {"marker": look.marker, "markersize": 4},
        )
        for branch, look in LOOK_OF.items()
        if counts[branch]
    ]
