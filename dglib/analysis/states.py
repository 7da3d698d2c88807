"""Which state a seed is in: trapped or collapsed at the start of a sweep, diverged or not."""

from collections.abc import Sequence

from dglib.analysis.fields import (
    Entry,
    Record,
    entries,
    is_constant,
    is_finite,
    level_of,
    levels_of,
    number,
)

LASTING_LEVELS = 3
FINAL_STATES = ("ordered", "between", "collapsed", "trapped", "diverged")


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

    That is so if most evaluations of the first level were constant predictions, and most of the third
    still (of the last, in a shorter sweep). One reading at chance is not enough: some networks leave again
    within a level or two. A seed that `fired` before the third level has left; one that
    diverged is not trapped.
    """
    levels = levels_of(sweep)[:LASTING_LEVELS]
    if not levels or not all(is_finite(entry) for entry in sweep):
        return False
    if fired and len(levels) < LASTING_LEVELS:
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
