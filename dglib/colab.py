"""A fresh Colab runtime: the cell that each notebook begins with, and what it calls once dglib is there.

Colab has most of what the suite needs, in versions of its own that a running kernel holds already. So only
what is missing is installed, and nothing that is there is replaced. `python tests/update_notebooks.py` writes
cell and badge into the notebooks, from the address and the version in `pyproject.toml`.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from dglib import provenance

BRANCH = "main"  # where the badges find the notebooks

# Another version of one of these under a running kernel breaks it.
LEFT_ALONE = ("torch", "torchvision", "numpy", "pandas", "matplotlib", "ipykernel", "ipywidgets", "ipython")

_CELL = """\
# In Colab: get the project and install what is missing there. Anywhere else this cell does nothing.
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

if "google.colab" in sys.modules and getattr(importlib.util.find_spec("dglib"), "origin", None) is None:
    _content = Path(os.environ.get("DGLIB_CONTENT", "/content"))
    if not (_content / "drive/MyDrive").exists():
        from google.colab import drive

        try:
            drive.mount(str(_content / "drive"))
        except Exception as _problem:
            print("No Drive, so the results end with this runtime:", _problem)
    _project = _content / "drive/MyDrive/dual-gradient-learning/dglib"  # your own copy, if there is one
    if not (_project / "run_all.py").exists():
        _project = _content / "dual-gradient-learning"
    if not (_project / "run_all.py").exists():
        shutil.rmtree(_project, ignore_errors=True)  # a clone that was cut off
        _address = os.environ.get("DGLIB_REPOSITORY", "{address}")
        _clone = ["git", "clone", "--quiet", "--depth", "1", _address, str(_project)]
        _git = subprocess.run([*_clone, "--branch", "{tag}"], capture_output=True, text=True)
        if _git.returncode != 0:
            print(_git.stderr.strip().split("\\n")[-1], "- taking the default branch instead")
            _git = subprocess.run(_clone, capture_output=True, text=True)
            assert _git.returncode == 0, _git.stderr
    sys.path.insert(0, str(_project))
    from dglib.colab import prepare

    print(prepare(_project))"""


def first_cell(address: str, version: str) -> str:
    """The source of that cell, for a repository's address and the version whose tag it clones."""
    return _CELL.format(address=address, tag=f"v{version}")


def badge(address: str, notebook: str) -> str:
    """Markdown of the badge that opens a notebook ("T1_spinodal") from a repository on GitHub in Colab."""
    place = address.removeprefix("https://github.com/")
    link = f"https://colab.research.google.com/github/{place}/blob/{BRANCH}/notebooks/{notebook}.ipynb"
    return f"[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]({link})"


def prepare(project: Path) -> str:
    """Install what `project` requires and this runtime lacks. Returns a line: what was taken from where."""
    taken = provenance.line(provenance.code()).removeprefix("made by ")
    return f"{taken}, from {project}; {_installed(missing(project / 'requirements.txt'))}"


def missing(requirements: Path) -> list[str]:
    """The lines of a requirements file whose package is not there, in any version."""
    lines = requirements.read_text(encoding="utf-8").splitlines()
    wanted = {re.split(r"[^A-Za-z0-9._-]", line)[0].lower(): line for line in lines if line[:1].isalpha()}
    return [line for name, line in wanted.items() if name not in LEFT_ALONE and _version(name) is None]


def _installed(lines: list[str]) -> str:
    """Install packages beside those that are there, and say how that went."""
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
