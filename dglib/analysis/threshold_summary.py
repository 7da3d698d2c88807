"""Thresholds of sweeps over seeds: counts, medians with intervals, and the share still in its state."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from dglib.analysis.bounds import median_bounds, spread
from dglib.analysis.fields import Records, entries, level_of, levels_of, parameter
from dglib.analysis.intervals import as_json, median_interval
from dglib.analysis.states import FINAL_STATES, final_state
from dglib.analysis.survival import Remaining, remaining
from dglib.analysis.thresholds import Direction, Threshold, limits, threshold

STARTS = ("collapsed", "trapped")


def summarise_thresholds(direction: Direction, records: Records) -> dict[str, Any]:
    """Counts by outcome, the threshold over seeds and every seed's bounds.

    `lambda_up` or `lambda_down`: spread of the levels at which the runs that fired began, the far ends of
    their cells; `..._recorded`: of those at which they ended, as records keep them. `limit`: the event's
    error. `median` and `remaining`: over all seeds of which anything is known, censored ones too; of falling
    sweeps also `by_start`, the two states from which seeds recover or do not.
    """
    found = [threshold(direction, record) for record in records]
    outcomes = Counter(each.outcome for each in found)
    kinds = (direction.event, "no_event", "init_failed", "diverged", "unfinished")
    fired = [each for each in found if each.outcome == direction.event]
    levels = planned_levels(records)
    summary: dict[str, Any] = {
        "n": len(found),
        "events": outcomes[direction.event],
        "failed_inits": outcomes["init_failed"],
        "diverged": outcomes["diverged"],
        "outcomes": {kind: outcomes[kind] for kind in kinds},
        direction.field: spread([each.level for each in fired if each.level is not None]),
        f"{direction.field}_recorded": spread([each.recorded for each in fired if each.recorded is not None]),
        "limit": parameter(records, direction.limit, direction.default_limit),
        "median": median_of(found),
        "remaining": still(direction, found, levels).as_dict(),
        "censored": [each.seed for each in found if each.outcome == "no_event"],
        "final_states": _final_states(records),
        "differences": {str(each.seed): each.difference for each in found if each.difference},
        "seeds": [each.as_dict() for each in found],
    }
    if not direction.rising:
        summary["start"] = start_counts(found)
        summary["by_start"] = {
            state: _group(direction, [each for each in found if each.start == state], levels)
            for state in STARTS
        }
    return summary


def median_of(found: Sequence[Threshold]) -> dict[str, Any]:
    """`{"n", "lower", "upper", "interval"}`: bounds of the sample's median, interval for the population's.

    The interval is None below six seeds: no 95 % interval from order statistics exists there.
    """
    known = [each.bounds for each in found if each.bounds]
    interval = median_interval([b.lower for b in known], [b.upper for b in known])
    return {"n": len(known), **median_bounds(known).as_dict(), "interval": as_json(interval)}


def still(direction: Direction, found: Sequence[Threshold], levels: Sequence[float]) -> Remaining:
    """The share of seeds that the sweep has not yet moved, at each level: still ordered, or not recovered."""
    return remaining([each.bounds for each in found if each.bounds], levels, direction.rising)


def start_counts(found: Sequence[Threshold]) -> dict[str, int]:
    """How many seeds began the falling sweep collapsed, how many trapped, and how many of these left."""
    return {
        **{state: sum(each.start == state for each in found) for state in STARTS},
        "left_trap": sum(each.left_trap for each in found),
    }


def planned_levels(records: Records) -> list[float]:
    """Every level that a sweep was to visit, or did; ascending."""
    planned = {
        round(float(x), 6) for r in records for x in (r.get("parameters") or {}).get("sweep_lambdas") or ()
    }
    visited = {level for r in records for level in levels_of(entries(r, "trajectory", "sweep"))}
    final = {level for r in records if (level := level_of(r, "final_lambda")) is not None}
    return sorted(planned | visited | final)


def _final_states(records: Records) -> dict[str, int]:
    ends = limits(records)
    counts = Counter(final_state(record, *ends) for record in records)
    return {state: counts[state] for state in FINAL_STATES}


def _group(direction: Direction, found: Sequence[Threshold], levels: Sequence[float]) -> dict[str, Any]:
    return {
        "n": len(found),
        "events": sum(each.outcome == direction.event for each in found),
        "median": median_of(found),
        "remaining": still(direction, found, levels).as_dict(),
    }
