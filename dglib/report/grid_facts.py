"""What is the same in every cell of a grid, said once."""

from __future__ import annotations

from statistics import median

from dglib.analysis import wording
from dglib.analysis.fields import number
from dglib.experiments import get
from dglib.report.collect import Found
from dglib.report.grid_collect import GridCollection
from dglib.report.provenance import computed_on, data, nearest_profile, versions
from dglib.runs.progress import duration


def same_in_all(collection: GridCollection) -> list[tuple[str, str]]:
    """(name, value) pairs; where cells do differ in one of these, all of its values."""
    runs = collection.found
    rows = [("Seeds", _seeds(collection))]
    if not runs:
        return rows
    sets = dict.fromkeys(data(each).partition(";")[0] for each in runs)
    rows += [("Data", "; ".join(sets)), *_parameters(collection, runs)]
    times = [time for each in runs for record in each.records if (time := number(record, "time")) is not None]
    if times:
        rows.append(("Time", f"{duration(sum(times))} in all, {duration(median(times))} a seed (median)"))
    made_on = computed_on([record for each in runs for record in each.records])
    rows.append(("Computed on", made_on or "not on record"))
    rows.append(("Versions", "; ".join(dict.fromkeys(versions(each.manifest or {}) for each in runs))))
    return rows


def _seeds(collection: GridCollection) -> str:
    asked = dict.fromkeys((cell.asked.experiment, tuple(cell.asked.seeds)) for cell in collection.cells)
    several = len({seeds for _, seeds in asked}) > 1
    return "; ".join(
        f"{get(name).symbol + ': ' if several else ''}{wording.listing([str(seed) for seed in seeds])}"
        for name, seeds in (asked if several else list(asked)[:1])
    )


def _parameters(collection: GridCollection, runs: list[Found]) -> list[tuple[str, str]]:
    """Per experiment, the nearest profile and what differs from it besides the crossed parameters."""
    rows = []
    for experiment in collection.index.experiments:
        told: dict[str, str] = {}
        for each in runs:
            kept = {k: v for k, v in each.parameters.items() if k not in collection.index.axes}
            if each.experiment == experiment and repr(kept) not in told:
                profile, changes = nearest_profile(each)
                own = [change for change in changes if change.partition(" = ")[0] in kept]
                told[repr(kept)] = f"{profile} profile" + (f", except {'; '.join(own)}" if own else "")
        if told:
            rows.append((f"Parameters of {get(experiment).symbol}", " | ".join(told.values())))
    return rows
