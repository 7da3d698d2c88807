"""V3's summary: the error on two branches at the same λ, and the gap between them, paired by seed."""

from collections.abc import Sequence
from statistics import fmean
from typing import Any

from dglib.analysis import wording
from dglib.analysis.fields import (
    Record,
    Records,
    entries,
    has_diverged,
    is_running,
    last_by_level,
    number,
    parameter,
    rounded,
    seed_of,
    starts_trapped,
)
from dglib.analysis.grid import TRAPPED
from dglib.analysis.intervals import Interval, as_json, spread, t_interval
from dglib.analysis.summary import UNMEASURED, Summary, common, exact, missing, quantity
from dglib.analysis.wording import Words

GAP_LEVEL, GAP_ERROR = 0.50, 0.10
BRANCHES = ("ordered", "collapse")
STARTS = ("collapsed", "trapped")
FIELDS = tuple(f"{branch}{part}_trajectory" for branch in BRANCHES for part in ("_init", ""))


def branch(record: Record, name: str) -> dict[float, float]:
    """λ -> error on the "ordered" or the "collapse" branch, in the order swept."""
    return last_by_level(entries(record, f"{name}_trajectory"))


def gaps(record: Record) -> dict[float, float]:
    """λ -> collapse error less ordered error, at the levels that both branches visited, ascending."""
    ordered, collapsed = branch(record, "ordered"), branch(record, "collapse")
    return {level: rounded(collapsed[level] - ordered[level]) for level in sorted(ordered.keys() & collapsed)}


def outcome(record: Record) -> str:
    """The outcome of a seed: "complete", "init_failed", "diverged" or "unfinished"."""
    if has_diverged(record, *FIELDS):
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


def gap_curve(records: Records, state: str) -> list[dict[str, Any]]:
    """The mean gap at each level with its pointwise t interval, null of a single seed, paired by seed.

    Of complete seeds whose collapse branch began in `state`.
    """
    seeds = [gaps(record) for record in records if start_state(record) == state]
    curve = []
    for level in sorted({level for seed in seeds for level in seed}):
        values = [seed[level] for seed in seeds if level in seed]
        interval = as_json(gap_interval(values))
        curve.append(
            {"lambda": level, "n": len(values), "mean": rounded(fmean(values)), "interval": interval}
        )
    return curve


def gap_interval(values: Sequence[float]) -> Interval | None:
    """Student's interval for the mean of paired gaps, cut at ±1: no difference of two errors lies beyond."""
    found = t_interval(values)
    return found and Interval(max(found.lower, -1.0), min(found.upper, 1.0), found.confidence)


def summarise_branches(records: Records) -> dict[str, Any]:
    """The gap between the branches, at `gap_lambda` (0.50) by seed and at every level over seeds.

    `two_branches` ("yes", "no" or "undecided") compares the gap's t interval there with `gap_error` (0.10),
    over the seeds that began the collapse branch collapsed: a trapped network is on neither branch.
    """
    level = round(parameter(records, "gap_lambda", GAP_LEVEL), 6)
    limit = parameter(records, "gap_error", GAP_ERROR)
    seeds = [_seed(record, level, limit) for record in records]
    groups = {
        state: [s["gap"] for s in seeds if s["start"] == state and s["gap"] is not None] for state in STARTS
    }
    apart, interval = groups["collapsed"], gap_interval(groups["collapsed"])
    decided = interval is not None and not interval.lower <= limit <= interval.upper
    verdict = "undecided" if interval is None or not decided else "yes" if interval.lower > limit else "no"
    found = common("V3", records, seeds, ("complete", *UNMEASURED))
    ends = interval and [rounded(interval.lower), rounded(interval.upper)]
    trapped = len(groups["trapped"])
    notes = [f"{wording.seeds(trapped)} began the collapse branch trapped, and not in the gap"] * bool(
        trapped
    )
    return found | {
        "measured": len(apart),
        "gap_lambda": level,
        "gap_limit": limit,
        "gap": spread([gap for gaps in groups.values() for gap in gaps]),
        "gap_collapsed": spread(apart),  # without the seeds that began the collapse branch trapped
        "gap_interval": as_json(interval),
        "gap_mean": {"estimate": rounded(fmean(apart)), "ci95": ends} if apart else None,
        "two_branches": verdict,
        "gap_by_level": {state: gap_curve(records, state) for state in STARTS},
        "start": {kind: sum(seed["start"] == kind for seed in seeds) for kind in STARTS},
        "by_start": {
            state: {"n": len(members), "gap": quantity([exact(gap) for gap in members])}
            for state, members in groups.items()
        },
        "estimates": {"gap": quantity([exact(gap) for gap in apart])},
        "notes": notes + missing(found["outcomes"], len(apart)),
    }


def _seed(record: Record, level: float, limit: float) -> dict[str, Any]:
    kind = end = outcome(record)
    complete = kind == "complete"
    gap = gaps(record).get(level) if complete else None
    start = start_state(record) if complete else None
    if complete:
        end = "two_branches" if gap is not None and gap > limit else "one_branch"
        end = "no_gap" if gap is None else TRAPPED if start == "trapped" else end
    return {
        "seed": seed_of(record),
        "outcome": kind,
        "end": end,
        "ordered_init": number(record, "ordered_init"),
        "collapse_init": number(record, "collapse_init"),
        "gap": gap,
        "start": start,
    }


def words(summary: Summary) -> Words:
    """The gap between the branches, whether it makes two, and the seeds that do not count."""
    return Words(_finding(summary), wording.dwell(summary["dwell"]))


def _finding(summary: Summary) -> str:
    at, limit = wording.level(summary["gap_lambda"]), wording.level(summary["gap_limit"])
    others = wording.unmeasured(summary["outcomes"])
    tail = f"; {'; '.join(others)}" if others else ""
    if summary["gap"] is None:
        complete = summary["outcomes"]["complete"]
        why = f"no level λ = {at} in {wording.seeds(complete)}" if complete else "no seed has both branches"
        return f"V3: of {wording.seeds(summary['n'])}, {why}, so the gap at λ = {at} was not measured{tail}."
    gap, trapped = summary["gap_collapsed"], summary["start"]["trapped"]
    everyone = wording.spread(summary["gap"])
    verdict = {
        "yes": "two branches",
        "no": "not two branches",
        "undecided": "undecided whether there are two branches",
    }[summary["two_branches"]]
    if gap is None:
        finding = f"V3: no seed of {summary['n']} began the collapse branch collapsed: {verdict}{tail}."
        return f"{finding} {trapped} began it trapped ({wording.TRAPPED_MEANS}), with a gap of {everyone}."
    finding = (
        f"V3: the gap at λ = {at} is {wording.spread(gap)} in {gap['n']} of {wording.seeds(summary['n'])}"
    )
    if summary["gap_interval"]:
        interval = wording.confidence_interval(summary["gap_interval"], 3)
        finding += f", {interval.replace('interval', 't interval', 1)}"
    finding += f", against a limit of {limit}: {verdict}{tail}."
    if trapped:
        finding += (
            f" {trapped} began the collapse branch trapped ({wording.TRAPPED_MEANS}) and"
            f" {wording.is_are(trapped)} left out;"
        )
        finding += f" with {'it' if trapped == 1 else 'them'} the gap is {everyone}."
    return finding
