"""λ↑ of a rising sweep and λ↓ of a falling one, seed by seed: one reading, with the sign turned.

The threshold of a seed is the first level of the run of evaluations that fires, at this dwell time and LR,
given a successful init. It is recomputed from the trajectory; what the record says is kept beside it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from dglib.analysis.bounds import Bounds, censored_cell, event_cell
from dglib.analysis.detection import Detection, Rule, cell, detect
from dglib.analysis.fields import (
    Record,
    entries,
    is_constant,
    level_of,
    number,
    parameter,
    seed_of,
)
from dglib.analysis.states import has_diverged, is_running, starts_trapped


@dataclass(frozen=True)
class Direction:
    """What tells the rising sweep from the falling one."""

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
    return [parameter(known, each.limit, each.default_limit) for each in (DOWN, UP)]


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
    start: str | None  # falling sweeps: "trapped" or "collapsed"
    left_trap: bool  # started trapped, but the last evaluation is no constant prediction
    init_error: float | None
    final_error: float | None
    difference: str | None  # between the record and its own trajectory, in words

    @property
    def finished(self) -> bool:
        """Whether the sweep met its event or went through all its levels."""
        return self.bounds is not None and self.outcome != "unfinished"

    def as_dict(self) -> dict[str, Any]:
        """Plain values, with the bounds as `lower` and `upper`."""
        bounds = self.bounds.as_dict() if self.bounds else {"lower": None, "upper": None}
        plain = {name: value for name, value in vars(self).items() if name != "bounds"}
        return plain | bounds


def rule_of(direction: Direction, record: Record) -> Rule:
    """The rule under which the seed was run; published records state none and had the protocol's."""
    limit = parameter([record], direction.limit, direction.default_limit)
    return Rule(limit, direction.rising, int(parameter([record], "consecutive", 3)))


def threshold(direction: Direction, record: Record, rule: Rule | None = None) -> Threshold:
    """Read one seed's threshold from its trajectory; a record that lacks too much to tell is "unfinished".

    Args:
        rule: what counts as an event; None: the rule under which the seed was run. Under a stricter one than
            that, a seed that stopped at its event is unfinished, and censored at the stop.
    """
    sweep = entries(record, "trajectory", "sweep")
    found = detect(sweep, rule or rule_of(direction, record))
    recorded, final = level_of(record, direction.field), level_of(record, "final_lambda")
    last = found.visited[-1] if found.visited else final
    # Without a sweep on record its event stands as recorded.
    level, fired = (found.first, found.last) if sweep else (recorded, recorded)
    outcome = _outcome(direction, record, level, recorded, last)
    bounds = _bounds(direction, record, found, outcome, level, last)
    if outcome == "no_event" and bounds is None:  # not even its first level is certain
        outcome = "unfinished"
    start, left = None, False
    if bounds and sweep and not direction.rising:
        trapped = starts_trapped(sweep, fired=level is not None)
        start, left = "trapped" if trapped else "collapsed", trapped and not is_constant(sweep[-1])
    return Threshold(
        seed_of(record), outcome, level, fired, recorded, last, found.begun, bounds, start, left,
        number(record, "init_error"), number(record, "final_error"), _difference(direction, record),
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


def _outcome(
    direction: Direction, record: Record, level: float | None, recorded: float | None, last: float | None
) -> str:
    if level is not None:  # the threshold stands, even if the way back diverged
        return direction.event
    if recorded is None and has_diverged(record, "trajectory"):
        return "diverged"
    if is_running(record) or recorded is not None:  # stopped before the rule in question was met
        return "unfinished"
    if record.get("init_success") is False:
        return "init_failed"
    # Silence is no finding: only a record that says "no event" counts as one.
    told = direction.field in record or record.get(direction.event) is False
    return "no_event" if told and last is not None else "unfinished"


def _bounds(
    direction: Direction,
    record: Record,
    found: Detection,
    outcome: str,
    level: float | None,
    last: float | None,
) -> Bounds | None:
    if outcome in ("init_failed", "diverged"):
        return None
    start, rising = init_level(record), direction.rising
    if found.visited:
        return cell(found, start, rising, finished=outcome == "no_event")
    if level is not None:
        return event_cell(level, (), start, rising)
    return censored_cell(last, rising) if outcome == "no_event" and last is not None else None


def _difference(direction: Direction, record: Record) -> str | None:
    """What the record says otherwise than its trajectory does under the seed's own rule; None if nothing."""
    sweep = entries(record, "trajectory", "sweep")
    if not sweep or is_running(record) or direction.field not in record:
        return None
    found, recorded = detect(sweep, rule_of(direction, record)).last, level_of(record, direction.field)
    flag = record.get(direction.event)
    if found == recorded and flag in (None, recorded is not None):
        return None
    names = [("none" if value is None else f"{value:g}") for value in (recorded, found)]
    flagged = "" if flag is None else f" ({direction.event}: {str(flag).lower()})"
    return f"{direction.field} {names[0]}{flagged} on record, {names[1]} in the trajectory"
