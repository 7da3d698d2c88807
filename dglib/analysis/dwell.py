"""How long and how fast: the dwell time and the LR, without which no threshold means anything."""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from statistics import median_low
from typing import Any

from dglib.analysis.fields import Entry, Record, Records, entries, level_of, number

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
    stated = [record["sweep_lr"] is not None for record in records if "sweep_lr" in record]
    return {
        "epochs_per_level": sorted({value for value in epochs if value is not None}),
        "lr": [list(rate) for rate in sorted(set(rates)) if rate],
        "constant_lr": all(stated) if stated else None,
    }


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
