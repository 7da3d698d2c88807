"""How long a state lasts while λ is held or swept, and what that decides: memory of the start, or a lag.

Every held branch starts in a known state and stays at one λ. It has left its start once the error is on the
other side of the threshold for some evaluations in a row; a branch that never is, is censored at its last
epoch.
"""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Literal

from dglib.analysis.intervals import (
    CONFIDENCE,
    Bounds,
    clopper_pearson,
    clopper_pearson_undecided,
    finite,
    rounded,
    welch,
)

Start = Literal["ordered", "collapsed"]
STARTS: tuple[Start, ...] = ("ordered", "collapsed")
STATES = ("ordered", "collapsed", "trapped", "in between")

MAJORITY = 0.5
"""The cut-off of every verdict: most of a group do something if the exact interval of the share of its
branches that do lies above this. Six to eight branches decide only where all agree, 24 from 18 on; FEWEST is
the least number that can decide."""
FEWEST = 6
STEADY, APART = 0.8, 0.10
"""The two starts are steady if the gap between their mean errors in the last third of the hold exceeds STEADY
of that in its middle third, with Welch's 95 % interval: a gap that decays exponentially, with a time constant
of less than 1.5 holds, does not. They are apart if that gap exceeds APART."""


@dataclass(frozen=True)
class Branch:
    """One network held at one λ.

    Attributes:
        left: epochs of the hold up to the evaluation by which it had left its start; None if it had not.
        held: epochs of the hold.
        state: at the end, one of STATES.
        middle, last: mean error in the middle and in the last third of the hold.
        frozen: see `dglib.analysis.curves.is_frozen`.
    """

    start: Start
    left: int | None
    held: int
    state: str
    middle: float
    last: float
    frozen: bool = False


@dataclass(frozen=True)
class Group:
    """The branches from one start at one λ, counted. Frozen ones are in `n` alone.

    Attributes:
        left: those that left their start.
        remained: those that never left and end in their own state.
        ended: by state, those that end in it.
        times: epochs after which they left, of those that end in the other state.
        steady: last − STEADY · middle, of those that remained.
        last: of all.
    """

    n: int
    left: int
    remained: int
    frozen: int
    ended: Mapping[str, int]
    times: tuple[int, ...]
    steady: tuple[float, ...]
    last: tuple[float, ...]

    @classmethod
    def of(cls, branches: Sequence[Branch]) -> Group:
        moving = [branch for branch in branches if not branch.frozen]
        times = [b.left for b in moving if b.left is not None and b.state in STARTS and b.state != b.start]
        remained = [b for b in moving if b.left is None and b.state == b.start]
        return cls(
            n=len(branches),
            left=sum(branch.left is not None for branch in moving),
            remained=len(remained),
            frozen=len(branches) - len(moving),
            ended=Counter(branch.state for branch in moving),
            times=tuple(times),
            steady=tuple(b.last - STEADY * b.middle for b in remained),
            last=tuple(b.last for b in moving),
        )

    def most(self, count: int) -> bool:
        return clopper_pearson(count, self.n).lower > MAJORITY


@dataclass(frozen=True)
class Verdict:
    """What branches decide about one λ; `epochs`: for how long, or within how many; `why`: undecided.

    `moved`: of a lag, the branches that moved, of how many, where some did not.
    """

    kind: str
    epochs: int | None = None
    why: str = ""
    moved: str = ""

    @property
    def memory(self) -> bool:
        """Whether both states outlast the hold."""
        return self.kind == "bistable"

    @property
    def text(self) -> str:
        if self.memory:
            return f"bistable for at least {self.epochs} epochs"
        if self.kind == "lag":
            return f"lag: {self.moved}merged within {self.epochs} epochs"
        return f"{self.kind}: {self.why}" if self.why else self.kind


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


