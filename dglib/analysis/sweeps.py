"""What records contain, ours and published ones, and what one seed's sweep shows: levels, states, thresholds.

Any field may be missing, null or NaN. λ↑ of a rising sweep and λ↓ of a falling one are one reading, with the
sign turned: the first level of the run of evaluations that fires, at this dwell time and LR, given a
successful init. It is recomputed from the trajectory; records keep the level of the last evaluation of that
run.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from dglib.analysis.intervals import Bounds, rounded

Record = Mapping[str, Any]
Entry = Mapping[str, Any]
Records = Sequence[Record]

CHANCE_ERROR = 0.9  # one class predicted for everything, on ten balanced classes
LASTING = 3  # levels, or evaluations of the first one
FINAL_STATES = ("ordered", "between", "collapsed", "trapped", "diverged")


def number(source: Mapping[str, Any], key: str) -> float | None:
    """The finite number under `key`; None where it is missing, null, NaN, infinite or no number."""
    value = source.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def parameter(records: Iterable[Record], name: str, default: float) -> float:
    """The first record's value of an experiment parameter; published records carry none."""
    for record in records:
        value = number(record.get("parameters") or {}, name)
        if value is not None:
            return value
    return default


def seed_of(record: Record) -> int:
    """The record's seed; -1 where it has none."""
    seed = number(record, "seed")
    return -1 if seed is None else int(seed)


def entries(record: Record, field: str, phase: str | None = None) -> list[Entry]:
    """The evaluations under `field`, in order, of one `phase` or of all."""
    return [e for e in record.get(field) or () if phase is None or e.get("phase") == phase]


def level_of(source: Mapping[str, Any], key: str = "lambda") -> float | None:
    """λ of an evaluation or record, free of rounding noise (0.30000000000000004 is 0.3): levels compare."""
    value = number(source, key)
    return None if value is None else round(value, 6)


def levels_of(evaluations: Iterable[Entry]) -> list[float]:
    """The distinct λ levels in the order in which they were first visited."""
    levels = (level_of(entry) for entry in evaluations)
    return list(dict.fromkeys(level for level in levels if level is not None))


def is_finite(entry: Entry) -> bool:
    """Whether the evaluation's logits were finite: a diverged network has no error."""
    return entry.get("finite", True) is not False and number(entry, "error") is not None


def is_constant(entry: Entry) -> bool:
    """Whether a finite network predicted one class for the whole test set.

    By the counts of predicted classes; published entries lack them, and there error 0.9 counts as constant.
    """
    if not is_finite(entry):
        return False
    predicted = entry.get("predicted")
    if predicted:
        return sum(1 for count in predicted if count > 0) == 1
    return math.isclose(entry["error"], CHANCE_ERROR, abs_tol=1e-9)


def mean_by_level(evaluations: Iterable[Entry]) -> dict[float, float]:
    """λ -> mean error of the finite evaluations at that level, in the order visited."""
    errors: dict[float, list[float]] = {}
    for entry in evaluations:
        level = level_of(entry)
        if level is not None and is_finite(entry):
            errors.setdefault(level, []).append(entry["error"])
    return {level: fmean(values) for level, values in errors.items()}


# ── states ──


def is_running(record: Record) -> bool:
    """Whether the record is of a seed that is not done: ours names an outcome only at the end."""
    return "outcome" in record and record["outcome"] is None


def has_diverged(record: Record, *fields: str) -> bool:
    """Whether that is on record, or any evaluation under `fields` had logits that were not finite."""
    if "diverged" in (record.get("outcome"), record.get("category")):
        return True
    return any(not is_finite(entry) for field in fields for entry in entries(record, field))


def starts_trapped(sweep: Sequence[Entry], fired: bool = False) -> bool:
    """Whether a sweep began in the trapped state: one class predicted for everything, and for long.

    That is so if all evaluations of the first level, `LASTING` or more, were constant predictions, or most of
    them and most of the third level's still (of the last, in a shorter sweep). Fewer readings at chance may
    be a flicker. The seed may have left the state later. One that diverged is not trapped.

    Args:
        fired: whether an event ended the sweep, so that its last level is no sign of a lasting state.
    """
    levels = levels_of(sweep)[:LASTING]
    if not levels or not all(is_finite(entry) for entry in sweep):
        return False
    first = [entry for entry in sweep if level_of(entry) == levels[0]]
    if len(first) >= LASTING and all(map(is_constant, first)):
        return True
    if fired and len(levels) < LASTING:
        return False
    return all(mostly_constant(sweep, level) for level in (levels[0], levels[-1]))


def final_state(record: Record, ordered: float, collapsed: float) -> str | None:
    """The state in which a T1 or T2 sweep ended, one of `FINAL_STATES`; None where no sweep is on record.

    Trapped: most of the last level's evaluations were constant predictions. The others by the final error:
    ordered at or below the one limit, collapsed at or above the other. Counts of these are all that few seeds
    give: below 30 a test of bimodality has no power worth its name, so none is made.
    """
    if has_diverged(record, "trajectory"):
        return "diverged"
    sweep = entries(record, "trajectory", "sweep")
    error = number(sweep[-1], "error") if sweep else number(record, "final_error")
    if error is None:
        return None
    levels = levels_of(sweep)
    if levels and mostly_constant(sweep, levels[-1]):
        return "trapped"
    return state_of(error, ordered, collapsed)


def state_of(error: float, ordered: float, collapsed: float) -> str:
    """ "ordered" at or below the one limit, else "collapsed" at or above the other, else "between"."""
    return "ordered" if error <= ordered else "collapsed" if error >= collapsed else "between"


def mostly_constant(sweep: Sequence[Entry], level: float) -> bool:
    """Whether most of the level's evaluations predicted one class for everything."""
    readings = [is_constant(entry) for entry in sweep if level_of(entry) == level]
    return 2 * sum(readings) > len(readings)


# ── thresholds ──


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
