"""The explorer under ipywidgets 7.7.1, which Colab has: its logic, and the page in a browser."""

from __future__ import annotations

import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest
from browser import chromium, needs_browser, tab
from second_environment import IPYWIDGETS, UnavailableError, make_second_environment
from voila_server import ROOT, served, with_parameters

pytestmark = pytest.mark.slow

LOGIC = ("test_explorer_recorded.py", "test_explorer_panel.py")
NOTEBOOK = ROOT / "notebooks" / "Lambda_explorer.ipynb"
# The way of making comms that ipywidgets 7.7.1 knows, under an ipykernel of today.
OLD_COMM = "ignore:The `ipykernel.comm.Comm` class has been deprecated:DeprecationWarning"


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The second environment's interpreter."""
    try:
        return make_second_environment(tmp_path_factory.mktemp("second") / "environment")
    except UnavailableError as error:
        pytest.skip(f"no second environment: {error}")


def test_the_explorers_tests_pass_under_the_widgets_of_colab(python: Path, tmp_path: Path) -> None:
    asked = [python, "-c", "import ipywidgets; print(ipywidgets.__version__)"]
    assert subprocess.run(asked, capture_output=True, text=True, check=True).stdout.split() == [IPYWIDGETS]
    result = tmp_path / "result.xml"
    tests = [ROOT / "tests" / name for name in LOGIC]
    options = ["-n", "0", "-q", "-p", "no:cacheprovider", "-W", OLD_COMM, f"--junit-xml={result}"]
    done = subprocess.run(
        [python, "-m", "pytest", *options, *tests], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    (suite,) = ElementTree.parse(result).getroot().iter("testsuite")
    counts = {name: int(suite.attrib[name]) for name in ("tests", "failures", "errors", "skipped")}
    assert counts["tests"] >= 50
    assert (counts["failures"], counts["errors"], counts["skipped"]) == (0, 0, 0)


@needs_browser
def test_browser_shows_and_moves_both_parts_under_the_widgets_of_colab(python: Path, tmp_path: Path) -> None:
    runs = str(ROOT / "notebooks" / "assets" / "quick")
    notebook = with_parameters(NOTEBOOK, tmp_path / NOTEBOOK.name, base_dir=str(tmp_path / "runs"), runs=runs)
    with (
        chromium() as browser,
        served(notebook, tmp_path / "own", python=python) as server,
        tab(browser, server.url, "img.dglib-live-picture") as page,
    ):
        assert page.cut_off(".dglib-recorded, .dglib-live") == []
        picture = page.picture(".dglib-picture")
        page.type(".dglib-lambda", "0.45")
        page.wait_for_text("lambda", r"^0\.45$", ".dglib-recorded")
        assert page.wait_for_other_picture(".dglib-picture", picture)
        page.drag(".dglib-collapse-error", 0.97)
        page.wait_for_text("lambda-up", "^above", ".dglib-recorded", '[data-experiment="T1"][data-seed="0"]')

        page.click(".dglib-live-ordered")
        page.wait_for("v.start == 'ordered' && v.state == 'running'", ".dglib-live")
        page.press(".dglib-live-k", "ArrowRight")
        page.type(".dglib-live-lambda", "0.7")
        now = page.wait_for("v.lambda == 0.7 && v.error > 0.5", ".dglib-live")
        assert now["k"] == 64
