"""One self-contained page over all experiments of a base directory.

python run_all.py report --base-dir runs
"""

from pathlib import Path

from dglib.errors import UserError
from dglib.files import write_atomically
from dglib.report.collect import Collection, collect, collect_grid
from dglib.report.grid_index import NAME as INDEX

NAME = "report.html"


def write_report(base: Path, target: Path | None = None) -> Path:
    """Write the page over all runs in `base`, from their records alone, and return its path.

    Of a grid's directory the page is over all of its cells, and the table and figures are files there too.

    The same records give the same bytes. Figures are in the page; only links to executed notebooks
    and records lead out of it, relative to where it lies.

    Args:
        base: a base directory, or one run directory; a folder with published results' files will do.
        target: the file to write; None: `report.html` in `base`.

    Raises:
        UserError: there is no such directory, no run in it, or the page cannot be written.
    """
    from dglib.report.grid_page import render_grid, write_figures  # matplotlib: `analyse` needs none
    from dglib.report.page import render

    target = base / NAME if target is None else target
    grid = collect_grid(base)
    if grid is not None:
        write_figures(grid)
    content = render(_collected(base), target) if grid is None else render_grid(grid, target)
    write_atomically(target, content.encode())
    return target


def _collected(base: Path) -> Collection:
    try:
        return collect(base)
    except UserError as error:
        grids = sorted(path.parent.name for path in base.glob(f"*/{INDEX}"))
        if not grids:
            raise
        raise UserError(f"{error}; grids lie in {', '.join(grids)} there: name one's directory") from None
