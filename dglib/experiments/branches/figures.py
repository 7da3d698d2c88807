"""V3's figure: both branches against λ, and the gap between them."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dglib.analysis import style, wording
from dglib.analysis.curves import Curve, mean_curve
from dglib.analysis.fields import Records, parameter
from dglib.analysis.style import LOOKS, THICK, THIN, Look
from dglib.analysis.summary import Summary
from dglib.experiments.branches.summary import (
    BRANCHES,
    GAP_ERROR,
    GAP_LEVEL,
    branch,
    gap_curve,
    gaps,
    start_state,
)

_PUBLISHED_LINE = 0.40
_LOWEST = -0.35  # of the gaps shown
_BRANCH_LOOKS = {"ordered": LOOKS["ordered"], "collapse": LOOKS["collapsed"]}


def draw_branches(records: Records) -> Figure:
    """Two panels: error on each branch (every seed, mean ± SD); gap of every seed, mean and t interval.

    A collapse branch that began trapped is drawn apart and is not in the mean: it is another state.
    """
    figure = style.new_figure(height=3.4)
    left, right = figure.subplots(1, 2)
    style.panel(left, "a  Error on the two branches", "λ", "Test error")
    style.error_axis(left)
    style.limit_line(left, _PUBLISHED_LINE, f"collapse {wording.level(_PUBLISHED_LINE)}, as in T1")
    style.panel(right, "b  Gap by seed, mean with 95 % t interval", "λ", "Collapse error − ordered error")
    states = [start_state(record) for record in records]
    _branches(left, records, states)
    _gaps(right, records, states)
    empty = "no seed has both branches" if records else "no records"
    if not Counter(states).keys() - {None}:
        style.note(left, empty)
    if not Counter(states).keys() & {"collapsed", "trapped"}:
        style.note(right, empty)
    style.legend_below(figure, _keys(Counter(states)))
    return figure


def _branches(axes: Axes, records: Records, states: list[str | None]) -> None:
    for name, look in _BRANCH_LOOKS.items():
        means = []
        for record, state in zip(records, states, strict=True):
            curve = Curve(branch(record, name))
            apart = state == "diverged" or (state == "trapped" and name == "collapse")
            shown = LOOKS[state] if apart and state else look
            levels, errors = list(curve.errors), list(curve.errors.values())
            axes.plot(levels, errors, **shown.line(THIN, 0.8), marker=shown.marker, markersize=2.2)
            if shown is look and state is not None:
                means.append(curve)
        xs, ys, std = mean_curve(means)
        low, high = ([y + sign * s for y, s in zip(ys, std, strict=True)] for sign in (-1, 1))
        axes.fill_between(xs, low, high, color=look.color, alpha=0.18, linewidth=0)
        axes.plot(xs, ys, **look.line(THICK))
        along = (xs, ys) if name == "ordered" else (xs[::-1], ys[::-1])
        style.arrow(axes, *along, look.color)


def _gaps(axes: Axes, records: Records, states: list[str | None]) -> None:
    limit, at = parameter(records, "gap_error", GAP_ERROR), parameter(records, "gap_lambda", GAP_LEVEL)
    for record, state in zip(records, states, strict=True):
        if state in ("collapsed", "trapped"):
            found = gaps(record)
            look = LOOKS[state]
            axes.plot(
                list(found), list(found.values()), **look.line(THIN, 0.8), marker=look.marker, markersize=2.2
            )
    curves = {state: gap_curve(records, state) for state in ("collapsed", "trapped")}
    for state, curve in curves.items():
        _mean_gap(axes, curve, LOOKS[state])
    axes.axhline(0, color=style.GREY, linewidth=0.6, zorder=1)
    style.limit_line(axes, limit, f"two branches above {wording.level(limit)}")
    if any(state in ("collapsed", "trapped") for state in states):
        axes.axvline(at, color=style.GREY, linewidth=0.8, linestyle=(0, (2, 2)), zorder=1)
    low, high = axes.get_ylim()
    # Of two seeds the interval may be nearly as wide as all gaps there can be.
    axes.set_ylim(max(min(low, -0.05), _LOWEST), min(max(high, 2.5 * limit), 1.05))
    for state, curve in curves.items():
        cut = [item["lambda"] for item in curve if item["interval"] and item["interval"]["lower"] < _LOWEST]
        if cut:
            axes.plot(cut, [_LOWEST] * len(cut), "v", color=LOOKS[state].color, markersize=4, clip_on=False)


def _mean_gap(axes: Axes, curve: Sequence[Summary], look: Look) -> None:
    """The mean over seeds at each level with its pointwise t interval, where there are two seeds or more.

    An interval that goes on below what is shown ends in an arrowhead there.
    """
    known = [item for item in curve if item["interval"]]
    if known:
        levels, means = [item["lambda"] for item in known], [item["mean"] for item in known]
        lows, highs = ([item["interval"][end] for item in known] for end in ("lower", "upper"))
        axes.plot(levels, means, **look.line(THICK), zorder=4)
        axes.vlines(levels, lows, highs, color=look.color, linewidth=0.9, zorder=3)
        for ends in (lows, highs):
            axes.plot(levels, ends, "_", color=look.color, markersize=5, zorder=3)


def _keys(states: Counter[str | None]) -> list[tuple[str, dict[str, Any]]]:
    """Branches with the number of seeds in their means, then the seeds drawn apart."""
    counts = {"ordered": states["collapsed"] + states["trapped"], "collapse": states["collapsed"]}
    keys = [
        (f"{name} branch, mean ± SD ({counts[name]})", _BRANCH_LOOKS[name].line(THICK))
        for name in BRANCHES
        if counts[name]
    ]
    apart = {"trapped": "began trapped", "diverged": "diverged"}
    return keys + [(f"{text} ({states[s]})", LOOKS[s].line(1.2)) for s, text in apart.items() if states[s]]
