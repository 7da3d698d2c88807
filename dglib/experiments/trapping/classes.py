"""Tδ1: where seeds end, and what their step logs say early on, class by class."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from statistics import fmean
from typing import Any

from dglib.analysis.fields import Record, Records, entries, number, parameter, rounded, seed_of
from dglib.analysis.states import has_diverged, is_running

TRAPPED, PARTIAL, ORDERED, DIVERGED = "trapped_90", "partial_collapse", "ordered", "diverged"
CLASSES = (TRAPPED, PARTIAL, ORDERED)
CLASS_NAMES = {TRAPPED: "trapped", PARTIAL: "partial collapse", ORDERED: "ordered", DIVERGED: "diverged"}
TRAPPED_ERROR, PARTIAL_ERROR = 0.85, 0.40
COMPARED = ("c_sv", "c_mc", "norm_s", "loss_v")
COMPARE_EPOCHS, EARLY_EPOCHS, EARLY_DIFFERENCE = (5, 10, 20), 10, 0.05

Means = dict[str, dict[str, float]]


def category(record: Record) -> str:
    """The seed's class by its final error, under its own limits; published labels used others.

    A diverged seed is "diverged" whatever its error; a record without final error is "unfinished".
    """
    if has_diverged(record, "error_trajectory"):
        return DIVERGED
    error = number(record, "final_error")
    return "unfinished" if error is None or is_running(record) else class_of(error, record)


def class_of(error: float, record: Record) -> str:
    """The class of an error under the record's own limits."""
    if error >= parameter([record], "trapped_error", TRAPPED_ERROR):
        return TRAPPED
    return PARTIAL if error >= parameter([record], "partial_error", PARTIAL_ERROR) else ORDERED


def by_epoch(record: Record, quantity: str) -> dict[int, float]:
    """Epoch (from 0) -> mean of a step log's quantity over that epoch's rows, non-finite ones left out."""
    rows: defaultdict[int, list[float]] = defaultdict(list)
    for row in entries(record, "step_logs"):
        value = number(row, quantity)
        if value is not None and number(row, "epoch") is not None:
            rows[int(row["epoch"])].append(value)
    return {epoch: fmean(values) for epoch, values in sorted(rows.items())}


def summarise_trapping(records: Records) -> dict[str, Any]:
    """Counts by class, and the early comparison of seeds that ended trapped with those that ended partial."""
    classes = [category(record) for record in records]
    outcomes = Counter(classes)
    groups = {name: [r for r, c in zip(records, classes, strict=True) if c == name] for name in CLASSES}
    return {
        "experiment": "Td1",
        "n": len(records),
        "failed_inits": 0,  # the protocol has no init to fail
        "diverged": outcomes[DIVERGED],
        "outcomes": {name: outcomes[name] for name in (*CLASSES, DIVERGED, "unfinished")},
        "comparison": {str(epoch): _compare(groups, [epoch], COMPARED) for epoch in compare_epochs(records)},
        "early": _early(groups, records),
        "seeds": [
            {
                "seed": seed_of(record),
                "category": name,
                "recorded_category": record.get("category"),
                "final_error": number(record, "final_error"),
            }
            for record, name in zip(records, classes, strict=True)
        ],
    }


def _early(groups: dict[str, list[Record]], records: Records) -> dict[str, Any]:
    """Mean c_sv over the first epochs, last included: "early divergence" if the classes differ enough."""
    last = last_early_epoch(records)
    limit = parameter(records, "early_difference", EARLY_DIFFERENCE)
    compared = _compare(groups, range(last + 1), ("c_sv",))
    difference = compared["difference"].get("c_sv")
    return {
        "last_epoch": last,
        "limit": limit,
        **compared,
        "early_divergence": None if difference is None else abs(difference) > limit,
    }


def _compare(groups: dict[str, list[Record]], epochs: Iterable[int], quantities: Sequence[str]) -> Means:
    """Means by class over seeds (each seed counts once) and the difference trapped less partial."""
    window = set(epochs)
    means: Means = {name: {} for name in CLASSES}
    for name, members in groups.items():
        for quantity in quantities:
            per_seed = [
                fmean(values)
                for member in members
                if (values := [v for epoch, v in by_epoch(member, quantity).items() if epoch in window])
            ]
            if per_seed:
                means[name][quantity] = rounded(fmean(per_seed))
    both = means[TRAPPED].keys() & means[PARTIAL].keys()
    difference = {q: rounded(means[TRAPPED][q] - means[PARTIAL][q]) for q in quantities if q in both}
    return {**means, "difference": difference}


def last_early_epoch(records: Records) -> int:
    """The last epoch, from 0, of the early mean of c_sv."""
    return int(parameter(records, "early_epochs", EARLY_EPOCHS))


def compare_epochs(records: Records) -> list[int]:
    """The epochs, from 0, at which the classes are compared."""
    for record in records:
        stated = (record.get("parameters") or {}).get("compare_epochs")
        if stated:
            return [int(epoch) for epoch in stated]
    return list(COMPARE_EPOCHS)
