"""Records as tidy tables: `tables = dglib.load_records("runs")`, then `tables.seeds.groupby("outcome")`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dglib.analysis import wording
from dglib.analysis.bounds import Bounds
from dglib.analysis.dwell import dwell
from dglib.analysis.loops import loop
from dglib.analysis.reading import Record, entries, is_constant, is_finite, level_of, number
from dglib.analysis.sources import Source, find_records
from dglib.analysis.states import final_state
from dglib.analysis.thresholds import DIRECTIONS, DOWN, UP, Direction, init_level, rule_of, threshold
from dglib.experiments.branches import gaps as branches
from dglib.experiments.trapping.classes import category

if TYPE_CHECKING:
    from pandas import DataFrame

WHERE = {"run": "string", "experiment": "string", "seed": "int64"}
SEEDS = {
    **WHERE,
    "file": "string", "outcome": "string", "recorded_outcome": "string", "difference": "string",
    "init_lambda": "float64", "init_error": "float64", "init_success": "boolean",
    "event_error": "float64", "consecutive": "float64",
    "level": "float64", "fired": "float64", "recorded": "float64", "lower": "float64", "upper": "float64",
    "start": "string", "final_lambda": "float64", "final_error": "float64", "final_state": "string",
    "return_level": "float64", "width_lower": "float64", "width_upper": "float64",
    "memory": "float64", "area": "float64", "gap": "float64",
    "epochs_per_level": "float64", "lr": "string", "constant_lr": "boolean",
    "eta": "float64", "time": "float64",
}  # fmt: skip
TRAJECTORIES = {
    **WHERE,
    "branch": "string", "phase": "string", "index": "int64", "lambda": "float64", "epoch": "float64",
    "error": "float64", "test_loss": "float64", "lr": "float64", "finite": "bool", "constant": "bool",
}  # fmt: skip
LOGGED = ("c_sv", "c_mc", "norm_s", "norm_v", "norm_mix", "loss_s", "loss_v")
STEPS = {
    **WHERE,
    "category": "string",
    "epoch": "float64",
    "step": "float64",
    **dict.fromkeys(LOGGED, "float64"),
}
# field of the record -> its branch, and the phase of entries that name none
_FIELDS = {
    "trajectory": ("main", "sweep"),
    "return_trajectory": ("main", "return"),
    "error_trajectory": ("main", "init"),
    **{f"{name}_init_trajectory": (name, "init") for name in branches.BRANCHES},
    **{f"{name}_trajectory": (name, "sweep") for name in branches.BRANCHES},
}


@dataclass(frozen=True)
class Tables:
    """What `load_records` read.

    Attributes:
        seeds: a row per seed: what became of it, recomputed; its threshold's bounds, `lower` and `upper`
            (±inf where open, NaN where nothing is known); dwell time and LR. Columns: `SEEDS`. `difference`
            says where the record has it otherwise than its own trajectory under the seed's own rule.
        trajectories: a row per evaluation; λ and error from 0 to 1, losses in nats. Columns: `TRAJECTORIES`.
        steps: a row per logged step. Columns: `STEPS`.
        problems: a line for each file or record that was not read, and why.
        sources: the records themselves, with the files that they were read from.
    """

    seeds: DataFrame
    trajectories: DataFrame
    steps: DataFrame
    problems: tuple[str, ...]
    sources: tuple[Source, ...]

    def records(self, experiment: str) -> list[Record]:
        """The records of one experiment ("T1"), for `dglib.experiments.findings` and the figures."""
        return [source.record for source in self.sources if source.experiment == experiment]


def load_records(
    path: str | Path,
    *,
    collapse_error: float | None = None,
    recovery_error: float | None = None,
    consecutive: int | None = None,
    trapped_error: float | None = None,
    partial_error: float | None = None,
) -> Tables:
    """Read a results file, a run directory or a folder of several into tables; ours and published records.

    Args:
        collapse_error, recovery_error, consecutive: what is an event of T1 and of T2 (errors 0 to 1, and
            evaluations in a row); None: for each seed what it was run under. A seed that stopped before
            a stricter rule was met is "unfinished" and censored at its stop.
        trapped_error, partial_error: limits of Tδ1's classes, likewise.

    Raises:
        UserError: there is nothing at the path.
    """
    found = find_records(path)
    limits = {UP.limit: collapse_error, DOWN.limit: recovery_error}
    classes = {"trapped_error": trapped_error, "partial_error": partial_error}
    stated = {name: value for name, value in classes.items() if value is not None}
    reader = _Reader(limits, consecutive, stated)
    return Tables(
        seeds=_frame([reader.seed(source) for source in found.sources], SEEDS),
        trajectories=_frame([row for source in found.sources for row in _evaluations(source)], TRAJECTORIES),
        steps=_frame([row for source in found.sources for row in reader.steps(source)], STEPS),
        problems=tuple(found.problems),
        sources=tuple(found.sources),
    )


@dataclass(frozen=True)
class _Reader:
    """Reads seeds under stated thresholds; None, or absent: the seed's own."""

    limits: Mapping[str, float | None]
    consecutive: int | None
    classes: Mapping[str, float]

    def seed(self, source: Source) -> dict[str, Any]:
        record = source.record
        found = dwell([record])
        kinds = {**dict.fromkeys(DIRECTIONS, self._sweep), "V3": _two_branches, "Td1": self._class}
        return {
            **_where(source),
            "file": str(source.file),
            "recorded_outcome": _text(record, "outcome"),
            "init_lambda": init_level(record) if number(record, "lambda") is None else level_of(record),
            "init_success": success if isinstance(success := record.get("init_success"), bool) else None,
            **{name: number(record, name) for name in ("init_error", "final_error", "eta", "time")},
            "final_lambda": level_of(record, "final_lambda"),
            "epochs_per_level": next(iter(found["epochs_per_level"]), None),
            "lr": wording.rates(found["lr"]) if found["lr"] else None,
            "constant_lr": found["constant_lr"],
            **kinds[source.experiment](source),
        }

    def steps(self, source: Source) -> Iterator[dict[str, Any]]:
        name = self._class(source)["outcome"] if source.experiment == "Td1" else None
        for row in entries(source.record, "step_logs"):
            logged = {key: number(row, key) for key in ("epoch", "step", *LOGGED)}
            yield {**_where(source), "category": name, **logged}

    def _sweep(self, source: Source) -> dict[str, Any]:
        direction, record = DIRECTIONS[source.experiment], source.record
        rule = rule_of(direction, record)
        rule = replace(
            rule,
            limit=rule.limit if (stated := self.limits[direction.limit]) is None else stated,
            consecutive=self.consecutive or rule.consecutive,
        )
        seed = threshold(direction, record, rule)
        ends = _limits(record)
        return {
            "outcome": seed.outcome,
            "difference": seed.difference,
            "event_error": rule.limit,
            "consecutive": rule.consecutive,
            **{name: getattr(seed, name) for name in ("level", "fired", "recorded", "start")},
            **_ends(seed.bounds),
            "final_lambda": seed.last,
            "final_state": final_state(record, *ends),
            **_way_back(direction, record),
        }

    def _class(self, source: Source) -> dict[str, Any]:
        record, recorded = source.record, _text(source.record, "category")
        errors = entries(record, "error_trajectory")
        final = number(errors[-1], "error") if errors else number(record, "final_error")
        parameters = {**(record.get("parameters") or {}), **self.classes}
        name = category({**record, "parameters": parameters, "final_error": final})
        differs = recorded is not None and recorded != name
        return {
            "outcome": name,
            "recorded_outcome": recorded,
            "difference": f"category {recorded} on record, {name} by final error" if differs else None,
        }


