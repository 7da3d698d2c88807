"""Records as tidy tables: `tables = dglib.load_records("runs")`, then `tables.seeds.groupby("outcome")`."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dglib.analysis import wording
from dglib.analysis.fields import Record, entries, init_level, is_constant, is_finite, level_of, number
from dglib.analysis.summary import known_cell
from dglib.errors import UserError
from dglib.experiments import get, names
from dglib.protocol.events import LOG_FIELDS
from dglib.protocol.records import EVALUATION_FIELDS, under
from dglib.runs.reading import Source, find_records

if TYPE_CHECKING:
    from pandas import DataFrame

WHERE = {"run": "string", "experiment": "string", "group": "string", "seed": "int64"}
SEEDS = {
    **WHERE,
    "file": "string", "outcome": "string", "recorded_outcome": "string", "difference": "string",
    "init_lambda": "float64", "init_error": "float64", "init_success": "boolean",
    "event_error": "float64", "consecutive": "float64",
    "level": "float64", "fired": "float64", "recorded": "float64", "lower": "float64", "upper": "float64",
    "start": "string", "left_trap": "boolean",
    "final_lambda": "float64", "final_error": "float64", "final_state": "string",
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
STEPS = {
    **WHERE,
    "category": "string",
    "epoch": "float64",
    "step": "float64",
    **dict.fromkeys(LOG_FIELDS, "float64"),
}

AT = ("arm", "phase", "lambda", "epoch")
LONG = (*WHERE, *AT, "metric", "value")

# Every metric has a column of its own name.
_NOT_METRICS = EVALUATION_FIELDS - {"dead_channels"}


@dataclass(frozen=True)
class Tables:
    """What `load_records` read.

    Attributes:
        seeds: a row per seed: its outcome, recomputed; its threshold's bounds, `lower` and `upper`
            (±inf where open, NaN where nothing is known); dwell time and LR. Columns: `SEEDS`. `left_trap`:
            the sweep began trapped and did not end so. `difference`: between the record and its own
            trajectory under the seed's own rule, in words.
        trajectories: a row per evaluation; λ and error from 0 to 1, losses in nats. Columns: `TRAJECTORIES`,
            and one for each metric on record.
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
        return [source.record for source in self.sources if source.experiment == experiment]


def load_records(path: str | Path, **limits: float | None) -> Tables:
    """Read a results file, a run directory or a folder of several into tables; ours and published records.

    Args:
        limits: parameters under which the records are read in place of those that each seed was run under,
            such as `collapse_error`, `recovery_error`, `consecutive`, `trapped_error` and `partial_error`
            (errors 0 to 1, evaluations in a row). A seed that stopped before a stricter rule was met is
            "unfinished" and censored at its stop.

    Raises:
        UserError: there is nothing at the path, or no experiment has a parameter of that name.
    """
    stated = {name: value for name, value in limits.items() if value is not None}
    for name, value in stated.items():
        if not any(name in get(item).parameters.model_fields for item in names()):
            raise UserError(f"{name} = {value!r}: no experiment has such a parameter")
    record_set = find_records(path)
    seeds = [_seed(source, stated) for source in record_set.sources]
    logged = zip(record_set.sources, seeds, strict=True)
    evaluations = [row for source in record_set.sources for row in _evaluations(source)]
    columns = dict.fromkeys(name for row in evaluations for name in row if name not in TRAJECTORIES)
    return Tables(
        seeds=_frame(seeds, SEEDS),
        trajectories=_frame(evaluations, TRAJECTORIES | dict.fromkeys(columns, "float64")),
        steps=_frame([row for source, seed in logged for row in _steps(source, seed["outcome"])], STEPS),
        problems=tuple(record_set.problems),
        sources=tuple(record_set.sources),
    )


