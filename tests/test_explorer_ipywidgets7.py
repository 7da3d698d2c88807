"""The explorer under ipywidgets 7.7.1, which Colab has."""

from __future__ import annotations

import re
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# ipywidgets and what it needs in versions of its own; the rest is found in the environment of the tests.
PACKAGES = (
    "ipywidgets==7.7.1", "widgetsnbextension~=3.6.0", "jupyterlab_widgets>=1,<2", "ipython_genutils~=0.2.0"
)  # fmt: skip
# How ipywidgets 7.7.1 makes comms, under an ipykernel of today.
OLD_COMM = "ignore:The `ipykernel.comm.Comm` class has been deprecated:DeprecationWarning"
PANELS = "panel or button or slider or clock or limit"


@pytest.mark.slow
def test_the_panels_work_under_the_widgets_of_colab(tmp_path: Path) -> None:
    """In a virtual environment with these packages in front of all that this one has."""
    venv.create(tmp_path, symlinks=True)
    python = tmp_path / "bin" / "python"
    own = tmp_path / "lib" / f"python{sysconfig.get_python_version()}" / "site-packages"
    (own / "behind.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-deps", "--quiet", *PACKAGES]
    done = subprocess.run(pip, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no second environment: {done.stderr.strip()[-200:]}")
    asked = [python, "-c", "import ipywidgets; print(ipywidgets.__version__)"]
    assert subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip() == "7.7.1"
    tests = [ROOT / "tests" / name for name in ("test_explorer_recorded.py", "test_explorer_live.py")]
    options = ["-n", "0", "-q", "-k", PANELS, "-p", "no:cacheprovider", "-W", OLD_COMM]
    done = subprocess.run(
        [python, "-m", "pytest", *options, *tests], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert re.search(r"(?m)^1\d passed, \d+ deselected", done.stdout), done.stdout[-400:]  # none skipped
