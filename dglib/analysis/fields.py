"""Fields of records, ours and published: any may be missing, null or NaN."""

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
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


def last_by_level(evaluations: Iterable[Entry]) -> dict[float, float]:
    """λ -> error of the last finite evaluation at that level, in the order visited."""
    errors: dict[float, float] = {}
    for entry in evaluations:
        level = level_of(entry)
        if level is not None and is_finite(entry):
            errors[level] = entry["error"]
    return errors


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
