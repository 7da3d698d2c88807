"""The explorer under ipywidgets 7.7.1, which Colab has."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import venv
from pathlib import Path
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).parents[1]
# ipywidgets and what it needs in versions of its own; the rest is found in the environment of the tests.
PACKAGES = (
    "ipywidgets==7.7.1", "widgetsnbextension~=3.6.0", "jupyterlab_widgets>=1,<2", "ipython_genutils~=0.2.0"
)  # fmt: skip
# How ipywidgets 7.7.1 makes comms, under an ipykernel of today.
OLD_COMM = "ignore:The `ipykernel.comm.Comm` class has been deprecated:DeprecationWarning"
PANELS = "panel or button or slider or clock or limit"


@pytest.fixture
def python(tmp_path: Path) -> Path:
    """A virtual environment with these packages in front of all that this one has."""
    directory = tmp_path / "environment"
    venv.create(directory, symlinks=True)
    python = directory / "bin" / "python"
    own = directory / "lib" / f"python{sysconfig.get_python_version()}" / "site-packages"
    (own / "behind.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-deps", "--quiet", *PACKAGES]
    done = subprocess.run(pip, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no second environment: {done.stderr.strip()[-200:]}")
    return python


@pytest.mark.slow
def test_the_panels_work_under_the_widgets_of_colab(python: Path, tmp_path: Path) -> None:
    asked = [python, "-c", "import ipywidgets; print(ipywidgets.__version__)"]
    assert subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip() == "7.7.1"
    result = tmp_path / "result.xml"
    tests = [ROOT / "tests" / name for name in ("test_explorer_recorded.py", "test_explorer_live.py")]
    options = ["-n", "0", "-q", "-k", PANELS, "-p", "no:cacheprovider", "-W", OLD_COMM]
    command = [python, "-m", "pytest", *options, f"--junit-xml={result}", *tests]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    (suite,) = ElementTree.parse(result).getroot().iter("testsuite")
    assert int(suite.attrib["tests"]) >= 15
    assert int(suite.attrib["skipped"]) == 0
