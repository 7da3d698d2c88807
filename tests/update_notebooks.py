"""Bring the notebooks in line with the models: `python tests/update_notebooks.py`.

Rewrites each notebook's `parameters` cell from the model and the quick profile, then makes the `.ipynb` from
the `.py`, without outputs.
"""

import re
from pathlib import Path

import jupytext
import nbformat

from dglib.jobs import NAMES, NOTEBOOKS
from dglib.notebook import parameters_cell

CELL = re.compile(r'(# %% tags=\["parameters"\]\n).*?(?=\n\n# %%)', re.DOTALL)


def update(experiment: str) -> None:
    source = NOTEBOOKS / f"{NAMES[experiment]}.py"
    text, found = CELL.subn(lambda match: match[1] + parameters_cell(experiment), source.read_text())
    assert found == 1, f"{source}: {found} parameters cells"
    source.write_text(text)
    write_paired(source)


def write_paired(source: Path) -> None:
    """The `.ipynb` of a percent script; cell ids by position, so that a source gives the same bytes."""
    notebook = jupytext.read(source)
    for number, cell in enumerate(notebook.cells):
        cell["id"] = str(number)  # as nbstripout has them
    nbformat.validate(notebook)
    source.with_suffix(".ipynb").write_text(jupytext.writes(notebook, fmt="ipynb") + "\n")


if __name__ == "__main__":
    for name in NAMES:
        update(name)
