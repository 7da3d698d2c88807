"""What records contain, ours and published ones: any field may be missing, null or NaN.

Fields, levels and errors; the state of a network (trapped, collapsed, diverged); dwell time and LR.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from statistics import fmean, median_low
from typing import Any

Record = Mapping[str, Any]
Entry = Mapping[str, Any]
Records = Sequence[Record]

CHANCE_ERROR = 0.9  # one class predicted for everything, on ten balanced classes


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
    found = (level_of(entry) for entry in evaluations)
    return list(dict.fromkeys(level for level in found if level is not None))


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


def rounded(value: float) -> float:
    """Without the tail that binary floats leave on differences of levels (0.70 - 0.38)."""
    return round(value, 10)


def finite(value: float) -> float | None:
    """As `rounded`; None where it is not finite."""
    return rounded(float(value)) if math.isfinite(value) else None


LASTING = 3  # levels, or evaluations of the first one
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


_NO_SWEEP = ("return_", "error_")  # the return sweep, and training at one λ


def dwell(records: Records) -> dict[str, Any]:
    """`{"epochs_per_level": [...], "lr": [[...], ...], "constant_lr": bool | None}` over the records.

    Each list holds the distinct values, so one entry where all seeds ran alike. A seed's LRs are those of
    its sweep in order. Published records state neither: there the dwell time is read off the
    epochs, and the LR is unknown.
    """
    sweeps = [_sweep(record) for record in records]
    epochs = [_epochs_per_level(record, sweep) for record, sweep in zip(records, sweeps, strict=True)]
    rates = [_rates(record, sweep) for record, sweep in zip(records, sweeps, strict=True)]
    held = [_is_held(record, rate) for record, rate in zip(records, rates, strict=True)]
    known = [value for value in held if value is not None]
    return {
        "epochs_per_level": sorted({value for value in epochs if value is not None}),
        "lr": [list(rate) for rate in sorted(set(rates)) if rate],
        "constant_lr": all(known) if known else None,
    }


def _is_held(record: Record, rates: Sequence[float]) -> bool | None:
    """Whether the sweep's LR is one that was asked for, and not one to which a schedule has dropped."""
    if "sweep_lr" in record:
        return record["sweep_lr"] is not None
    asked = record.get("parameters") or {}
    if not rates or number(asked, "lr") is None:
        return None
    return len(rates) == 1 and rates[0] in (number(asked, "lr"), number(asked, "sweep_lr"))


def _sweep(record: Record) -> list[Entry]:
    fields = [
        f for f in record if f.endswith("trajectory") and "init" not in f and not f.startswith(_NO_SWEEP)
    ]
    found = [e for field in fields for e in entries(record, field) if e.get("phase") != "init"]
    return found or entries(record, "error_trajectory")


def _epochs_per_level(record: Record, sweep: Sequence[Entry]) -> int | None:
    stated = number(record, "epochs_per_level")
    if stated is None:
        stated = number(record.get("parameters") or {}, "epochs_per_level")
    if stated is not None:
        return int(stated)
    last_epoch: dict[float, int] = {}
    for entry in sweep:
        level, epoch = level_of(entry), number(entry, "epoch")
        if level is not None and epoch is not None:
            last_epoch[level] = int(epoch)
    ends = list(last_epoch.values())
    steps = [after - before for before, after in pairwise(ends)]
    return median_low(steps) if steps else None


def _rates(record: Record, sweep: Iterable[Entry]) -> tuple[float, ...]:
    constant = number(record, "sweep_lr")
    if constant is not None:
        return (constant,)
    found = (number(entry, "lr") for entry in sweep)
    return tuple(dict.fromkeys(rate for rate in found if rate is not None))
