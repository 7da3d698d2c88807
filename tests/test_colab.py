"""Colab: the notebooks' first cell and badges, and notebooks in a simulated Colab runtime."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import nbformat
import pytest
from cluster_cases import wait_for
from small import digits
from stand_in_colab import Runtime, commit, in_place, repository_of
from update_notebooks import badge, first_cell, project

from dglib import colab
from dglib.errors import UserError
from dglib.experiments import build_spec
from dglib.experiments.profiles import load_profile
from dglib.runs.progress import read_attempts
from dglib.runs.seed import run_seed
from dglib.training.numerics import Numerics

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = ROOT / "notebooks"
ADDRESS, VERSION = project()
CELL = first_cell(ADDRESS, VERSION)

every_notebook = pytest.mark.parametrize("script", sorted(NOTEBOOKS.glob("*.py")), ids=lambda path: path.stem)

# ── what the notebooks contain ──


@every_notebook
def test_a_notebook_begins_with_its_badge_and_the_same_first_cell_of_at_most_twelve_lines(script):
    title, first = nbformat.read(script.with_suffix(".ipynb"), as_version=4).cells[:2]
    assert title.source.splitlines()[2] == badge(ADDRESS, script.stem)
    assert first.source == CELL
    assert len(CELL.splitlines()) <= 12


def test_the_readmes_badges_open_notebooks_that_are_there():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    badges = re.findall(r"\[!\[Open in Colab\]\([^)]*\)\]\([^)]*\)", readme)
    assert set(badges) <= {badge(ADDRESS, script.stem) for script in NOTEBOOKS.glob("*.py")}
    assert len(re.findall(r"colab\.research\.google\.com/github", readme)) == len(badges)


# ── the first cell, in a process of its own ──

GOOGLE = f"""
import os, sys
sys.path.insert(0, {str(ROOT / "tests")!r})
import stand_in_colab
stand_in_colab.pretend()
"""
WHERE = """
from dglib.base_dir import base_directory
try:
    print("base:", base_directory(None))
except Exception as error:
    print(type(error).__name__, error)
