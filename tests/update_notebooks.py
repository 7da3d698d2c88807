"""Bring the notebooks in line with models and project: `python tests/update_notebooks.py`.

Rewrites a notebook's badge and first code cell from `pyproject.toml`, and an experiment's `parameters`
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

BADGE = re.compile(r"# \[!\[Open in Colab\].*")
FIRST = re.compile(r"# In Colab: .*?(?=\n\n# %%)", re.DOTALL)
PARAMETERS = re.compile(r'(?<=# %% tags=\["parameters"\]\n).*?(?=\n\n# %%)', re.DOTALL)


def project() -> tuple[str, str]:
    """The repository's address and the version, from `pyproject.toml`."""
    about = tomllib.loads((NOTEBOOKS.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return about["urls"]["Repository"], about["version"]


def update(source: Path) -> None:
    """One notebook, given its `.py`."""
    address, version = project()
    generated = {BADGE: f"# {badge(address, source.stem)}", FIRST: first_cell(address, version)}
    for experiment in (name for name, stem in NAMES.items() if stem == source.stem):
        generated[PARAMETERS] = parameters_cell(experiment)
    text = source.read_text(encoding="utf-8")
    for pattern, now in generated.items():
        text, count = pattern.subn(lambda _, now=now: now, text)
        assert count == 1, f"{source}: {count} of {pattern.pattern}"
    source.write_text(text, encoding="utf-8")
    write_paired(source)


def write_paired(source: Path) -> None:
    """The `.ipynb` of a percent script; cell ids by position, so that a source gives the same bytes."""
    notebook = jupytext.read(source)
    rules = tomllib.loads((NOTEBOOKS.parent / "jupytext.toml").read_text(encoding="utf-8"))
    notebook.metadata["jupytext"] = {name: rules[name] for name in rules if name != "formats"}  # as --update
    for number, cell in enumerate(notebook.cells):
        cell["id"] = str(number)  # as nbstripout has them
    nbformat.validate(notebook)
    source.with_suffix(".ipynb").write_text(jupytext.writes(notebook, fmt="ipynb") + "\n")


if __name__ == "__main__":
    for script in sorted(NOTEBOOKS.glob("*.py")):
        update(script)
