"""Bring the notebooks in line with models and project: `python tests/update_notebooks.py`.

Rewrites each notebook's badge and first code cell from `pyproject.toml`, and an experiment's `parameters`
cell from its model and the quick profile, then makes the `.ipynb` from the `.py`, without outputs.
"""

import re
import tomllib
from pathlib import Path

import jupytext
import nbformat
from by_name import NAMES

from dglib.base_dir import NOTEBOOKS
from dglib.colab import badge, first_cell
from dglib.experiments.notebook import parameters_cell

PARAMETERS = re.compile(r'(# %% tags=\["parameters"\]\n).*?(?=\n\n# %%)', re.DOTALL)
FIRST = re.compile(r"# %%\n# In Colab: .*?\n\n(?=# %%)", re.DOTALL)
TITLE = re.compile(r"(# %% \[markdown\]\n# # .*\n#\n)(?:# \[!\[Open in Colab\].*\n#\n)?")


def project() -> tuple[str, str]:
    """The repository's address and the version, from the one place where they stand."""
    told = tomllib.loads((NOTEBOOKS.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return told["urls"]["Repository"], told["version"]


def update(source: Path) -> None:
    """One notebook, given its `.py`."""
    address, version = project()
    text = FIRST.sub("", source.read_text(encoding="utf-8"))
    text, titles = TITLE.subn(lambda found: f"{found[1]}# {badge(address, source.stem)}\n#\n", text, count=1)
    assert titles == 1, f"{source}: has no title"
    before, heading, after = text.partition("# %% [markdown]\n# ## Parameters\n")
    assert heading, f"{source}: has no heading of its parameters"
    text = f"{before}# %%\n{first_cell(address, version)}\n\n{heading}{after}"
    for experiment, name in NAMES.items():
        if name == source.stem:
            text, cells = PARAMETERS.subn(lambda found, of=experiment: found[1] + parameters_cell(of), text)
            assert cells == 1, f"{source}: {cells} parameters cells"
    source.write_text(text, encoding="utf-8")
    write_paired(source)


def write_paired(source: Path) -> None:
    """The `.ipynb` of a percent script; cell ids by position, so that a source gives the same bytes."""
    notebook = jupytext.read(source)
    for number, cell in enumerate(notebook.cells):
        cell["id"] = str(number)  # as nbstripout has them
    nbformat.validate(notebook)
    source.with_suffix(".ipynb").write_text(jupytext.writes(notebook, fmt="ipynb") + "\n")


if __name__ == "__main__":
    for script in sorted(NOTEBOOKS.glob("*.py")):
        update(script)