"""


@pytest.fixture
def python(tmp_path):
    """Run code in a fresh process in an empty `content`, after /content was replaced by it; its output."""
    content = tmp_path / "content"
    content.mkdir()

    def run(*code, **environment):
        unset = ("PYTHONPATH", "DGLIB_HOME", "COLAB_RELEASE_TAG")
        ours = {name: value for name, value in os.environ.items() if name not in unset}
        done = subprocess.run(
            [sys.executable, "-c", in_place("\n".join(code), content)],
            cwd=content,
            env=ours | {"DGLIB_CONTENT": str(content)} | environment,
            capture_output=True,
            text=True,
        )
        return (done.stdout + done.stderr).replace(str(content), "/content")

    run.content = content
    return run


def test_outside_colab_and_in_a_headless_notebook_the_cell_does_nothing(python):
    assert python(CELL, "print([n for n in globals() if n[0] == '_' != n[1]])") == "[]\n"
    assert python(GOOGLE, CELL, DGLIB_HEADLESS="1") == "", "nobody could answer whether Drive may be mounted"
    assert list(python.content.iterdir()) == []


def test_a_drive_that_cannot_be_mounted_is_refused_in_one_line_until_the_cell_is_run_again(python):
    (python.content / "dual-gradient-learning").symlink_to(ROOT)
    again = "print('---')\ndel os.environ['REFUSE']"
    printed = python(GOOGLE, CELL, WHERE, again, CELL, WHERE, "print('---')", CELL, REFUSE="1")
    refused, mounted, third = printed.split("---\n")
    *lines, error = refused.splitlines()
    assert error.startswith("UserError base_dir = None: is on Google Drive, which is not mounted")
    assert "set base_dir = '/content/runs'" in error
    assert lines[0] == "asked for /content/drive"
    assert lines[-1].startswith("Drive is not mounted: run this cell again to mount it, or set base_dir")
    assert mounted.splitlines()[0] == "asked for /content/drive"
    base = "/content/drive/MyDrive/dual-gradient-learning/Paper-A"
    results = f"Results go to {base}; after a disconnect run all cells again to resume"
    assert mounted.splitlines()[-2:] == [results, f"base: {base}"]
    assert "asked for" not in third, "a mounted Drive is not mounted again"


def test_a_copy_in_drive_goes_before_a_clone_and_a_clone_is_made_where_there_is_none(python, tmp_path):
    repository = repository_of(ROOT, tmp_path / "dglib.git", tag=f"v{VERSION}")
    (python.content / "dual-gradient-learning/dglib").mkdir(parents=True)  # of a clone that was cut off
    cloned = python(GOOGLE, CELL, DGLIB_REPOSITORY=repository)
    assert f"dglib {VERSION}, commit " in cloned
    assert "from /content/dual-gradient-learning; nothing was missing" in cloned
    shutil.rmtree(python.content / "dual-gradient-learning")
    assert "fatal: '/nowhere' does not appear" in python(GOOGLE, CELL, DGLIB_REPOSITORY="file:///nowhere")
    own = python.content / "drive/MyDrive/dual-gradient-learning"
    own.mkdir(parents=True)
    (own / "dglib").symlink_to(ROOT)
    copied = python(GOOGLE, CELL, DGLIB_REPOSITORY="file:///nowhere")
    assert "from /content/drive/MyDrive/dual-gradient-learning/dglib; nothing was missing" in copied


ORIGIN = "fileId=https%3A%2F%2Fgithub.com%2Fsome%2Ffork%2Fblob%2F{}%2Fnotebooks%2FT1_spinodal.ipynb"
HOSTILE = ("--upload-pack=touch pwned", "$(touch pwned)", "x\n")


def sessions(*paths):
    return json.dumps([{"path": path, "name": "T1_spinodal.ipynb", "kernel": {}} for path in paths]).encode()


@pytest.fixture(scope="module")
def github(tmp_path_factory):
    """The environment in which a fork and the project's own address lead to local repositories."""
    place = tmp_path_factory.mktemp("github")
    variables = {"GIT_CONFIG_COUNT": "2", "GIT_ALLOW_PROTOCOL": "file"}
    for number, (address, branch) in enumerate([("some/fork", "feature/x"), (ADDRESS[19:], f"v{VERSION}")]):
        work = place / str(number)
        (work / "dglib").mkdir(parents=True)
        (work / "run_all.py").touch()
        (work / "dglib" / "__init__.py").touch()
        (work / "dglib" / "colab.py").write_text(f"def prepare(): print('code of {address}')")
        commit(work, branch)
        variables[f"GIT_CONFIG_KEY_{number}"] = f"url.file://{work}.insteadOf"
        variables[f"GIT_CONFIG_VALUE_{number}"] = f"https://github.com/{address}"
    return variables


