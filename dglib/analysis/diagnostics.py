"""What the networks of trapped seeds look like: dead channels, predicted classes, norms, cosine at refreshes.

Evaluations and epochs as series, and their last values by the class in which a seed ended. Records that lack
a field, as the published ones do, give None for it. All of it describes; none of it names a cause.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from dglib.analysis import wording
from dglib.analysis.bounds import spread
from dglib.analysis.fields import Entry, Record, Records, entries, is_finite, level_of, number

QUANTITIES = ("dead", "entropy", "weight_norm", "update_norm", "c_sv")
LATE = 10  # epochs with a refresh
_ORDER = ("trapped", "collapsed", "partial collapse", "between", "ordered", "init failed", "diverged")


@dataclass(frozen=True)
class Evaluation:
    """One evaluation; None where unknown, and where the logits were not finite: their argmax means nothing.

    `epoch` counts completed epochs from 1; `dead` is the share of ReLU channels that no image of the first
    test batch activated, 0 to 1; `entropy` that of the predicted classes, 0 to 1, see `entropy`.
    """

    epoch: int | None
    level: float | None
    error: float | None
    dead: float | None
    entropy: float | None


@dataclass(frozen=True)
class Epoch:
    """One epoch: L2 norms of the weights and of the last step's change, mean cos(g_s, g_v) at refreshes."""

    epoch: int
    weight_norm: float | None
    update_norm: float | None
    c_sv: float | None
    skipped_steps: int


@dataclass(frozen=True)
class End:
    """A network at the end of a sweep, of a branch, or of its training.

    `values`: `QUANTITIES` -> value at the last evaluation; norms of the last epoch by then that has them, and
    the cosine's mean over the `LATE` last such epochs, as single refreshes scatter.
    """

    name: str
    trapped: bool
    values: Mapping[str, float | None]


def entropy(predicted: Sequence[float] | None) -> float | None:
    """Entropy of a histogram of predicted classes over log(classes), so the same in nats and in bits.

    0: one class only; 1: all equally often. None without counts, and of fewer than two classes.
    """
    total = sum(predicted or ())
    if not predicted or len(predicted) < 2 or total <= 0:
        return None
    shares = [count / total for count in predicted if count > 0]
    found = -sum(share * math.log(share) for share in shares) / math.log(len(predicted))
    return min(max(found, 0.0), 1.0)


def evaluations(record: Record, field: str) -> list[Evaluation]:
    """The evaluations under `field` of a record, such as "error_trajectory", in order."""
    return [_evaluation(entry) for entry in entries(record, field)]


def epochs(record: Record, arm: str = "main") -> list[Epoch]:
    """The epochs of an arm ("main" where there is one), in order; of its way back too."""
    return [
        Epoch(
            epoch=int(row["epoch"]),
            weight_norm=number(row, "weight_norm"),
            update_norm=number(row, "update_norm"),
            c_sv=number(row, "c_sv"),
            skipped_steps=int(number(row, "skipped_steps") or 0),
        )
        for row in entries(record, "epoch_log")
        if row.get("arm", arm) == arm and number(row, "epoch") is not None
    ]


def skipped_steps(record: Record) -> int | None:
    """Steps left out because their gradient was not finite; None where that is not on record."""
    skipped = number(record, "skipped_steps")
    return None if skipped is None else int(skipped)


def summarise_diagnostics(
    records: Records, ends: Callable[[Record], Sequence[End]], unit: str = "seed"
) -> dict[str, Any]:
    """Last values by class, as plain JSON-able values. `unit`: what one of the `ends` of a record is.

    `recorded`: whether any record has dead channels or predicted classes; without, `classes` is empty.
    `classes`: for each, `name`, whether it is `trapped`, `n` networks, for each of `QUANTITIES` its spread
    (`bounds.spread`, with its own n; None where not on record), and `constant`: of the `n_predicted` with
    predicted classes on record, how many predicted one class only. `skipped`: steps in all, None where
    not on record; `skipping_seeds`: how many seeds had any.
    """
    grouped: defaultdict[str, list[End]] = defaultdict(list)
    for record in records:
        for end in ends(record):
            grouped[end.name].append(end)
    skipped = [count for record in records if (count := skipped_steps(record)) is not None]
    recorded = any(
        end.values[name] is not None
        for group in grouped.values()
        for end in group
        for name in ("dead", "entropy")
    )
    return {
        "unit": unit,
        "n": len(records),
        "recorded": recorded,
        "classes": [_class(name, grouped[name]) for name in sorted(grouped, key=_rank)] if recorded else [],
        "skipped": sum(skipped) if skipped else None,
        "skipping_seeds": sum(count > 0 for count in skipped),
    }


