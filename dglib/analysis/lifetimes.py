"""How long a state lasts while λ is held, and what that decides: memory of the start, or a lag.

Every branch starts in a known state and stays at one λ. It has left its start once the error is on the other
side of the threshold for some evaluations in a row; a branch that never is, is censored at its last epoch.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from dglib.analysis.fields import rounded
from dglib.analysis.intervals import CONFIDENCE, clopper_pearson

Start = Literal["ordered", "collapsed"]
STARTS: tuple[Start, ...] = ("ordered", "collapsed")
STATES = ("ordered", "collapsed", "trapped", "in between")

MAJORITY = 0.5
"""The cut-off of every verdict: a group does something if the exact interval of the share of its branches
that do lies above this. So eight branches decide only where they agree, 24 from 18 on, and FEWEST is the
least number that can decide at all."""
FEWEST = 6


@dataclass(frozen=True)
class Branch:
    """One network held at one λ.

    Attributes:
        left: epochs of the hold up to the evaluation by which it had left its start; None if it had not.
        held: epochs of the hold.
        state: at the end, one of STATES.
        frozen: see `dglib.analysis.controls.is_frozen`.
    """

    start: Start
    left: int | None
    held: int
    state: str
    frozen: bool = False


@dataclass(frozen=True)
class Group:
    """The branches from one start at one λ, counted.

    Attributes:
        left: those that left their start.
        soon: of those, the ones that did within one dwell of the sweeps.
        stayed: those that never left, are not frozen and end in their own state.
        trapped: those that end trapped.
        slowest: epochs that the last to leave took; 0 of none.
    """

    n: int
    left: int
    soon: int
    stayed: int
    trapped: int
    slowest: int

    @classmethod
    def of(cls, branches: Sequence[Branch], dwell: int) -> Group:
        times = [branch.left for branch in branches if branch.left is not None]
        return cls(
            n=len(branches),
            left=len(times),
            soon=sum(time <= dwell for time in times),
            stayed=sum(b.left is None and not b.frozen and b.state == b.start for b in branches),
            trapped=sum(branch.state == "trapped" for branch in branches),
            slowest=max(times, default=0),
        )

    def most(self, count: int) -> bool:
        return clopper_pearson(count, self.n).lower > MAJORITY


def first_passage(errors: Sequence[float], start: Start, threshold: float, consecutive: int) -> int | None:
    """The number, from 1, of the evaluation that completes the first `consecutive` in a row beyond.

    Beyond is at or above the threshold from an ordered start, below it from a collapsed one.
    """
    run = 0
    for number, error in enumerate(errors, 1):
        run = run + 1 if (error >= threshold) == (start == "ordered") else 0
        if run == consecutive:
            return number
    return None


def end_state(errors: Sequence[float], trapped: bool, threshold: float) -> str:
    """The state by the last quarter of the errors, where three quarters of them are on one side; else
    "in between"."""
    if trapped:
        return "trapped"
    last = errors[-math.ceil(len(errors) / 4) :]
    above = sum(error >= threshold for error in last) / len(last)
    return "collapsed" if above >= 0.75 else "ordered" if above <= 0.25 else "in between"


def verdict(ordered: Group, collapsed: Group, held: int) -> str:
    """What branches from both starts decide about one λ, from exact bounds of shares alone.

    | verdict | from the ordered start | from the collapsed start |
    |---|---|---|
    | trapped | | most end trapped |
    | bistable for at least N epochs | most stay | most stay |
    | ordered only | most stay | most leave within a dwell |
    | collapsed only | most leave within a dwell | most stay |
    | lag: merged within N epochs | most stay or most leave, and not both starts stay; slower than a dwell | |
    | undecided | anything else | |

    "Most" is MAJORITY. Only "bistable" is memory: both states outlast the hold.
    """
    if collapsed.most(collapsed.trapped):
        return "trapped"
    stays = ordered.most(ordered.stayed), collapsed.most(collapsed.stayed)
    leaves = ordered.most(ordered.left), collapsed.most(collapsed.left)
    if all(stays):
        return f"bistable for at least {held} epochs"
    if not all(stay or leave for stay, leave in zip(stays, leaves, strict=True)):
        if not ordered.n or not collapsed.n:
            return "undecided: one start alone"
        few = min(ordered.n, collapsed.n) < FEWEST
        return "undecided: too few seeds" if few else "undecided: branches from one start differ"
    if stays[0] and collapsed.most(collapsed.soon):
        return "ordered only"
    if stays[1] and ordered.most(ordered.soon):
        return "collapsed only"
    slowest = max(group.slowest for group in (ordered, collapsed) if group.most(group.left))
    return f"lag: merged within {slowest} epochs"


def survival(branches: Sequence[Branch]) -> list[dict[str, Any]]:
    """Kaplan and Meier's share of branches still in their start state, a step where any left.

    `{"epochs", "share", "lower", "upper"}`, the interval pointwise by Greenwood's log(−log) formula.
    """
    from scipy import stats

    times = [b.held if b.left is None else b.left for b in branches]
    if all(b.left is None for b in branches):
        return []
    sample = stats.CensoredData.right_censored(times, [b.left is None for b in branches])
    sf = stats.ecdf(sample).sf
    with warnings.catch_warnings():  # where all have left, or few, an end is not defined: null here
        warnings.simplefilter("ignore", RuntimeWarning)
        interval = sf.confidence_interval(CONFIDENCE, method="log-log")
    left = {b.left for b in branches}
    rows = zip(
        sf.quantiles, sf.probabilities, interval.low.probabilities, interval.high.probabilities, strict=True
    )
    return [
        {"epochs": int(x), "share": _known(share), "lower": _known(low), "upper": _known(high)}
        for x, share, low, high in rows
        if int(x) in left
    ]


def rate(branches: Sequence[Branch]) -> dict[str, Any] | None:
    """Leavings per epoch under an exponential lifetime, with the exact (Poisson) interval; None of no epoch.

    `{"events", "epochs", "estimate", "ci95"}`. Source: Garwood, Biometrika 28 (1936) 437.
    """
    from scipy import stats

    events = sum(branch.left is not None for branch in branches)
    epochs = sum(b.held if b.left is None else b.left for b in branches)
    if not epochs:
        return None
    tail = (1 - CONFIDENCE) / 2
    low = float(stats.chi2.ppf(tail, 2 * events)) / 2 if events else 0.0
    high = float(stats.chi2.ppf(1 - tail, 2 * events + 2)) / 2
    ci95 = [rounded(low / epochs), rounded(high / epochs)]
    return {"events": events, "epochs": epochs, "estimate": rounded(events / epochs), "ci95": ci95}


def _known(value: float) -> float | None:
    return rounded(float(value)) if math.isfinite(value) else None
