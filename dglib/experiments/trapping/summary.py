"""Tδ1's summary: where seeds end, and what their step logs show early on, class by class."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from statistics import fmean
from typing import Any

from dglib.analysis.fields import (
    Record,
    Records,
    entries,
    has_diverged,
    is_running,
    number,
    parameter,
    rounded,
    seed_of,
)
from dglib.analysis.grid import DIVERGED, TRAPPED
from dglib.analysis.summary import common, missing, share

PARTIAL, ORDERED = "partial_collapse", "ordered"
CLASSES = (TRAPPED, PARTIAL, ORDERED)
CLASS_NAMES = {TRAPPED: "trapped", PARTIAL: "partial collapse", ORDERED: "ordered", DIVERGED: "diverged"}
LIMITS = {"trapped_error": 0.85, "partial_error": 0.40}
COMPARED = ("c_sv", "c_mc", "norm_s", "loss_v")
COMPARE_EPOCHS, EARLY_EPOCHS, EARLY_DIFFERENCE = (5, 10, 20), 10, 0.05

Means = dict[str, dict[str, float]]


def final_error(record: Record) -> float | None:
    """The error of the last evaluation; of a record without any, what it states."""
    errors = entries(record, "error_trajectory")
    return number(errors[-1], "error") if errors else number(record, "final_error")


def category(record: Record) -> str:
    """The seed's class by its final error, under its own limits; published labels used others.

    A diverged seed is "diverged" whatever its error; a record without final error is "unfinished".
    """
    if has_diverged(record, "error_trajectory"):
        return DIVERGED
    error = final_error(record)
    return "unfinished" if error is None or is_running(record) else class_of(error, record)


def class_of(error: float, record: Record) -> str:
    """The class of an error under the record's own limits."""
    trapped, partial = (parameter([record], name, default) for name, default in LIMITS.items())
    return TRAPPED if error >= trapped else PARTIAL if error >= partial else ORDERED


def by_epoch(record: Record, quantity: str) -> dict[int, float]:
    """Epoch (from 0) -> mean of a step log's quantity over that epoch's rows, non-finite ones left out."""
    rows: defaultdict[int, list[float]] = defaultdict(list)
    for row in entries(record, "step_logs"):
        value = number(row, quantity)
        if value is not None and number(row, "epoch") is not None:
            rows[int(row["epoch"])].append(value)
    return {epoch: fmean(values) for epoch, values in sorted(rows.items())}


def early_mean(record: Record, last: int) -> float | None:
    """The mean c_sv of the epochs 0 to `last`; None without logs."""
    values = [value for epoch, value in by_epoch(record, "c_sv").items() if epoch <= last]
    return fmean(values) if values else None


def settled(record: Record) -> int | None:
    """Completed epochs from which the test error's class is, at every evaluation, what it is at the end.

    None without evaluations. It is known only to the evaluations' spacing.
    """
    since = None
    final = category(record)
    for entry in entries(record, "error_trajectory"):
        epoch, error = number(entry, "epoch"), number(entry, "error")
        if epoch is None or error is None:
            continue
        if class_of(error, record) != final:
            since = None
        elif since is None:
            since = int(epoch)
    return since


def summarise_trapping(records: Records) -> dict[str, Any]:
    """Counts by class with shares, and the early comparison of trapped seeds with partial ones."""
    from dglib.experiments.trapping.signs import summarise_signs  # numpy

    last = last_early_epoch(records)
    seeds = [_seed(record, last) for record in records]
    groups = {
        name: [r for r, s in zip(records, seeds, strict=True) if s["outcome"] == name] for name in CLASSES
    }
    found = common("Td1", records, seeds, (*CLASSES, DIVERGED, "unfinished"))
    outcomes = found["outcomes"]
    measured = sum(outcomes[name] for name in CLASSES)
    levels = {level for record in records if (level := number(record, "lambda")) is not None}
    return found | {
        "measured": measured,
        "limits": {name: parameter(records, name, default) for name, default in LIMITS.items()},
        "shares": {name: share(outcomes[name], measured) for name in CLASSES},
        "levels": sorted(levels),
        "epochs": sorted({epochs for record in records if (epochs := _epochs(record))}),
        "comparison": {str(epoch): _compare(groups, [epoch], COMPARED) for epoch in compare_epochs(records)},
        "early": _early(groups, records),
        "signs": summarise_signs(records),
        "notes": ["n = 1"] * (measured == 1) or (missing(outcomes, 0) if not measured else []),
    }


def _seed(record: Record, last: int) -> dict[str, Any]:
    kind, recorded = category(record), record.get("category")
    recorded = recorded if isinstance(recorded, str) else None
    early = early_mean(record, last)
    return {
        "seed": seed_of(record),
        "outcome": kind,
        "end": kind,
        "category": kind,
        "recorded": recorded,
        "recorded_category": recorded,
        "difference": f"category {recorded} on record, {kind} by final error"
        if recorded not in (None, kind)
        else None,
        "final_error": final_error(record),
        "settled": settled(record),
        "early_c_sv": None if early is None else rounded(early),
    }


def _epochs(record: Record) -> int:
    stated = number(record.get("parameters") or {}, "init_epochs")
    seen = (number(entry, "epoch") for entry in entries(record, "error_trajectory"))
    return int(stated or max((epoch for epoch in seen if epoch), default=0))


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
    for record in records:
        stated = (record.get("parameters") or {}).get("compare_epochs")
        if stated:
            return [int(epoch) for epoch in stated]
    return list(COMPARE_EPOCHS)