@pytest.fixture
def opened(python, github):
    """Run the first cell where Colab lists these sessions, or, for None, nothing answers; its output."""

    def run(body):
        class Listing(BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        with HTTPServer(("127.0.0.1", 0), Listing) as server:
            Thread(target=server.serve_forever, daemon=True).start()
            cell = CELL.replace(":9000/", f":{server.server_port if body is not None else 1}/")
            printed = python(GOOGLE, cell, COLAB_JUPYTER_IP="127.0.0.1", **github)
            server.shutdown()
        assert list(python.content.rglob("pwned")) == []
        return [line for line in printed.splitlines() if line != "asked for /content/drive"]

    return run


FALLBACK = [
    f"Cloning {ADDRESS} v{VERSION} (the repository of this notebook is unknown or unreadable) ",
    f"code of {ADDRESS[19:]}",
]


def test_a_notebook_opened_from_a_branch_of_a_fork_takes_the_code_from_there(opened):
    expected = ["Cloning https://github.com/some/fork feature/x ", "code of some/fork"]
    assert opened(sessions(ORIGIN.format("feature%2Fx"))) == expected
    assert opened(sessions("fileId=1AbC")) == expected[1:], "a clone is not replaced"


@pytest.mark.parametrize(
    "body",
    [
        None,
        b"<html>\xff",
        sessions(ORIGIN.format("main"), ORIGIN.format("feature%2Fx")),
        sessions("fileId=https%3A%2F%2Fgithub.com.evil.org%2Fa%2Fb%2Fblob%2Fmain%2Fnotebooks%2FT1.ipynb"),
        *(sessions(ORIGIN.format(branch)) for branch in HOSTILE),
    ],
)
def test_without_one_address_that_can_be_trusted_the_release_is_cloned(body, opened):
    assert opened(body) == FALLBACK


def test_where_the_origin_cannot_be_cloned_gits_reason_is_printed_and_the_release_is_cloned(opened):
    failed, *others = opened(sessions(ORIGIN.format("gone")))
    assert failed.startswith("Cloning https://github.com/some/fork gone ")
    assert any("Remote branch gone not found" in line for line in [failed, *others])
    assert others[-2:] == FALLBACK


# ── what is installed ──


@pytest.mark.parametrize(
    ("problem", "line"),
    [
        ("", "dglib 0.1.0, no commit on record, from HERE; installed Jinja2>=3.1, nbstripout[x]>=0.8"),
        (
            "a warning\nERROR: No match\n",
            "could not install Jinja2>=3.1, nbstripout[x]>=0.8: ERROR: No match",
        ),
    ],
)
def test_only_missing_packages_are_installed_and_no_loaded_one_is_replaced(
    problem, line, tmp_path, monkeypatch, capsys
):
    calls = []

    def pip(words, **_):
        calls.append((words, Path(words[words.index("--constraint") + 1]).read_text()))
        return subprocess.CompletedProcess(words, int(bool(problem)), "", problem)

    monkeypatch.setattr(colab.provenance, "code", lambda: {"dglib": "0.1.0", "commit": None, "dirty": None})
    monkeypatch.setattr(colab, "_version", {"papermill": "2.7.0", "numpy": "2.1.3"}.get)
    monkeypatch.setattr(colab.subprocess, "run", pip)
    required = ["torch>=2.11", "numpy>=2.0", "Jinja2>=3.1", "papermill>=2.6", "nbstripout[x]>=0.8"]
    (tmp_path / "pyproject.toml").write_text(f"[project]\ndependencies = {required}")
    (tmp_path / "run_all.py").touch()
    colab.prepare(tmp_path)
    ((words, constraints),) = calls
    assert words[:4] == [sys.executable, "-m", "pip", "install"]
    assert words[words.index("--constraint") + 2 :] == ["Jinja2>=3.1", "nbstripout[x]>=0.8"]
    assert constraints == "numpy==2.1.3\n"
    assert capsys.readouterr().out.splitlines()[0].replace(str(tmp_path), "HERE").endswith(line)


def test_a_copy_whose_upload_was_cut_off_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"has no run_all.py: complete this copy of the project"):
        colab.prepare(tmp_path)


# ── a stand-in runtime ──

TINY = {
    "seeds": [1],
    "network_width": 0.25,
    "init_epochs": 4,
    "init_error_min": 0.0,
    "epochs_per_level": 1,
    "sweep_lambdas": [0.5, 0.4],
    "checkpoint_epochs": 1,
    "network": "held:network",
}
T2 = NOTEBOOKS / "T2_spinodal.ipynb"


@pytest.mark.slow
def test_a_killed_notebook_resumes_and_its_results_are_on_drive(tmp_path):
    runtime = Runtime(tmp_path / "runtime", repository_of(ROOT, tmp_path / "dglib.git", tag=f"v{VERSION}"))
    runtime.hold.touch()
    process = runtime.start(T2, **TINY)
    os.kill(wait_for(runtime.trained_by, "checkpoint", process), signal.SIGKILL)
    process.communicate()
    runtime.hold.unlink()
    made, results = runtime.first_cell()[-2:]
    clone = runtime.content / "dual-gradient-learning"
    assert re.fullmatch(rf"dglib {VERSION}, commit [0-9a-f]{{7}}, from {clone}; nothing was missing", made)
    process = runtime.start(T2, **TINY)
    _, problem = process.communicate()
    assert process.returncode == 0, problem
    assert runtime.first_cell() == [made, results], "neither mounted nor cloned again"
    (log,) = runtime.home.glob(".cache/dglib/*/exp_T_spinodal_*/attempts/T2-spinodal-001.jsonl")
    before, after = read_attempts(log)
    assert (before["found_step"], "how" in before) == (0, False)
    assert after["found_step"] > 0

    (file,) = runtime.results.glob("exp_T_spinodal_*/T2-spinodal_results.json")
    (record,) = json.loads(file.read_bytes())
    spec = build_spec("T2", load_profile("T2", "quick", [f"{name}={value}" for name, value in TINY.items()]))
    undisturbed = run_seed(spec, 1, digits(), Numerics.resolve("auto", 1))
    del record["provenance"]
    assert record | {"time": 0} == json.loads(json.dumps(undisturbed)) | {"time": 0}
    assert list(runtime.results.glob("exp_T_spinodal_*/figures/*.png")) != []
