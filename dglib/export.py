"""Records for other tools: one tidy long table (CSV, Parquet), or TensorBoard's event files."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dglib.analysis.fields import number
from dglib.errors import UserError
from dglib.experiments.tables import load_records
from dglib.files import make_directory, write_atomically

if TYPE_CHECKING:
    from pandas import DataFrame

WHERE = ["run", "experiment", "group", "seed", "arm", "phase", "lambda", "epoch"]
_NO_METRIC = {"arm", "phase", "lambda", "epoch"}


def long_table(path: str | Path) -> DataFrame:
    """A row for each number at each evaluation and at each epoch's end. Columns: `WHERE`, `metric`, `value`.

    Raises:
        UserError: there is nothing at the path that can be read.
    """
    import pandas as pd

    tables = load_records(path)
    evaluations = tables.trajectories.rename(columns={"branch": "arm"})
    metrics = [
        name for name in evaluations.columns if name not in {*WHERE, "index", "finite", "constant", "lr"}
    ]
    found = evaluations.melt(WHERE, metrics, "metric", "value")
    epochs = [row for source in tables.sources for row in _epochs(source)]
    whole = pd.concat([found, pd.DataFrame(epochs, columns=found.columns)] if epochs else [found])
    return whole.dropna(subset=["value"]).sort_values(["run", "experiment", "seed"], kind="stable")


def _epochs(source: Any) -> Iterator[dict[str, Any]]:
    where = {"run": str(source.run), "experiment": source.experiment, "group": source.group}
    for entry in source.record.get("epoch_log") or ():
        at = {name: entry.get(name) for name in _NO_METRIC}
        for name in sorted(entry.keys() - _NO_METRIC):
            if (value := number(entry, name)) is not None:
                yield {**where, "seed": source.seed, **at, "metric": name, "value": value}


def export(path: str | Path, target: str | Path) -> str:
    """Write the records at `path` to a file (.csv, .parquet) or, else, as event files into a directory.

    Returns a line on what was written.

    Raises:
        UserError: nothing can be read, or a package is missing.
    """
    table, target = long_table(path), Path(target)
    if target.suffix == ".csv":
        write_atomically(target, table.to_csv(index=False).encode())
    elif target.suffix == ".parquet":
        content = io.BytesIO()
        try:
            table.to_parquet(content, index=False)
        except ImportError:
            raise UserError(f"{target}: Parquet needs pyarrow: pip install dglib[export]") from None
        write_atomically(target, content.getvalue())
    else:
        _write_events(table, target)
    return f"{target}: {len(table)} values"


def _write_events(table: DataFrame, target: Path) -> None:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise UserError(f"{target}: event files need tensorboard: pip install dglib[export]") from None
    make_directory(target)
    for (run, experiment, seed, arm), rows in table.groupby(["run", "experiment", "seed", "arm"]):
        folder = target / Path(run).name / f"{experiment}-{seed:03d}" / str(arm)
        with SummaryWriter(str(folder)) as writer:
            for row in rows.itertuples():
                writer.add_scalar(row.metric, row.value, int(row.epoch))
