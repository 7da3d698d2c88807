"""Where a seed's sweep passes its threshold, as far as the levels visited determine it.

λ↑ of a rising sweep and λ↓ of a falling one are one reading, with the sign turned: the first level of the run
of evaluations that fires, at this dwell time and LR, given a successful init. It is recomputed from the
trajectory; records have the level of the last evaluation of that run.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from dglib.analysis.fields import (
    Entry,
    Record,
    entries,
    final_state,
    has_diverged,
    init_level,
    is_constant,
    is_finite,
    is_running,
    level_of,
    levels_of,
    number,
    parameter,
    seed_of,
    starts_trapped,
)
from dglib.analysis.intervals import Bounds, rounded


@dataclass(frozen=True)
class Rule:
    """`consecutive` evaluations in a row at or beyond the error `limit` make an event.

    Attributes:
        above: whether beyond means an error at or above the limit (collapse), or at or below (recovery).
    """

    limit: float
    above: bool
    consecutive: int = 3

    def holds(self, entry: Entry) -> bool:
        """Whether an evaluation is beyond the limit, in floats as they are; without a finite error never."""
        error = number(entry, "error")
        if error is None or not is_finite(entry):
            return False
        return error >= self.limit if self.above else error <= self.limit


@dataclass(frozen=True)
class Detection:
    """What a rule finds in a sweep.

    Attributes:
        visited: the sweep's levels, in the order visited.
        first: λ at which the run of evaluations that fires begins; None if none fires.
        last: λ of that run's last evaluation, which is the one in records.
        begun: λ at which a run began that the end of the sweep cut short; None if none was under way.
        full: whether the last level has as many evaluations as any; None where there is only one level.
    """

    visited: tuple[float, ...]
    first: float | None
    last: float | None
    begun: float | None
    full: bool | None


def detect(sweep: Sequence[Entry], rule: Rule) -> Detection:
    """Find the first event in a sweep's evaluations; the count runs on across levels, a miss resets it."""
    visited = tuple(levels_of(sweep))
    placed = [(level, rule.holds(entry)) for entry in sweep if (level := level_of(entry)) is not None]
    run: list[float] = []
    for level, holds in placed:
        run = [*run, level] if holds else []
        if len(run) == rule.consecutive:
            return Detection(visited, run[0], run[-1], None, _full(placed, visited))
    return Detection(visited, None, None, run[0] if run else None, _full(placed, visited))


def cell(detection: Detection, start: float | None, rising: bool, finished: bool = True) -> Bounds | None:
    """The bounds of the threshold: (level before, level] of an event, else open beyond what was passed.

    Args:
        start: λ from which the first level was reached; None where it is not known. An event at this very λ
            has no level before it: the cell is open there.
        finished: whether the sweep ended because its levels did; an interrupted one may have been about to
            fire within its last level.

    A level is passed if no run that may yet fire began at it. So a run that the end cut short leaves its
    first level open. None where not even the first level was passed and `start` is not known.
    """

    def between(near: float, far: float) -> Bounds:
        return Bounds(near, far) if rising else Bounds(far, near)

    def before(level: float) -> float | None:
        index = detection.visited.index(level)
        return detection.visited[index - 1] if index else start

    beyond, last = math.inf if rising else -math.inf, detection.visited[-1] if detection.visited else None
    if detection.first is not None:
        near = before(detection.first)
        return between(-beyond if near is None or near == detection.first else near, detection.first)
    if last is None:
        return None
    open_at = last if detection.begun is None and not finished and not detection.full else detection.begun
    passed = last if open_at is None else before(open_at)
    return None if passed is None else between(passed, beyond)


def _full(placed: Sequence[tuple[float, bool]], visited: Sequence[float]) -> bool | None:
    if len(visited) < 2:
        return None
    counts = [sum(level == item for item, _ in placed) for level in visited]
    return counts[-1] >= max(counts[:-1])


@dataclass(frozen=True)
class Direction:
    """The rising sweep, or the falling one."""

    symbol: str
    field: str  # of the record: the level of the event
    event: str  # past tense; also the record's flag
    noun: str
    rising: bool
    limit: str  # the parameter that holds the event's error
    default_limit: float


UP = Direction("λ↑", "lambda_up", "collapsed", "collapse", True, "collapse_error", 0.40)
DOWN = Direction("λ↓", "lambda_down", "recovered", "recovery", False, "recovery_error", 0.20)


def limits(records: Iterable[Record]) -> list[float]:
    """The errors at or below which a network counts as recovered, and at or above which as collapsed."""
    known = list(records)
    return [parameter(known, item.limit, item.default_limit) for item in (DOWN, UP)]


