"""Tδ1's summary: where seeds end, and what their step logs show early on, class by class.

The early tests are the protocol's: four quantities at three epochs, and the mean c_sv over the first epochs.
A sign is a test that is significant after correction for all of them and separates trapped from partial seeds
better than the test error does by then.
"""

from collections import defaultdict
from collections.abc import Sequence
from statistics import fmean
from typing import Any

from dglib.analysis import wording
from dglib.analysis.fields import (
    Record,
    Records,
    entries,
    has_diverged,
    is_finite,
    is_running,
    number,
    parameter,
    rounded,
    seed_of,
)
from dglib.analysis.grid import DIVERGED, TRAPPED
from dglib.analysis.intervals import welch
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
    last = last_early_epoch(records)
    seeds = [_seed(record, last) for record in records]
    found = common("Td1", records, seeds, (*CLASSES, DIVERGED, "unfinished"))
    outcomes = found["outcomes"]
    measured = sum(outcomes[name] for name in CLASSES)
    levels = {level for record in records if (level := number(record, "lambda")) is not None}
    signs = early_tests(records)
    first, *single = signs["family"]["tests"]
    early, limit = _comparison([first]), parameter(records, "early_difference", EARLY_DIFFERENCE)
    difference = first["difference"]
    return found | {
        "measured": measured,
        "limits": {name: parameter(records, name, default) for name, default in LIMITS.items()},
        "shares": {name: share(outcomes[name], measured) for name in CLASSES},
        "levels": sorted(levels),
        "epochs": sorted({epochs for record in records if (epochs := _epochs(record))}),
        "comparison": {
            str(epoch): _comparison([test for test in single if test["last_epoch"] == epoch])
            for epoch in compare_epochs(records)
        },
        "early": {
            "last_epoch": last,
            "limit": limit,
            **early,
            "early_divergence": None if difference is None else abs(difference) > limit,
        },
        "signs": signs,
        "notes": missing(outcomes, measured) + _too_few(signs),
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


def _comparison(tests: Sequence[dict[str, Any]]) -> Means:
    """Quantity -> means over seeds by class and the difference trapped less partial, where known."""
    names = {TRAPPED: "trapped", PARTIAL: "partial", "difference": "difference"}
    return {
        kind: {test["quantity"]: test[name] for test in tests if test[name] is not None}
        for kind, name in names.items()
    }


def last_early_epoch(records: Records) -> int:
    """The last epoch, from 0, of the early mean of c_sv."""
    return int(parameter(records, "early_epochs", EARLY_EPOCHS))


def compare_epochs(records: Records) -> list[int]:
    for record in records:
        stated = (record.get("parameters") or {}).get("compare_epochs")
        if stated:
            return [int(epoch) for epoch in stated]
    return list(COMPARE_EPOCHS)


def early_tests(records: Records) -> dict[str, Any]:
    """Trapped against partial seeds with step logs, in each planned test; exact permutation tests.

    A test's `trapped` and `partial` are means over seeds, also where too few seeds allow no test; what is not
    known is null. `auc` is above 1/2 if trapped seeds lie higher; `error_auc` is that of the test error by
    then. `smallest_p`: that these group sizes can give.
    """
    import numpy as np

    from dglib.analysis import two_groups

    classes = [(category(record), record) for record in records]
    logged = [(name, r) for name, r in classes if any(by_epoch(r, quantity) for quantity in COMPARED)]
    members = [r for kind in (TRAPPED, PARTIAL) for name, r in logged if name == kind]
    size = sum(name == TRAPPED for name, _ in logged)
    sizes = size, len(members) - size
    curves = {quantity: [by_epoch(member, quantity) for member in members] for quantity in COMPARED}
    planned = [("c_sv", 0, last_early_epoch(records))]
    planned += [(quantity, epoch, epoch) for quantity in COMPARED for epoch in compare_epochs(records)]
    columns = [[_over(curve, first, last) for curve in curves[name]] for name, first, last in planned]
    complete = [i for i, values in enumerate(columns) if all(sizes) and None not in values]
    family = None
    if complete:
        values = np.array([columns[i] for i in complete], dtype=float).T
        family = two_groups.permutation_test(values, np.arange(len(members)) < size)
    tests = [
        _early_test(test, column, [error_after(member, test[2] + 1) for member in members], size)
        for test, column in zip(planned, columns, strict=True)
    ]
    tested = zip(complete, family.p, family.corrected, strict=True) if family else ()
    for index, p, corrected in tested:
        sign = corrected <= two_groups.LEVEL and tests[index]["beats_error"]
        tests[index] |= {"p": rounded(p), "p_corrected": rounded(corrected), "sign": sign}
    used = {id(member) for member in members}
    return {
        "trapped": sizes[0],
        "partial": sizes[1],
        "without_logs": [
            seed_of(r) for name, r in classes if name in (TRAPPED, PARTIAL) and id(r) not in used
        ],
        "level": two_groups.LEVEL,
        "smallest_p": rounded(two_groups.smallest_p(*sizes)) if all(sizes) else None,
        "family": {
            "planned": len(planned),
            "labellings": family and family.labellings,
            "enumerated": family and family.enumerated,
            "tests": tests,
        },
    }


def _too_few(signs: dict[str, Any]) -> list[str]:
    """Why no early test can be significant, whatever the logs hold."""
    smallest = signs["smallest_p"]
    if smallest is None or smallest <= signs["level"]:
        return []
    sizes = f"{signs['trapped']} trapped and {signs['partial']} partial seeds"
    return [f"{sizes} cannot give an early test a p below {wording.p_value(smallest)}"]


def _early_test(
    test: tuple[str, int, int], values: list[float | None], errors: list[float | None], size: int
) -> dict[str, Any]:
    """Means, their difference with Welch's interval, and the areas under the ROC curve."""
    from dglib.analysis import two_groups

    one, other = ([value for value in side if value is not None] for side in (values[:size], values[size:]))
    trapped, partial = (fmean(group) if group else None for group in (one, other))
    interval = welch(one, other)
    area, error_area = (_auc(column, size) for column in (values, errors))
    ends = None if area is None else two_groups.auc_interval(area, size, len(values) - size)
    known = {
        "trapped": trapped,
        "partial": partial,
        "difference": None if trapped is None or partial is None else trapped - partial,
        "auc": area,
        "lower": ends.lower if ends else None,
        "upper": ends.upper if ends else None,
        "error_auc": error_area,
        "p": None,
        "p_corrected": None,
    }
    return {
        **dict(zip(("quantity", "first_epoch", "last_epoch"), test, strict=True)),
        **{name: value if value is None else rounded(value) for name, value in known.items()},
        "difference_ci95": interval and [rounded(interval.lower), rounded(interval.upper)],
        "beats_error": area is not None
        and error_area is not None
        and abs(area - 0.5) > abs(error_area - 0.5),
        "sign": False,
    }


def _auc(column: Sequence[float | None], size: int) -> float | None:
    """Of the first `size` values against the others; None unless all are known."""
    from dglib.analysis import two_groups

    known = [value for value in column if value is not None]
    if len(known) < len(column) or not 0 < size < len(column):
        return None
    return two_groups.auc(known[:size], known[size:])


def _over(curve: dict[int, float], first: int, last: int) -> float | None:
    """The mean of the epochs `first` to `last`; None unless the last was logged."""
    if last not in curve:
        return None
    return fmean(value for epoch, value in curve.items() if first <= epoch <= last)


def error_after(record: Record, completed: int) -> float | None:
    """The test error of the latest finite evaluation by the end of that epoch (from 1); None before any."""
    error = None
    for entry in entries(record, "error_trajectory"):
        epoch = number(entry, "epoch")
        if epoch is not None and epoch <= completed and is_finite(entry):
            error = number(entry, "error")
    return error
