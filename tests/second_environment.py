"""A second environment: this one with the widgets of Colab's image, ipywidgets 7.7.1, in place of its own.

``python tests/second_environment.py DIRECTORY`` makes one by hand: a bare virtual environment that has four
small packages of its own and, through a ``.pth`` file, sees behind them all that this one has, torch too.
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

IPYWIDGETS = "7.7.1"
# What ipywidgets 7.7.1 needs in versions of its own; the rest it finds in the environment behind it.
PACKAGES = (
    f"ipywidgets=={IPYWIDGETS}",
    "widgetsnbextension~=3.6.0",
    "jupyterlab_widgets>=1,<2",
    "ipython_genutils~=0.2.0",
)
# What Jupyter finds below share/jupyter; not the labextensions, where the widgets' own JavaScript lies.
SHARED = ("kernels", "nbconvert", "voila")


class UnavailableError(Exception):
    """The packages could not be had; the message is the end of what pip said."""


def make_second_environment(directory: Path) -> Path:
    """Make the environment in `directory`, which need not exist, and return its interpreter.

    Raises:
        UnavailableError: pip could not fetch the packages.
    """
    venv.create(directory, symlinks=True)
    python = directory / "bin" / "python"
    own = directory / "lib" / f"python{sysconfig.get_python_version()}" / "site-packages"
    # addsitedir appends to sys.path, so what lies in `own` is found first, and reads the .pth files there, by
    # which an editable install of this project is found.
    behind = sysconfig.get_path("purelib")
    (own / "behind.pth").write_text(f"import site; site.addsitedir({behind!r})\n", encoding="utf-8")
    shared, own_share = (
        Path(place) / "share" / "jupyter" for place in (sysconfig.get_path("data"), directory)
    )
    own_share.mkdir(parents=True)
    for name in SHARED:
        if (shared / name).is_dir():
            (own_share / name).symlink_to(shared / name, target_is_directory=True)
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-deps", "--quiet", *PACKAGES]
    done = subprocess.run(pip, capture_output=True, text=True)
    if done.returncode:
        raise UnavailableError(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "pip failed")
    return python


if __name__ == "__main__":
    print(make_second_environment(Path(sys.argv[1])))
