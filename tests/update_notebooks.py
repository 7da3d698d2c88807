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
from dglib.experiments.notebook import parameters_cell

BRANCH = "main"  # where the badges find the notebooks
BADGE = re.compile(r"# \[!\[Open in Colab\].*")
FIRST = re.compile(r"# In Colab: .*?(?=\n\n# %%)", re.DOTALL)
PARAMETERS = re.compile(r'(?<=# %% tags=\["parameters"\]\n).*?(?=\n\n# %%)', re.DOTALL)


# Colab lists its open notebooks (undocumented), each with the address that it was opened from or the id of a
# file on Drive. An address is untrusted: it must match a strict pattern, and no shell reads it. `insert`
# refuses none and several. `sys.path` is extended last: Python caches which entries do not exist.
_CELL = r"""# In Colab: mount Drive and get the project that this notebook was opened from. Anywhere else this cell does nothing.
import contextlib, importlib, json, os, re, shutil, subprocess, sys, urllib.parse, urllib.request
if "google.colab" in sys.modules and "DGLIB_HEADLESS" not in os.environ:
    _copies = ["/content/drive/MyDrive/dual-gradient-learning/dglib", "/content/dual-gradient-learning"]
    _sources = [(os.environ.get("DGLIB_REPOSITORY", "@ADDRESS@"), "@TAG@", "(the repository of this notebook is unknown or unreadable)")]
    with contextlib.suppress(Exception): os.path.isdir("/content/drive/MyDrive") or importlib.import_module("google.colab.drive").mount("/content/drive")
    with contextlib.suppress(Exception), urllib.request.urlopen(f"http://{os.environ.get('COLAB_JUPYTER_IP', '172.28.0.12')}:9000/api/sessions", timeout=5) as _open:
        _sources.insert(0, *{re.fullmatch(r"(?a)fileId=(https://github\.com/[\w-]+/[\w.-]+)/blob/(\w[\w./-]*)/notebooks/\w+\.ipynb", urllib.parse.unquote(_one["path"])).groups() for _one in json.load(_open)})
    for _url, _ref, *_note in _sources:
        any(os.path.isfile(f"{_copy}/run_all.py") for _copy in _copies) or shutil.rmtree(_copies[1], ignore_errors=True) or print("Cloning", _url, _ref, *_note, subprocess.run(["env", "GIT_TERMINAL_PROMPT=0", "git", "clone", "-q", "--depth=1", "-b", _ref, "--", _url, _copies[1]], capture_output=True, text=True).stderr.strip())
    sys.path[:0] = _copies
    importlib.import_module("dglib.colab").prepare()"""  # noqa: E501


def first_cell(address: str, version: str) -> str:
    """The source of the first cell, which clones this version from `address` where the origin is unknown."""
    return _CELL.replace("@ADDRESS@", address).replace("@TAG@", f"v{version}")


def badge(address: str, notebook: str) -> str:
    """Markdown of the badge that opens a notebook ("T1_spinodal") from a repository on GitHub in Colab."""
    repository = address.removeprefix("https://github.com/")
    link = f"https://colab.research.google.com/github/{repository}/blob/{BRANCH}/notebooks/{notebook}.ipynb"
    return f"[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]({link})"


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
