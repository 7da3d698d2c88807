"""Records for other tools: one tidy long table (CSV, Parquet), or TensorBoard's event files."""

from __future__ import annotations

import io
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from dglib.errors import UserError
from dglib.experiments.tables import LONG, epoch_rows, evaluation_rows
from dglib.files import write_atomically
from dglib.runs.reading import find_records
from dglib.runs.tensorboard import open_writer, writer_class

if TYPE_CHECKING:
    from pandas import DataFrame


def long_table(path: str | Path) -> tuple[DataFrame, list[str]]:
    """A row for each number at each evaluation and at each epoch's end; a line for each file not read.

    Columns: `LONG`.

    Raises:
        UserError: there is nothing at the path that can be read.
    """
    import pandas as pd

    record_set = find_records(path)
    if not record_set.sources:
        raise UserError(record_set.problems[0])
    numbers = (chain(evaluation_rows(source), epoch_rows(source)) for source in record_set.sources)
    return pd.DataFrame(chain.from_iterable(numbers), columns=list(LONG)), record_set.problems


def export(path: str | Path, target: str | Path) -> str:
    """Write the records at `path` to a file (.csv, .parquet) or, else, as event files into a directory.

    Returns a line on what was written, and one for each file or record that was not read.

    Raises:
        UserError: nothing can be read, or a package is missing.
    """
    target = Path(target)
    events = target.suffix not in (".csv", ".parquet")
    if events:
        writer_class(str(target))
    table, problems = long_table(path)
    if events:
        _write_events(table, target)
    elif target.suffix == ".csv":
        write_atomically(target, table.to_csv(index=False).encode())
    else:
        content = io.BytesIO()
        try:
            table.to_parquet(content, index=False)
        except ImportError:
            raise UserError(f"{target}: Parquet needs the package pyarrow: pip install .[export]") from None
        write_atomically(target, content.getvalue())
    return "\n".join([f"{target}: {len(table)} values", *problems])


def _write_events(table: DataFrame, target: Path) -> None:
    for (run, experiment, seed, arm), rows in table.groupby(["run", "experiment", "seed", "arm"]):
        folder = target / Path(run).name / f"{experiment}-{seed:03d}" / str(arm)
        with open_writer(folder, str(target)) as writer:
            rows = rows.dropna(subset=["epoch"])  # of which published records of V3 state none
            for row in rows.itertuples():
                writer.add_scalar(row.metric, row.value, int(row.epoch))
            for epoch, lam in rows[["epoch", "lambda"]].drop_duplicates("epoch").itertuples(index=False):
                writer.add_scalar("lambda", lam, int(epoch))