def sentence(summary: Mapping[str, Any]) -> str:
    """Trapped networks against the others at the end; from `summarise_diagnostics`."""
    if not summary["recorded"]:
        return "Dead channels and predicted classes are not on record, as in published files."
    kinds = [each for each in summary["classes"] if each["name"] not in ("diverged", "init failed")]
    kind = summary["unit"]
    sides = [_side([each for each in kinds if each["trapped"] is trapped]) for trapped in (True, False)]
    told = []
    for side, name in zip(sides, ("trapped ", "other " if sides[0]["n"] else ""), strict=True):
        if side["n"]:
            one = side["n"] == 1
            noun = kind if one else {"branch": "branches"}.get(kind, f"{kind}s")
            told.append(f"{side['n']} {name}{noun} {'ends' if one else 'end'} with {_state(side)}")
    if not told:
        return "No network that was measured at its end was finite and past its init."
    if not sides[0]["n"]:
        told.append("none ended trapped" if kind == "seed" else "none began trapped")
    return "; ".join(told) + "."


def _evaluation(entry: Entry) -> Evaluation:
    finite = is_finite(entry)
    epoch = number(entry, "epoch")
    return Evaluation(
        None if epoch is None else int(epoch),
        level_of(entry),
        number(entry, "error"),
        number(entry, "dead_channels") if finite else None,
        entropy(entry.get("predicted")) if finite else None,
    )


def end_of(record: Record, field: str, arm: str, name: str, trapped: bool | None = None) -> list[End]:
    """The last evaluation under `field`, and the last norms and cosine that are not later than it."""
    found = evaluations(record, field)
    if not found:
        return []
    last = found[-1]
    rows = [row for row in epochs(record, arm) if last.epoch is None or row.epoch <= last.epoch]
    values: dict[str, float | None] = {"dead": last.dead, "entropy": last.entropy}
    for quantity, window in (("weight_norm", 1), ("update_norm", 1), ("c_sv", LATE)):
        known = [value for row in rows if (value := getattr(row, quantity)) is not None][-window:]
        values[quantity] = fmean(known) if known else None
    return [End(name, name == "trapped" if trapped is None else trapped, values)]


def _class(name: str, members: Sequence[End]) -> dict[str, Any]:
    known = {
        quantity: [value for end in members if (value := end.values[quantity]) is not None]
        for quantity in QUANTITIES
    }
    return {
        "name": name,
        "trapped": members[0].trapped,
        "n": len(members),
        **{quantity: spread(values) for quantity, values in known.items()},
        "constant": sum(value == 0 for value in known["entropy"]),
        "n_predicted": len(known["entropy"]),
    }


def _side(classes: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Classes taken together: means weighted by the networks that each mean is over."""
    dead = [each["dead"] for each in classes if each["dead"]]
    n_dead = sum(each["n"] for each in dead)
    return {
        "n": sum(each["n"] for each in classes),
        "dead": sum(each["mean"] * each["n"] for each in dead) / n_dead if n_dead else None,
        **{name: sum(each[name] for each in classes) for name in ("constant", "n_predicted")},
    }


def _state(side: Mapping[str, Any]) -> str:
    parts = []
    if side["dead"] is not None:
        mean = " on average" if side["n"] > 1 else ""
        parts.append(f"{wording.decimal(100 * side['dead'], 0)} % of channels dead{mean}")
    if side["n_predicted"]:
        one, of = side["constant"], side["n_predicted"]
        if one in (0, of):
            parts.append("one class predicted" if one else "several classes predicted")
        else:
            parts.append(f"one class predicted in {one} of {of}")
    return wording.listing(parts) if parts else "nothing of this on record"


def _rank(name: str) -> tuple[int, str]:
    return (_ORDER.index(name) if name in _ORDER else len(_ORDER), name)
