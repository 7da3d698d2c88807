"""V3's summary: the error on two branches at the same λ, and the gap between them, paired by seed."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from dglib.analysis import wording
from dglib.analysis.controls import is_frozen
from dglib.analysis.fields import (
    Record,
    Records,
    entries,
    has_diverged,
    is_running,
    mean_by_level,
    number,
    parameter,
    rounded,
    seed_of,
    starts_trapped,
)
from dglib.analysis.grid import TRAPPED
from dglib.analysis.intervals import spread
from dglib.analysis.summary import UNMEASURED, common, exact, missing, paired, quantity

GAP_LEVEL, GAP_ERROR = 0.50, 0.10
BRANCHES = ("ordered", "collapse")
STARTS = ("collapsed", "trapped")
FIELDS = tuple(f"{branch}{part}_trajectory" for branch in BRANCHES for part in ("_init", ""))


def branch(record: Record, name: str) -> dict[float, float]:
    """λ -> error on the "ordered" or the "collapse" branch, in the order swept."""
    return mean_by_level(entries(record, f"{name}_trajectory"))


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
        mean, interval = rounded(fmean(values)), _interval(paired(values))
        curve.append({"lambda": level, "n": len(values), "mean": mean, "interval": interval})
    return curve


def _interval(found: dict[str, Any] | None) -> dict[str, float] | None:
    if found is None or found["ci95"] is None:
        return None
    return {"lower": found["ci95"][0], "upper": found["ci95"][1], "confidence": 0.95}


def summarise_branches(records: Records) -> dict[str, Any]:
    """The gap between the branches, at `gap_lambda` (0.50) by seed and at every level over seeds.

    `two_branches` compares the gap's t interval there with `gap_error` (0.10), over the seeds that began the
    collapse branch collapsed, as a trapped network is on neither branch: "yes", "no", "undecided", or
    "frozen" where a branch of most seeds is.
    """
    level = round(parameter(records, "gap_lambda", GAP_LEVEL), 6)
    limit = parameter(records, "gap_error", GAP_ERROR)
    seeds = [_seed(record, level, limit) for record in records]
    groups = {
        state: [s["gap"] for s in seeds if s["start"] == state and s["gap"] is not None] for state in STARTS
    }
    apart, gap = groups["collapsed"], paired(groups["collapsed"])
    verdict, frozen = "undecided", sum(seed["frozen"] for seed in seeds)
    if 2 * frozen > len(apart) > 0:
        verdict = "frozen"
    elif gap and gap["ci95"] and not gap["ci95"][0] <= limit <= gap["ci95"][1]:
        verdict = "yes" if gap["ci95"][0] > limit else "no"
    found = common("V3", records, seeds, ("complete", *UNMEASURED))
    return found | {
        "measured": len(apart),
        "gap_lambda": level,
        "gap_limit": limit,
        "gap": spread([gap for gaps in groups.values() for gap in gaps]),
        "gap_collapsed": gap,  # without the seeds that began the collapse branch trapped
        "gap_interval": _interval(gap),
        "gap_mean": gap and {"estimate": gap["mean"], "ci95": gap["ci95"]},
        "two_branches": verdict,
        "frozen": frozen,
        "gap_by_level": {state: gap_curve(records, state) for state in STARTS},
        "start": {kind: sum(seed["start"] == kind for seed in seeds) for kind in STARTS},
        "by_start": {
            state: {
                "n": len(members),
                "above_limit": sum(gap > limit for gap in members),
                "gap": quantity(exact(members)),
                "gap_mean": paired(members),
            }
            for state, members in groups.items()
        },
        "final_errors": _final_errors(records),
        "limits": {"gap_error": limit},
        "estimates": {"gap": quantity(exact(apart))},
        "notes": [*_frozen_note(frozen), *_missing(found["outcomes"], groups, level)],
    }


def _missing(outcomes: Mapping[str, int], groups: Mapping[str, Sequence[float]], level: float) -> list[str]:
    if outcomes["complete"] and not any(groups.values()):
        return [f"no gap: no seed has both branches at λ = {wording.level(level)}"]
    return missing(outcomes, sum(map(len, groups.values())))


def _frozen_note(frozen: int) -> list[str]:
    why = "a branch did not move at a small LR: the gap may be that of the inits"
    return [f"frozen: in {wording.seeds(frozen)} {why}"] if frozen else []


def _final_errors(records: Records) -> list[dict[str, Any]]:
    """Of each branch and start state the λ at its end and the errors there, over complete seeds."""
    found: defaultdict[tuple[str, str, float], list[float]] = defaultdict(list)
    for record in records:
        if (state := start_state(record)) in STARTS:
            for name in BRANCHES:
                level, error = list(branch(record, name).items())[-1]
                found[name, "ordered" if name == "ordered" else str(state), level].append(error)
    return [
        {"branch": name, "start": state, "lambda": level, "error": paired(errors, lowest=0.0)}
        for (name, state, level), errors in sorted(found.items(), reverse=True)
    ]


def _seed(record: Record, level: float, limit: float) -> dict[str, Any]:
    kind = end = outcome(record)
    complete = kind == "complete"
    gap = gaps(record).get(level) if complete else None
    start = start_state(record) if complete else None
    frozen = complete and any(is_frozen(record, entries(record, f"{name}_trajectory")) for name in BRANCHES)
    if complete:
        end = "two_branches" if gap is not None and gap > limit else "one_branch"
        end = "frozen" if frozen and end == "two_branches" else end
        end = "no_gap" if gap is None else TRAPPED if start == "trapped" else end
    return {
        "seed": seed_of(record),
        "outcome": kind,
        "end": end,
        "ordered_init": number(record, "ordered_init"),
        "collapse_init": number(record, "collapse_init"),
        "gap": gap,
        "start": start,
        "frozen": frozen,
    }
