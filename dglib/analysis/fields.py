"""What records contain, ours and published ones: values, evaluations, and the state of a network.

Any field may be missing, null or NaN.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any

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


def init_level(record: Record) -> float | None:
    """λ at which the seed was prepared: the sweep's first cell starts there."""
    stated = number(record.get("parameters") or {}, "init_lambda")
    if stated is not None:
        return stated
    init = entries(record, "trajectory", "init")
    return level_of(init[-1]) if init else None


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
