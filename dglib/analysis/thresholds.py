"""λ↑ of T1 and λ↓ of T2, seed by seed: one reading of a sweep, with the sign turned."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dglib.analysis.bounds import Bounds, censored_cell, event_cell, spread
from dglib.analysis.reading import (
    Record,
    Records,
    entries,
    is_constant,
    level_of,
    levels_of,
    number,
    seed_of,
)
from dglib.analysis.states import has_diverged, is_running, starts_trapped


@dataclass(frozen=True)
class Direction:
    """What tells the rising sweep from the falling one."""

    experiment: str
    symbol: str
    field: str  # of the record: the level of the event
    event: str  # past tense; also the record's flag
    noun: str
    rising: bool
    limit: str  # the parameter that holds the event's error
    default_limit: float


UP = Direction("T1", "λ↑", "lambda_up", "collapsed", "collapse", True, "collapse_error", 0.40)
DOWN = Direction("T2", "λ↓", "lambda_down", "recovered", "recovery", False, "recovery_error", 0.20)
DIRECTIONS = {direction.experiment: direction for direction in (UP, DOWN)}


@dataclass(frozen=True)
class Threshold:
    """One seed's threshold: what became of the seed, and where the threshold lies if it was measured."""

    seed: int
    outcome: str  # the direction's event, or "no_event", "init_failed", "diverged", "unfinished"
    level: float | None  # of the event
    last: float | None  # the last level visited
    bounds: Bounds | None  # None where nothing was measured
    start: str | None  # falling sweeps: "trapped" or "collapsed"
    left_trap: bool  # started trapped, but the last evaluation is no constant prediction
    init_error: float | None
    final_error: float | None

    def as_dict(self) -> dict[str, Any]:
        """Plain values, with the bounds as `lower` and `upper`."""
        bounds = self.bounds.as_dict() if self.bounds else {"lower": None, "upper": None}
        plain = {name: value for name, value in vars(self).items() if name != "bounds"}
        return plain | bounds


def threshold(direction: Direction, record: Record) -> Threshold:
    """Read one seed's threshold; a record that lacks too much to tell is "unfinished"."""
    sweep = entries(record, "trajectory", "sweep")
    visited = levels_of(sweep)
    level, last = level_of(record, direction.field), level_of(record, "final_lambda")
    last = visited[-1] if visited else last
    outcome = _outcome(direction, record, level, last)
    bounds, start, left = None, None, False
    if outcome == direction.event and level is not None:
        bounds = event_cell(level, visited, init_level(record), direction.rising)
    elif outcome == "no_event" and last is not None:
        bounds = censored_cell(last, direction.rising)
    if bounds and sweep and not direction.rising:
        trapped = starts_trapped(sweep, fired=level is not None)
        start, left = "trapped" if trapped else "collapsed", trapped and not is_constant(sweep[-1])
    return Threshold(
        seed_of(record), outcome, level, last, bounds, start, left,
        number(record, "init_error"), number(record, "final_error"),
    )  # fmt: skip


def end_state(direction: Direction, seed: Threshold) -> str:
    """The state in which the sweep left a seed: "ordered", "collapsed", "trapped" or "diverged"."""
    if seed.outcome == "diverged":
        return "diverged"
    if seed.start == "trapped" and not seed.left_trap and seed.level is None:
        return "trapped"
    return "collapsed" if (seed.outcome == direction.event) == direction.rising else "ordered"


def init_level(record: Record) -> float | None:
    """λ at which the seed was prepared: the sweep's first cell starts there."""
    stated = number(record.get("parameters") or {}, "init_lambda")
    if stated is not None:
        return stated
    init = entries(record, "trajectory", "init")
    return level_of(init[-1]) if init else None


def summarise_thresholds(direction: Direction, records: Records) -> dict[str, Any]:
    """Counts by outcome, the threshold's spread over the seeds with an event, and every seed's bounds."""
    found = [threshold(direction, record) for record in records]
    outcomes = Counter(each.outcome for each in found)
    kinds = (direction.event, "no_event", "init_failed", "diverged", "unfinished")
    summary: dict[str, Any] = {
        "experiment": direction.experiment,
        "n": len(found),
        "events": outcomes[direction.event],
        "failed_inits": outcomes["init_failed"],
        "diverged": outcomes["diverged"],
        "outcomes": {kind: outcomes[kind] for kind in kinds},
        direction.field: spread([each.level for each in found if each.bounds and each.level is not None]),
        "censored": [each.seed for each in found if each.outcome == "no_event"],
        "seeds": [each.as_dict() for each in found],
    }
    if not direction.rising:
        summary["start"] = start_counts(found)
    return summary


def start_counts(found: Sequence[Threshold]) -> dict[str, int]:
    """How many seeds began the falling sweep collapsed, how many trapped, and how many of these left."""
    return {
        "collapsed": sum(each.start == "collapsed" for each in found),
        "trapped": sum(each.start == "trapped" for each in found),
        "left_trap": sum(each.left_trap for each in found),
    }


def _outcome(direction: Direction, record: Record, level: float | None, last: float | None) -> str:
    if level is not None:  # the threshold stands, even if the way back diverged
        return direction.event
    if has_diverged(record, "trajectory"):
        return "diverged"
    if is_running(record):
        return "unfinished"
    if record.get("init_success") is False:
        return "init_failed"
    # Silence is no finding: only a record that says "no event" counts as one.
    told = direction.field in record or record.get(direction.event) is False
    return "no_event" if told and last is not None else "unfinished"
