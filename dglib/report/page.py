"""The page: what was asked, what came out, on which seeds, how it was run, and what it does not show.

python run_all.py report --base-dir runs
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from dglib.errors import UserError
from dglib.files import write_atomically
from dglib.report import grids, runs
from dglib.report.grids import Grid
from dglib.report.runs import Collection, collect_runs
from dglib.runs.directories import INDEX

NAME = "report.html"


def collect(base: Path) -> Collection:
    """Read a run directory, or all of those in a base directory, or a grid's directory; changes nothing.

    Raises:
        UserError: there is no such directory, no run in it of which anything could be read, or a grid's index
            is damaged.
    """
    if grid := grids.read_grid(base):
        return grid
    try:
        collection = collect_runs(base)
    except UserError as error:
        there = sorted(path.parent.name for path in base.glob(f"*/{INDEX}"))
        if not there:
            raise
        raise UserError(f"{error}; grids lie in {', '.join(there)} there: name one's directory") from None
    if not collection.runs:
        unread = [*collection.damaged, *collection.skipped]
        first, more = unread[:1], len(unread) - 1
        why = f"; {first[0]}" + (f" (and {more} more like it)" if more > 0 else "") if first else ""
        raise UserError(f"{base}: no records there{why}")
    return collection


def write_report(base: Path, target: Path | None = None) -> Path:
    """Write the page over all runs in `base`, from their records alone, and return its path.

    Of a grid's directory the page is over all of its cells, and the table and figures are files there too.
    The same records give the same bytes. Figures are in the page; only links to executed notebooks and
    records lead out of it, relative to where it lies.

    Args:
        base: a base directory, or one run directory; a folder with published results' files will do.
        target: the file to write; None: `report.html` in `base`.

    Raises:
        UserError: there is no such directory, no run in it, or the page cannot be written.
    """
    target, collection = base / NAME if target is None else target, collect(base)
    write_atomically(target, render(collection, target, write=True).encode())
    return target


def render(collection: Collection, target: Path, whole: bool = True, write: bool = False) -> str:
    """The page as one HTML document, or as one element with its style for a notebook.

    Links are relative to `target`, where it will lie.

    Args:
        write: whether a grid's table and figures are written into its directory.
    """
    if isinstance(collection, Grid):
        content = grids.content(collection, target, write)
    else:
        content = runs.content(collection, target)
    return _environment().get_template("page.html.j2").render(content, whole=whole)


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("dglib.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_unbroken,
    )


def _unbroken(value: object) -> object:
    """No line break between a number and its per cent."""
    return value.replace(" %", "\u00a0%") if type(value) is str else value