def _two_branches(source: Source) -> dict[str, Any]:
    (seed,) = branches.summarise_branches([source.record])["seeds"]
    return {
        "outcome": seed["outcome"],
        "init_lambda": None,  # two of them
        "start": branches.start_state(source.record),
        "gap": seed["gap"],
    }


def _way_back(direction: Direction, record: Record) -> dict[str, Any]:
    found = loop(record) if direction is UP else None
    if found is None:
        return {}
    width = _ends(Bounds.of(found)) if found["outcome"] != "diverged" else {"lower": None, "upper": None}
    return {
        "return_level": found["lambda_down"],
        "width_lower": width["lower"],
        "width_upper": width["upper"],
        "memory": found["memory"],
        "area": found["area"],
    }


def _limits(record: Record) -> list[float]:
    return [rule_of(direction, record).limit for direction in (DOWN, UP)]


def _ends(bounds: Bounds | None) -> dict[str, float | None]:
    return (
        {"lower": None, "upper": None} if bounds is None else {"lower": bounds.lower, "upper": bounds.upper}
    )


def _text(source: Mapping[str, Any], key: str) -> str | None:
    value = source.get(key)
    return value if isinstance(value, str) else None


def _where(source: Source) -> dict[str, Any]:
    return {"run": str(source.run), "experiment": source.experiment, "seed": source.seed}


def _evaluations(source: Source) -> Iterator[dict[str, Any]]:
    for name, (branch, phase) in _FIELDS.items():
        for index, entry in enumerate(entries(source.record, name)):
            yield {
                **_where(source),
                "branch": branch,
                "phase": _text(entry, "phase") or phase,
                "index": index,
                "lambda": level_of(entry),
                **{key: number(entry, key) for key in ("epoch", "error", "test_loss", "lr")},
                "finite": is_finite(entry),
                "constant": is_constant(entry),
            }


def _frame(rows: list[dict[str, Any]], columns: Mapping[str, str]) -> DataFrame:
    """A table with these columns and types whatever the rows hold, and so also without any."""
    import pandas as pd

    table = {name: pd.Series([row.get(name) for row in rows], dtype=kind) for name, kind in columns.items()}
    return pd.DataFrame(table)
