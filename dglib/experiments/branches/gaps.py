"""V3: the error on two branches at the same λ, and the gap between them, paired by seed."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from dglib.analysis.bounds import spread
from dglib.analysis.curves import Curve
from dglib.analysis.diagnostics import End, end_of
from dglib.analysis.fields import (
    Entry,
    Record,
    Records,
    entries,
    last_by_level,
    number,
    parameter,
    rounded,
    seed_of,
)
from dglib.analysis.intervals import Interval, as_json, t_interval
from dglib.analysis.states import has_diverged, is_running, starts_trapped

GAP_LEVEL, GAP_ERROR = 0.50, 0.10
BRANCHES = ("ordered", "collapse")
_FIELDS = [f"{branch}{part}_trajectory" for branch in BRANCHES for part in ("", "_init")]


def branch(record: Record, name: str) -> dict[float, float]:
    """λ -> error on the "ordered" or the "collapse" branch, in the order swept."""
    return last_by_level(entries(record, f"{name}_trajectory"))


def gaps(record: Record) -> dict[float, float]:
    """λ -> collapse error less ordered error, at the levels that both branches visited, ascending."""
    ordered, collapsed = branch(record, "ordered"), branch(record, "collapse")
    return {level: rounded(collapsed[level] - ordered[level]) for level in sorted(ordered.keys() & collapsed)}


def outcome(record: Record) -> str:
    """What became of a seed: "complete", "init_failed", "diverged" or "unfinished"."""
    if has_diverged(record, *_FIELDS):
        return "diverged"
    if is_running(record):
        return "unfinished"
    flags = ("init_success", "ordered_init_success", "collapse_init_success")
    if any(record.get(flag) is False for flag in flags):
        return "init_failed"
    return "complete" if all(branch(record, name) for name in BRANCHES) else "unfinished"


def start_state(record: Record) -> str | None:
    """The state in which the collapse branch began, "collapsed" or "trapped"; None if the seed has no two
    branches, "diverged" if that is why."""
    kind = outcome(record)
    if kind != "complete":
        return kind if kind == "diverged" else None
    return "trapped" if starts_trapped(entries(record, "collapse_trajectory")) else "collapsed"


@dataclass(frozen=True)
class GapAt:
    """The gap at a level over `n` seeds: its mean and the pointwise t interval, None of a single seed."""

    level: float
    n: int
    mean: float
    interval: Interval | None


def gap_curve(records: Records, state: str) -> list[GapAt]:
    """The gap at each level, paired by seed, of complete seeds whose collapse branch began in `state`."""
    seeds = [gaps(record) for record in records if start_state(record) == state]
    curve = []
    for level in sorted({level for seed in seeds for level in seed}):
        values = [seed[level] for seed in seeds if level in seed]
        curve.append(GapAt(level, len(values), fmean(values), gap_interval(values)))
    return curve


def gap_interval(values: Sequence[float]) -> Interval | None:
    """Student's interval for the mean of paired gaps, cut at ±1: no difference of two errors lies beyond."""
    found = t_interval(values)
    return found and Interval(max(found.lower, -1.0), min(found.upper, 1.0), found.confidence)


def two_branches(values: Sequence[float], limit: float) -> str:
    """ "yes" if the mean gap's 95 % t interval lies above the limit, "no" if below it, else "undecided"."""
    interval = gap_interval(values)
    if interval is None or interval.lower <= limit <= interval.upper:
        return "undecided"
    return "yes" if interval.lower > limit else "no"


def summarise_branches(records: Records) -> dict[str, Any]:
    """The gap between the branches, at `gap_lambda` (0.50) by seed and at every level over seeds.

    `two_branches` ("yes", "no" or "undecided") holds the gap's t interval there against `gap_error` (0.10),
    over the seeds that began the collapse branch collapsed: a trapped network is on neither branch.
    """
    level = round(parameter(records, "gap_lambda", GAP_LEVEL), 6)
    limit = parameter(records, "gap_error", GAP_ERROR)
    seeds = [_seed(record, level) for record in records]
    outcomes = Counter(seed["outcome"] for seed in seeds)
    measured = [seed for seed in seeds if seed["gap"] is not None]
    apart = [seed["gap"] for seed in measured if seed["start"] == "collapsed"]
    return {
        "experiment": "V3",
        "n": len(records),
        "failed_inits": outcomes["init_failed"],
        "diverged": outcomes["diverged"],
        "outcomes": {kind: outcomes[kind] for kind in ("complete", "init_failed", "diverged", "unfinished")},
        "gap_lambda": level,
        "gap_limit": limit,
        "gap": spread([seed["gap"] for seed in measured]),
        "gap_collapsed": spread(apart),  # without the seeds that began the collapse branch trapped
        "gap_interval": as_json(gap_interval(apart)),
        "two_branches": two_branches(apart, limit),
        "gap_by_level": {
            state: [
                {"lambda": g.level, "n": g.n, "mean": rounded(g.mean), "interval": as_json(g.interval)}
                for g in gap_curve(records, state)
            ]
            for state in ("collapsed", "trapped")
        },
        "start": {kind: sum(seed["start"] == kind for seed in seeds) for kind in ("collapsed", "trapped")},
        "seeds": seeds,
    }


def _seed(record: Record, level: float) -> dict[str, Any]:
    kind = outcome(record)
    complete = kind == "complete"
    return {
        "seed": seed_of(record),
        "outcome": kind,
        "ordered_init": number(record, "ordered_init"),
        "collapse_init": number(record, "collapse_init"),
        "gap": gaps(record).get(level) if complete else None,
        "start": start_state(record) if complete else None,
    }


def ends(record: Record) -> list[End]:
    """The end of each branch that was swept; of the collapse branch with the state in which it began."""
    found = []
    for arm in BRANCHES:
        start = start_state(record) if arm == "collapse" else None
        name = f"{arm} branch" + (f", began {start}" if start in ("collapsed", "trapped") else "")
        found += end_of(record, f"{arm}_trajectory", arm, name, start == "trapped")
    return found


def traces(record: Record) -> list[tuple[str, Curve, Sequence[Entry]]]:
    """Both branches of a complete seed; a collapse branch that began trapped is apart."""
    state = start_state(record)
    found: list[tuple[str, Curve, Sequence[Entry]]] = []
    for name in BRANCHES if state in ("collapsed", "trapped") else ():
        key = "V3-trapped" if name == "collapse" and state == "trapped" else f"V3-{name}"
        found.append((key, Curve(branch(record, name)), entries(record, f"{name}_trajectory")))
    return found
