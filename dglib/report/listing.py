"""The runs in a base directory at a glance: a row for each run directory and experiment."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dglib.analysis import wording
from dglib.base_dir import base_directory
from dglib.report.facts import nearest_profile
from dglib.report.runs import ExperimentRun, collect_runs
from dglib.runs.progress import duration

if TYPE_CHECKING:
    from pandas import DataFrame

COLUMNS = (
    "run", "experiment", "profile", "data", "network", "eta", "dwell", "lr", "done", "running", "outcomes",
    "age",
)  # fmt: skip


def list_runs(base_dir: str | Path | None = None) -> DataFrame:
    """The runs below a base directory, the oldest of each experiment first. Columns: `COLUMNS`.

    `profile` is the one that most parameters come from, with the number of those that differ; `dwell` in
    epochs per level, missing where no sweep moves λ; `done` and `running` are numbers of seeds. The table's
    `attrs["unread"]` has a line for each file or directory that was not read.

    Raises:
        UserError: there is no such directory.
    """
    import pandas as pd

    collection = collect_runs(base_directory(None if base_dir is None else str(base_dir)))
    table = pd.DataFrame(map(_row, collection.runs), columns=list(COLUMNS)).astype({"dwell": "Int64"})
    table.attrs["unread"] = [*collection.damaged, *collection.skipped]
    return table


def describe(directory: Path) -> str:
    """One line on a run directory, from its rows.

    Raises:
        UserError: it is no run directory.
    """
    rows = [_row(item) for item in collect_runs(directory).runs]

    def values(key: str, before: str = "") -> str:
        known = dict.fromkeys(row[key] for row in rows if row[key] is not None)
        return ", ".join(f"{before}{value}" for value in known)

    seeds = [
        f"{row['experiment']}: {wording.seeds(row['done'])}"
        + (f" and {row['running']} running" if row["running"] else "")
        + (f", {row['outcomes']}" if row["outcomes"] else "")
        for row in rows
    ]
    about = (values("profile"), values("data"), values("eta", "η "), *seeds, values("age"))
    return " · ".join((directory.name, *filter(None, about)))


def text(table: DataFrame) -> str:
    """The table for a terminal, with what was not read."""
    shown = table.astype(object).where(table.notna(), "–").to_string(index=False) if len(table) else "no runs"
    return "\n".join([shown, *table.attrs["unread"]])


def _row(run: ExperimentRun) -> dict[str, Any]:
    parameters = run.parameters
    return {
        "run": run.name,
        "experiment": run.experiment,
        "profile": _profile(run),
        "data": parameters.get("dataset"),
        "network": parameters.get("network"),
        "eta": parameters.get("noise_rate"),
        "dwell": parameters.get("epochs_per_level"),
        "lr": parameters.get("lr"),
        "done": len(run.records),
        "running": len(run.heartbeats),
        "outcomes": run.about.outcomes_text(run.summary),
        "age": _age(run.manifest.get("created")),
    }


def _profile(run: ExperimentRun) -> str | None:
    if not run.parameters:
        return None
    nearest, changed = nearest_profile(run)
    count = len(set(changed) - {"seeds"})
    return nearest and nearest + (f" + {count}" if count else "")


def _age(created: str | None) -> str | None:
    if created is None:
        return None
    seconds = (datetime.now(UTC) - datetime.fromisoformat(created)).total_seconds()
    return f"{seconds / 86400:.0f} days" if seconds > 2 * 86400 else duration(seconds)
