"""The share of seeds that a sweep has not yet moved, stepping down level by level, with exact intervals."""

from collections.abc import Sequence
from itertools import pairwise

from matplotlib.axes import Axes

from dglib.analysis import style
from dglib.analysis.style import LOOKS, Look
from dglib.analysis.survival import Remaining
from dglib.analysis.threshold_summary import STARTS, still
from dglib.analysis.thresholds import Direction, Threshold

_ASIDE = 0.12  # of a grid step: the intervals of two groups stand beside each other


def draw_remaining(
    axes: Axes, direction: Direction, found: Sequence[Threshold], levels: Sequence[float]
) -> None:
    """A line of steps for the rising sweep; for the falling one a line for each state in which it began."""
    if direction.rising:
        groups = [(LOOKS["ordered"], still(direction, found, levels), "ordered")]
    else:
        groups = [
            (LOOKS[state], still(direction, [each for each in found if each.start == state], levels), state)
            for state in STARTS
        ]
    drawn = [(look, shares, name) for look, shares, name in groups if shares.steps]
    apart = _ASIDE * min((b - a for a, b in pairwise(levels)), default=0.0)
    for place, (look, shares, name) in enumerate(drawn):
        _steps(axes, look, shares, apart * (place - (len(drawn) - 1) / 2))
        _name(axes, look, shares, name, place)
    axes.set_ylim(-0.04, 1.26)  # room for the names
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1.0])
    if not drawn:
        style.note(axes, "no sweep on record" if found else "no records")


def _steps(axes: Axes, look: Look, shares: Remaining, aside: float) -> None:
    xs, ys = [step.level + aside for step in shares.steps], [step.share for step in shares.steps]
    below = [max(y - step.interval.lower, 0.0) for y, step in zip(ys, shares.steps, strict=True)]
    above = [max(step.interval.upper - y, 0.0) for y, step in zip(ys, shares.steps, strict=True)]
    axes.step(xs, ys, where="post", **look.line(1.6))
    axes.errorbar(
        xs, ys, yerr=(below, above), fmt=look.marker, color=look.color, markersize=3.2, elinewidth=0.8,
        capsize=1.8,
    )  # fmt: skip


def _name(axes: Axes, look: Look, shares: Remaining, name: str, place: int) -> None:
    """Which line this is, and how it was estimated where that is not the plain share."""
    words = f"{name}, n = {shares.n}" + (f" ({shares.method})" if shares.method != "binomial" else "")
    axes.text(
        0.03, 0.92 - 0.08 * place, words, transform=axes.transAxes, color=look.color, fontsize=6.5
    )  # fmt: skip