@dataclass(frozen=True)
class Threshold:
    """One seed's threshold: what became of the seed, and where the threshold lies if that is known."""

    seed: int
    outcome: str  # the direction's event, or "no_event", "init_failed", "diverged", "unfinished"
    level: float | None  # λ at which the run of evaluations that fires begins
    fired: float | None  # λ of the last of that run, where the sweep ended
    recorded: float | None  # what the record has for `fired`
    last: float | None  # the last level visited
    begun: float | None  # λ at which a run of evaluations began that the end of the sweep cut short
    bounds: Bounds | None  # None where nothing was measured; of an unfinished seed, what it has passed
    start: str | None  # "ordered"; of a falling sweep "trapped", "collapsed" or "not recorded"
    left_trap: bool  # started trapped, but the last evaluation is no constant prediction
    final_state: str | None  # one of `FINAL_STATES`
    event_error: float  # the error that counts as the event; rounded, so without a strict limit's last bit
    consecutive: int  # evaluations in a row that make one
    init_error: float | None
    final_error: float | None
    difference: str | None  # between the record and its own trajectory, in words

    def as_dict(self) -> dict[str, Any]:
        bounds = self.bounds.as_dict() if self.bounds else {"lower": None, "upper": None}
        plain = {name: value for name, value in vars(self).items() if name != "bounds"}
        return plain | bounds


def rule_of(direction: Direction, record: Record) -> Rule:
    """The rule under which the seed was run; published records state none and had the protocol's."""
    limit = parameter([record], direction.limit, direction.default_limit)
    return Rule(limit, direction.rising, int(parameter([record], "consecutive", 3)))


def threshold(direction: Direction, record: Record) -> Threshold:
    """Read one seed's threshold from its trajectory under the limits among its parameters.

    A record that lacks too much is "unfinished". Under stricter limits than those it was run under, a seed
    that stopped at its event is unfinished, and censored at the stop.
    """
    sweep, rule = entries(record, "trajectory", "sweep"), rule_of(direction, record)
    detection, recorded = detect(sweep, rule), level_of(record, direction.field)
    last = detection.visited[-1] if detection.visited else level_of(record, "final_lambda")
    if not sweep:  # its event is taken as recorded
        end = last if recorded is None else recorded
        detection = Detection(() if end is None else (end,), recorded, recorded, None, None)
    outcome, bounds = _outcome(direction, record, detection.first, recorded, last), None
    if outcome not in ("init_failed", "diverged") and (sweep or outcome != "unfinished"):
        bounds = cell(detection, init_level(record), direction.rising, finished=outcome == "no_event")
    if outcome == "no_event" and bounds is None:  # not even its first level is certain
        outcome = "unfinished"
    start, left = "ordered" if bounds and direction.rising else None, False
    if bounds and not direction.rising:
        trapped = starts_trapped(sweep, fired=detection.first is not None)
        start = "trapped" if trapped else "collapsed" if sweep else "not recorded"
        left = trapped and not is_constant(sweep[-1])
    return Threshold(
        seed=seed_of(record),
        outcome=outcome,
        level=detection.first,
        fired=detection.last,
        recorded=recorded,
        last=last,
        begun=detection.begun,
        bounds=bounds,
        start=start,
        left_trap=left,
        final_state=final_state(record, *limits([record])),
        event_error=rounded(rule.limit),
        consecutive=rule.consecutive,
        init_error=number(record, "init_error"),
        final_error=number(record, "final_error"),
        difference=_difference(direction, record, detection) if sweep else None,
    )


def _outcome(
    direction: Direction, record: Record, level: float | None, recorded: float | None, last: float | None
) -> str:
    if level is not None:  # even if the return sweep diverged
        return direction.event
    if recorded is None and has_diverged(record, "trajectory"):
        return "diverged"
    if is_running(record) or recorded is not None:  # stopped before the rule in question was met
        return "unfinished"
    if record.get("init_success") is False:
        return "init_failed"
    # A missing field is no finding: only a stated "no event" counts as one.
    stated = direction.field in record or record.get(direction.event) is False
    return "no_event" if stated and last is not None else "unfinished"


def _difference(direction: Direction, record: Record, detection: Detection) -> str | None:
    """How the record differs from what was found in its trajectory; None if it does not."""
    if not detection.visited or is_running(record) or direction.field not in record:
        return None
    recorded, flag = level_of(record, direction.field), record.get(direction.event)
    if detection.last == recorded and flag in (None, recorded is not None):
        return None
    names = [("none" if value is None else f"{value:g}") for value in (recorded, detection.last)]
    flagged = "" if flag is None else f" ({direction.event}: {str(flag).lower()})"
    return f"{direction.field} {names[0]}{flagged} on record, {names[1]} in the trajectory"
