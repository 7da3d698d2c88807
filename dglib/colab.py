"""A fresh Colab runtime: what the first cell of each notebook calls once dglib is there.

Colab has most required packages, and a running kernel has loaded some. So only missing packages are
installed, and none is replaced. `tests/update_notebooks.py` writes the cell into the notebooks.
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

# Another version of one of these under a running kernel breaks it.
LEFT_ALONE = ("torch", "torchvision", "numpy", "pandas", "matplotlib", "ipykernel", "ipywidgets", "ipython")


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
        there = [f"{name}=={installed}\n" for name in LEFT_ALONE if (installed := _version(name))]
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