def verdict(ordered: Group, collapsed: Group, held: int, dwell: int) -> Verdict:
    """What branches from both starts decide about one λ.

    | verdict | most of the branches |
    |---|---|
    | trapped | from the collapsed start end trapped |
    | bistable for at least N epochs | from each start remain in its state to the end, and the gap is steady |
    | ordered only, collapsed only | from both starts end in that state, not apart, and moved within a dwell |
    | lag: merged within N epochs | from both starts end in one of the states, not apart, but moved later |
    | undecided | do not agree, are too few, frozen, or held for no longer than a dwell |

    "Most" is MAJORITY, of the exact bounds; "steady" and "apart" see STEADY. Only "bistable" is memory, of a
    state that lasts longer than the hold.

    Args:
        held: epochs of the hold.
        dwell: epochs per level of the sweeps, and at least those that a passage takes.
    """
    if not ordered.n or not collapsed.n:
        return Verdict("undecided", why="one start alone")
    if (fewest := min(ordered.n, collapsed.n)) < FEWEST:
        return Verdict("undecided", why=f"too few seeds, {fewest} of at least {FEWEST}")
    if held <= dwell:
        return Verdict("undecided", why=f"held for no more than {dwell} epochs")
    stays = ordered.most(ordered.remained)
    if collapsed.most(collapsed.ended["trapped"]):
        return Verdict("trapped", why="from the collapsed start alone" if stays else "")
    if stays and collapsed.most(collapsed.remained):
        if _exceeds(collapsed.steady, ordered.steady, 0.0):
            return Verdict("bistable", held)
        return Verdict("undecided", why="the states still approach each other")
    for state, moved in (("ordered", collapsed), ("collapsed", ordered)):
        if ordered.most(ordered.ended[state]) and collapsed.most(collapsed.ended[state]):
            if _exceeds(collapsed.last, ordered.last, APART):
                return Verdict("undecided", why=f"most end {state}, yet apart")
            if moved.most(sum(time <= dwell for time in moved.times)):
                return Verdict(f"{state} only")
            some = f"{len(moved.times)} of {moved.n} " if len(moved.times) < moved.n else ""
            return Verdict("lag", max(moved.times, default=held), moved=some)
    if any(2 * group.frozen >= group.n for group in (ordered, collapsed)):
        return Verdict("undecided", why="frozen")
    if ordered.most(ordered.ended["ordered"]) and collapsed.most(collapsed.ended["collapsed"]):
        return Verdict("undecided", why="branches left their state and came back")
    beyond = [group.ended["collapsed"] + group.ended["trapped"] for group in (ordered, collapsed)]
    if ordered.most(beyond[0]) and collapsed.most(beyond[1]):
        return Verdict("undecided", why="from both starts some collapsed, some trapped")
    return Verdict("undecided", why="branches from one start differ")


def _exceeds(upper: Sequence[float], lower: Sequence[float], limit: float) -> bool:
    """Whether the interval of the difference of means lies above the limit."""
    interval = welch(upper, lower)
    return (interval.lower if interval else fmean(upper) - fmean(lower)) > limit


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
        {"epochs": int(x), "share": finite(share), "lower": finite(low), "upper": finite(high)}
        for x, share, low, high in rows
        if int(x) in left
    ]


def rate(branches: Sequence[Branch]) -> dict[str, Any] | None:
    """Leavings per epoch under an exponential lifetime, with the Poisson interval; None of no epoch.

    The interval is exact for a fixed exposure; branches that leave end theirs, so it is approximate here.

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


# ── sweeps: the share that λ has not moved yet ──

Span = tuple[float, float]


def remaining(cells: Sequence[Bounds], levels: Sequence[float], rising: bool) -> dict[str, Any]:
    """The share of seeds that stayed beyond each of `levels`, from the cells of their thresholds.

    `{"method", "n", "steps"}`; each step, in the order swept, has the `level`, the numbers of seeds that
    `stayed`, `left` and are `undecided` there, and the `share` with its `lower` and `upper`.

    The share is the plain one where every seed is decided. Where some sweeps were cut short it is Kaplan and
    Meier's, which assumes that they were so for unrelated reasons: where a run of evaluations had begun as a
    sweep ended, that is not so, and the share at the last level is rather too high. The intervals
    (Clopper–Pearson, over all outcomes of the undecided) assume nothing. Levels inside a seed's cell, which
    it did not visit, are left out.
    """
    sign = 1.0 if rising else -1.0
    # Turned so that every sweep rises: (low, high] holds the threshold.
    spans: list[Span] = [
        (min(sign * c.lower, sign * c.upper), max(sign * c.lower, sign * c.upper)) for c in cells
    ]
    reached = [
        x
        for x in sorted({sign * level for level in levels})
        if any(low >= x or high <= x for low, high in spans)
        and not any(low < x < high < math.inf for low, high in spans)
    ]
    if any(low < x < high for low, high in spans for x in reached):
        method, shares = "Kaplan–Meier", _kaplan_meier(spans, reached)
    else:
        method, shares = "binomial", [sum(low >= x for low, _ in spans) / len(spans) for x in reached]
    steps = []
    for x, share in zip(reached, shares, strict=True):
        stayed, left = sum(low >= x for low, _ in spans), sum(high <= x for _, high in spans)
        undecided = len(spans) - stayed - left
        interval = clopper_pearson_undecided(stayed, undecided, len(spans))
        counts = {"level": sign * x, "stayed": stayed, "left": left, "undecided": undecided}
        limits = {"lower": round(interval.lower, 10), "upper": round(interval.upper, 10)}
        steps.append({**counts, "share": round(share, 10), **limits})
    return {"method": method, "n": len(spans), "steps": steps}


def _kaplan_meier(spans: Sequence[Span], levels: Sequence[float]) -> list[float]:
    from scipy import stats

    times = [low if math.isinf(high) else high for low, high in spans]
    sample = stats.CensoredData.right_censored(times, [math.isinf(high) for _, high in spans])
    return [float(share) for share in stats.ecdf(sample).sf.evaluate(levels)]