def _seed(source: Source, stated: Mapping[str, float]) -> dict[str, Any]:
    record, experiment = source.record, get(source.experiment)
    summary = experiment.summarise([under(record, stated)])
    own = experiment.summarise([record]) if stated else summary
    (seed,), loops = summary["seeds"], (summary.get("loop") or {}).get("seeds", ())
    row = {
        **_where(source),
        "init_lambda": init_level(record) if number(record, "lambda") is None else level_of(record),
        **{name: number(record, name) for name in ("init_error", "final_error", "eta", "time")},
        "final_lambda": level_of(record, "final_lambda"),
        **{name: value for name, value in seed.items() if name in SEEDS and name != "recorded"},
        "recorded": number(seed, "recorded"),
        "file": str(source.file),
        "recorded_outcome": seed.get("recorded_category", _text(record, "outcome")),
        "difference": own["seeds"][0].get("difference"),
        "init_success": success if isinstance(success := record.get("init_success"), bool) else None,
        "epochs_per_level": next(iter(summary["dwell"]["epochs_per_level"]), None),
        "lr": wording.rates(summary["dwell"]["lr"]) if summary["dwell"]["lr"] else None,
        "constant_lr": summary["dwell"]["constant_lr"],
        **_bounds(seed, ""),
    }
    for loop in loops:
        row |= {"return_level": loop["lambda_down"], "memory": loop["memory"], "area": loop["area"]}
        row |= _bounds(loop, "width_")
    return row


def _bounds(values: Mapping[str, Any], prefix: str) -> dict[str, float]:
    """Bounds of which at least one is known, infinite where open."""
    cell = known_cell({"lower": None, "upper": None, **values})
    return {f"{prefix}lower": cell.lower, f"{prefix}upper": cell.upper} if cell else {}


def _steps(source: Source, category: str) -> Iterator[dict[str, Any]]:
    for row in entries(source.record, "step_logs"):
        logged = {key: number(row, key) for key in ("epoch", "step", *LOG_FIELDS)}
        yield {**_where(source), "category": category, **logged}


def _text(source: Mapping[str, Any], key: str) -> str | None:
    value = source.get(key)
    return value if isinstance(value, str) else None


def _where(source: Source) -> dict[str, Any]:
    where = {"run": str(source.run), "experiment": source.experiment}
    return {**where, "group": source.group, "seed": source.seed}


def _evaluations(source: Source) -> Iterator[dict[str, Any]]:
    for name, (branch, phase) in get(source.experiment).trajectories(source.record).items():
        for index, entry in enumerate(entries(source.record, name)):
            yield {
                **_where(source),
                "branch": branch,
                "phase": _text(entry, "phase") or phase,
                "index": index,
                "lambda": level_of(entry),
                **{key: number(entry, key) for key in ("epoch", "error", "test_loss", "lr")},
                **{key: number(entry, key) for key in sorted(entry.keys() - _NOT_METRICS)},
                "finite": is_finite(entry),
                "constant": is_constant(entry),
            }


def evaluation_rows(source: Source, left_out: Collection[str] = ()) -> Iterator[dict[str, Any]]:
    """A row for each number of each evaluation of a record, but for metrics that are `left_out`: `LONG`."""
    ran: dict[Any, list[str]] = {}  # the arms at a phase, λ and epoch: an evaluation states none
    for entry in source.record.get("epoch_log") or ():
        ran.setdefault(tuple(entry.get(name) for name in AT[1:]), []).append(entry["arm"])
    for row in _evaluations(source):
        branch, where = row.pop("branch"), [row.pop(name) for name in AT[1:]]
        arms = ran.get(tuple(where), [])
        arm = next((arm for arm in arms if len(arms) == 1 or arm.startswith(branch)), branch)
        at = dict(zip(AT, [arm, *where], strict=True))
        for name in row:
            if row[name] is not None and name not in {*WHERE, "index", "finite", "constant", "lr", *left_out}:
                yield {**_where(source), **at, "metric": name, "value": row[name]}


def epoch_rows(source: Source) -> Iterator[dict[str, Any]]:
    """A row for each number of each epoch of a record: `LONG`."""
    for entry in source.record.get("epoch_log") or ():
        at = {name: entry.get(name) for name in AT}
        for name in sorted(entry.keys() - set(AT)):
            if (value := number(entry, name)) is not None:
                yield {**_where(source), **at, "metric": name, "value": value}


def _frame(rows: list[dict[str, Any]], columns: Mapping[str, str]) -> DataFrame:
    """A table with these columns and types whatever the rows hold, and so also without any."""
    import pandas as pd

    table = {name: pd.Series([row.get(name) for row in rows], dtype=kind) for name, kind in columns.items()}
    return pd.DataFrame(table)
