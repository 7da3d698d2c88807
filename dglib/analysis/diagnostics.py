"""Networks at their end, by class: dead channels, predicted classes, norms and the cosine at refreshes.

All of it describes; none of it names a cause. Records that lack a field, as published ones do, give None for
it.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from dglib.analysis.fields import Entry, Record, Records, entries, is_finite, number
from dglib.analysis.intervals import spread

QUANTITIES = ("dead", "entropy", "weight_norm", "update_norm", "c_sv")
LATE = 10  # epochs with a refresh
_ORDER = ("trapped", "collapsed", "partial collapse", "between", "ordered", "init failed", "diverged")


@dataclass(frozen=True)
class End:
    """A network at the end of a sweep, of a branch, or of its training.

    `values`: `QUANTITIES` -> value at the last evaluation; norms of the last epoch by then that has them, and
    the cosine's mean over the `LATE` last such epochs, as single refreshes scatter.
    """

    name: str
    values: Mapping[str, float | None]


def entropy(predicted: Sequence[float] | None) -> float | None:
    """Entropy of counts of predicted classes over log(classes): 0 for one class, 1 for all equally often.

    None without counts, and of fewer than two classes.
    """
    total = sum(predicted or ())
    if not predicted or len(predicted) < 2 or total <= 0:
        return None
    shares = [count / total for count in predicted if count > 0]
    found = -sum(share * math.log(share) for share in shares) / math.log(len(predicted))
    return min(max(found, 0.0), 1.0)


def at_evaluation(entry: Entry) -> dict[str, float | None]:
    """The share of dead ReLU channels (on the first test batch) and the entropy of predicted classes, 0 to 1.

    None where the logits were not finite: their argmax means nothing.
    """
    if not is_finite(entry):
        return {"dead": None, "entropy": None}
    return {"dead": number(entry, "dead_channels"), "entropy": entropy(entry.get("predicted"))}


def end_of(record: Record, field: str, arm: str, name: str) -> list[End]:
    """The last evaluation under `field`, and the arm's last norms and cosine by then."""
    found = entries(record, field)
    if not found:
        return []
    last = number(found[-1], "epoch")
    rows = [
        row
        for row in entries(record, "epoch_log")
        if row.get("arm", arm) == arm
        and (epoch := number(row, "epoch")) is not None
        and (last is None or epoch <= last)
    ]
    values = at_evaluation(found[-1])
    for quantity, window in (("weight_norm", 1), ("update_norm", 1), ("c_sv", LATE)):
        known = [value for row in rows if (value := number(row, quantity)) is not None][-window:]
        values[quantity] = fmean(known) if known else None
    return [End(name, values)]


def summarise_diagnostics(records: Records, ends: Callable[[Record], Sequence[End]]) -> list[dict[str, Any]]:
    """For each class of ends `name`, `n` networks and for each of `QUANTITIES` its spread (or None).

    `constant`: of the `n_predicted` with predicted classes on record, how many predicted one class only.
    Empty where no record has dead channels or predicted classes.
    """
    grouped: defaultdict[str, list[End]] = defaultdict(list)
    for record in records:
        for end in ends(record):
            grouped[end.name].append(end)
    every = [end for members in grouped.values() for end in members]
    if all(end.values[name] is None for end in every for name in ("dead", "entropy")):
        return []
    return [_class(name, grouped[name]) for name in sorted(grouped, key=_rank)]


def _class(name: str, members: Sequence[End]) -> dict[str, Any]:
    known = {
        quantity: [value for end in members if (value := end.values[quantity]) is not None]
        for quantity in QUANTITIES
    }
    return {
        "name": name,
        "n": len(members),
        **{quantity: spread(values) for quantity, values in known.items()},
        "constant": sum(value == 0 for value in known["entropy"]),
        "n_predicted": len(known["entropy"]),
    }


def _rank(name: str) -> tuple[int, str]:
    return (_ORDER.index(name) if name in _ORDER else len(_ORDER), name)
