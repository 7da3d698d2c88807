"""One self-contained page over all experiments of a base directory.

python run_all.py report --base-dir runs
"""

from pathlib import Path

from dglib.files import write_atomically
from dglib.report.collect import collect
from dglib.report.page import render

NAME = "report.html"


def write_report(base: Path, target: Path | None = None) -> Path:
    """Write the page over all runs in `base`, from their records alone, and return where it lies.

    The same records give the same bytes. Figures are in the page; only links to executed notebooks
    and records lead out of it, relative to where it lies.

    Args:
        base: a base directory, or one run directory; a folder with published results' files will do.
        target: the file to write; None: `report.html` in `base`.

    Raises:
        UserError: there is no such directory, no run in it, or the page cannot be written.
    """
    target = base / NAME if target is None else target
    content = render(collect(base), target).encode()
    write_atomically(target, content)
    return target
