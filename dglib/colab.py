"""A fresh Colab runtime: the first cell of each notebook, and what it calls once dglib is there.

Colab has most required packages, and a running kernel has loaded some. So only missing packages are
installed, and none is replaced. `python tests/update_notebooks.py` writes
cell and badge into the notebooks, from the address and the version in `pyproject.toml`.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from dglib.base_dir import CHECKOUT, CONTENT, base_directory, drive_is_mounted
from dglib.errors import UserError
from dglib.runs import provenance

BRANCH = "main"  # where the badges find the notebooks

# Another version of one of these under a running kernel breaks it.
LEFT_ALONE = ("torch", "torchvision", "numpy", "pandas", "matplotlib", "ipykernel", "ipywidgets", "ipython")

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


def prepare(project: Path = CHECKOUT) -> None:
    """Install what `project` requires and this runtime lacks; print what was taken from where.

    Raises:
        UserError: `project` is not a whole copy, as one whose upload to Drive was cut off.
    """
    if not (project / "run_all.py").is_file():
        raise UserError(f"{project}: has no run_all.py: complete this copy of the project, or delete it")
    code = provenance.line(provenance.code()).removeprefix("made by ")
    print(f"{code}, from {project}; {_installed(missing(project / 'pyproject.toml'))}")
    if drive_is_mounted():
        where = f"Results go to {base_directory(None)}; after a disconnect run all cells again to resume"
    else:
        where = (
            "Drive is not mounted: run this cell again to mount it, or set base_dir below, such as"
            f" '{CONTENT}/runs', which is lost at a disconnect"
        )
    print(where)


def missing(pyproject: Path) -> list[str]:
    """The project's dependencies of which no version is installed."""
    lines = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]["dependencies"]
    wanted = {re.split(r"[^A-Za-z0-9._-]", line)[0].lower(): line for line in lines}
    return [line for name, line in wanted.items() if name not in LEFT_ALONE and _version(name) is None]


def _installed(lines: list[str]) -> str:
    """Install packages without replacing others; returns the outcome in words."""
    if not lines:
        return "nothing was missing"
    with tempfile.TemporaryDirectory() as folder:
        constraints = Path(folder, "constraints.txt")
        there = [f"{name}=={found}\n" for name in LEFT_ALONE if (found := _version(name))]
        constraints.write_text("".join(there), encoding="utf-8")
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--constraint", str(constraints), *lines]
        done = subprocess.run(pip, capture_output=True, text=True)
    if done.returncode:
        problem = (done.stderr.strip().splitlines() or ["pip failed"])[-1]
        return f"could not install {', '.join(lines)}: {problem}"
    return f"installed {', '.join(lines)}"


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
