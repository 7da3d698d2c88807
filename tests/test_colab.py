"""Colab: the notebooks' first cell and badges, and notebooks in a simulated Colab runtime."""

import io
import json
import os
import re
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path
from types import ModuleType

import nbformat
import pytest
from cluster_cases import attempts, serial
from stand_in_colab import in_place, repository_of
from update_notebooks import badge, first_cell, project

from dglib import colab
from dglib.errors import UserError

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


def sessions(*paths):
    return json.dumps([{"path": path, "name": "T1_spinodal.ipynb", "kernel": {}} for path in paths]).encode()


@pytest.fixture
def clones(tmp_path, monkeypatch):
    """The (address, branch) of each clone that the first cell tries where Colab lists these sessions."""

    def run(body):
        calls = []

        def git(words, **_):
            *_, branch, end_of_options, address, _target = words
            assert end_of_options == "--"
            calls.append((address, branch))
            return subprocess.CompletedProcess(words, 128, "", "fatal: not found")

        def listed(address, timeout):
            return io.BytesIO(body)

        for name in ("google", "google.colab"):
            monkeypatch.setitem(sys.modules, name, ModuleType(name))
        monkeypatch.setattr(sys, "path", [*sys.path])
        monkeypatch.setattr(urllib.request, "urlopen", listed)
        monkeypatch.setattr(subprocess, "run", git)
        monkeypatch.setattr(colab, "prepare", lambda: None)
        exec(in_place(CELL, tmp_path), {})
        return calls

    return run


RELEASE = (ADDRESS, f"v{VERSION}")


def test_the_code_is_cloned_from_where_the_notebook_was_opened_or_gits_reason_printed(clones, capsys):
    assert clones(sessions(ORIGIN.format("feature%2Fx"))) == [
        ("https://github.com/some/fork", "feature/x"),
        RELEASE,
    ]
    first, second = capsys.readouterr().out.splitlines()
    assert first == "Cloning https://github.com/some/fork feature/x fatal: not found"
    unknown = "(the repository of this notebook is unknown or unreadable)"
    assert second == f"Cloning {ADDRESS} v{VERSION} {unknown} fatal: not found"


@pytest.mark.parametrize(
    "body",
    [
        b"<html>\xff",
        sessions(ORIGIN.format("main"), ORIGIN.format("feature%2Fx")),
        sessions("fileId=1AbC"),
        sessions("fileId=https%3A%2F%2Fgithub.com.evil.org%2Fa%2Fb%2Fblob%2Fmain%2Fnotebooks%2FT1.ipynb"),
        *(
            sessions(ORIGIN.format(branch))
            for branch in ("--upload-pack=touch pwned", "$(touch pwned)", "x\n")
        ),
    ],
)
def test_without_one_address_that_can_be_trusted_the_release_is_cloned(body, clones):
    assert clones(body) == [RELEASE]


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
def test_only_missing_packages_are_installed(problem, line, tmp_path, monkeypatch, capsys):
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


# ── a whole notebook ──

TINY = {"seeds": [1], "network_width": 0.25, "init_epochs": 4, "init_error_min": 0.0, "epochs_per_level": 1}
TINY |= {"sweep_lambdas": [0.5, 0.4], "checkpoint_epochs": 1}
DIE = """
from dglib.runs import checkpoint
save = checkpoint.save
checkpoint.save = lambda *given, **options: (save(*given, **options), os._exit(9))
"""


@pytest.mark.slow
def test_a_killed_notebook_resumes_and_its_results_are_on_drive(python, tmp_path):
    cells = nbformat.read(NOTEBOOKS / "T2_spinodal.ipynb", as_version=4).cells
    first, defaults, *rest = (cell.source for cell in cells if cell.cell_type == "code")
    changes = "\n".join(f"{name} = {value!r}" for name, value in TINY.items())
    repository = repository_of(ROOT, tmp_path / "dglib.git", tag=f"v{VERSION}")
    fonts = str(tmp_path / "fonts")  # finding all fonts takes a while
    environment = {"HOME": str(tmp_path), "MPLCONFIGDIR": fonts, "DGLIB_REPOSITORY": repository}
    killed = python(GOOGLE, first, defaults, changes, DIE, *rest, **environment)
    assert re.search(
        rf"dglib {VERSION}, commit [0-9a-f]{{7}}, from /content/dual-gradient-learning; ", killed
    )
    resumed = python(GOOGLE, first, defaults, changes, *rest, **environment)
    assert "asked for" in killed
    assert "asked for" not in resumed, "neither mounted nor cloned again"
    assert "Cloning" not in resumed
    (local,) = tmp_path.glob(".cache/dglib/*")
    before, after = attempts(local)["T2-spinodal-001"]
    assert (before["found_step"], "how" in before) == (0, False)
    assert after["found_step"] > 0
    results = python.content / "drive/MyDrive/dual-gradient-learning/Paper-A"
    (file,) = results.glob("exp_T_spinodal_*/T2-spinodal_results.json")
    (record,) = json.loads(file.read_bytes())
    expected = serial("T2", 1, [f"{name}={value}" for name, value in TINY.items()])
    assert {**expected, "time": record["time"], "provenance": record["provenance"]} == record
    assert list(results.glob("exp_T_spinodal_*/figures/*.png")) != []
