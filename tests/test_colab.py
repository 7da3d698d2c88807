"""Colab: the notebooks' first cell and badges, and notebooks in a stand-in for a Colab runtime."""

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from small import digits
from stand_in_colab import Runtime, copy_project, repository_of
from update_notebooks import project

import dglib
from dglib import colab
from dglib.attempts import read_attempts
from dglib.campaign.jobs import NOTEBOOKS
from dglib.experiments import build_spec
from dglib.experiments.profiles import load_profile
from dglib.numerics import Numerics
from dglib.runner import run_seed

SCRIPTS = sorted(NOTEBOOKS.glob("*.py"))
ADDRESS, VERSION = project()

every_notebook = pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)


def cells_of(script):
    return nbformat.read(script.with_suffix(".ipynb"), as_version=4).cells


def first_code_cell(script):
    return next(cell.source for cell in cells_of(script) if cell.cell_type == "code")


# ── what stands in the notebooks ──


def test_address_and_version_stand_in_one_place():
    assert re.fullmatch(r"https://github\.com/[\w.-]+/[\w.-]+", ADDRESS)
    assert dglib.__version__ == VERSION


@every_notebook
def test_each_notebook_begins_with_the_same_cell_of_the_projects_address_and_version(script):
    source = first_code_cell(script)
    assert source == colab.first_cell(ADDRESS, VERSION)
    assert f'"{ADDRESS}"' in source
    assert f'"v{VERSION}"' in source


@every_notebook
def test_the_first_cell_stands_before_the_parameters_and_names_nothing_that_passes_for_one(script):
    numbered = [cell for cell in cells_of(script) if cell.cell_type == "code"]
    assert "parameters" in numbered[1].metadata.get("tags", [])
    tree = ast.parse(numbered[0].source)
    stored = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)} | {
        n.name for n in ast.walk(tree) if isinstance(n, ast.ExceptHandler) and n.name
    }
    assert {name for name in stored if not name.startswith("_")} == set()


@every_notebook
def test_each_notebook_has_the_badge_that_opens_it(script):
    place = ADDRESS.removeprefix("https://github.com/")
    link = f"https://colab.research.google.com/github/{place}/blob/main/notebooks/{script.stem}.ipynb"
    title, blank, badge = cells_of(script)[0].source.splitlines()[:3]
    assert title.startswith("# ")
    assert blank == ""
    assert badge == colab.badge(ADDRESS, script.stem)
    assert badge.endswith(f"({link})")


def test_the_readmes_badges_open_notebooks_that_are_there():
    readme = (NOTEBOOKS.parent / "README.md").read_text(encoding="utf-8")
    badges = re.findall(r"\[!\[Open in Colab\]\([^)]*\)\]\([^)]*\)", readme)
    assert set(badges) <= {colab.badge(ADDRESS, script.stem) for script in SCRIPTS}
    assert len(re.findall(r"colab\.research\.google\.com/github", readme)) == len(badges)


def test_outside_colab_the_cell_does_nothing(tmp_path):
    script = f"{colab.first_cell(ADDRESS, VERSION)}\nprint(sorted(n for n in globals() if n[:2] != '__'))"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout == "['Path', 'importlib', 'os', 'shutil', 'subprocess', 'sys']\n"
    assert list(tmp_path.iterdir()) == []


def test_in_colab_too_the_cell_does_nothing_where_the_project_is_found_as_in_run_alls_own_kernels(tmp_path):
    """There nobody could answer whether Drive may be mounted."""
    cell = colab.first_cell(ADDRESS, VERSION)
    in_colab = "import sys; sys.modules['google.colab'] = None"  # importing from it raises
    script = f"{in_colab}\n{cell}\nimport dglib.colab"
    environment = os.environ | {"PYTHONPATH": str(NOTEBOOKS.parent), "DGLIB_CONTENT": str(tmp_path / "none")}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_happens_to_be_called_dglib_is_not_taken_for_the_project(tmp_path):
    (tmp_path / "dglib").mkdir()
    script = (
        "import importlib.util, sys\n"
        "sys.meta_path[:] = [finder for finder in sys.meta_path if 'dglib' not in finder.__module__]\n"
        "print(getattr(importlib.util.find_spec('dglib'), 'origin', None))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout == "None\n"
    assert 'getattr(importlib.util.find_spec("dglib"), "origin", None) is None' in colab.first_cell(
        ADDRESS, VERSION
    )


# ── what is installed ──


@pytest.fixture
def here(monkeypatch):
    """The packages that are here, by name with version; everything else is missing. Changes take effect."""
    monkeypatch.setattr(colab.provenance, "code", lambda: {"dglib": "0.1.0", "commit": None, "dirty": None})
    found = {"papermill": "2.7.0", "numpy": "2.1.3"}
    monkeypatch.setattr(colab, "_version", found.get)
    return found


@pytest.fixture
def pip(monkeypatch):
    """pip's calls, as (words, constraints); set `problem` for what it says when it fails."""

    class Pip:
        calls, problem = [], ""

        def run(self, words, **options):
            constraints = Path(words[words.index("--constraint") + 1]).read_text()
            self.calls.append((words, constraints))
            return subprocess.CompletedProcess(words, int(bool(self.problem)), "", self.problem)

    monkeypatch.setattr(colab.subprocess, "run", (fake := Pip()).run)
    return fake


def requirements(tmp_path, text):
    (tmp_path / "requirements.txt").write_text(text)
    return tmp_path


def test_only_what_is_missing_is_installed_and_what_a_kernel_holds_is_kept_at_its_version(
    tmp_path, here, pip
):
    text = "torch>=2.11\nnumpy>=2.0\nJinja2>=3.1\npapermill>=2.6\nnbstripout[x]>=0.8\n# no\n-e .\n"
    line = colab.prepare(requirements(tmp_path, text))
    ((words, constraints),) = pip.calls
    assert words[:4] == [sys.executable, "-m", "pip", "install"]
    assert words[words.index("--constraint") + 2 :] == ["Jinja2>=3.1", "nbstripout[x]>=0.8"]
    assert constraints == "numpy==2.1.3\n"
    assert line.endswith(f", from {tmp_path}; installed Jinja2>=3.1, nbstripout[x]>=0.8")


@pytest.mark.parametrize("name", ["numpy", "pandas", "ipykernel", "ipywidgets", "torch", "torchvision"])
def test_what_would_break_a_running_kernel_is_never_installed_even_where_it_is_missing(
    name, tmp_path, here, pip
):
    here.clear()
    assert colab.prepare(requirements(tmp_path, f"{name}>=2\n")).endswith("; nothing was missing")
    assert pip.calls == []


def test_where_nothing_is_missing_pip_is_not_called(tmp_path, here, pip):
    assert colab.prepare(requirements(tmp_path, "papermill>=9\n")).endswith("; nothing was missing")
    assert pip.calls == []


def test_what_cannot_be_installed_is_told_in_pips_words_and_the_notebook_goes_on(tmp_path, here, pip):
    pip.problem = "a warning\nERROR: No matching distribution found for x\n"
    line = colab.prepare(requirements(tmp_path, "x\n"))
    assert line.endswith("; could not install x: ERROR: No matching distribution found for x")


def test_the_line_says_which_code_was_taken_from_where(tmp_path, here):
    line = colab.prepare(requirements(tmp_path, ""))
    assert line == f"dglib 0.1.0, no commit on record, from {tmp_path}; nothing was missing"


def test_every_package_that_the_suite_needs_is_here():
    assert colab.missing(NOTEBOOKS.parent / "requirements.txt") == []


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


@pytest.fixture(scope="module")
def story(tmp_path_factory):
    """What T2's cells print: killed in its seed, run again, and run on a new machine from a copy in Drive."""
    place = tmp_path_factory.mktemp("colab")
    runtime = Runtime(place / "runtime", repository_of(NOTEBOOKS.parent, place / "dglib.git", tag=None))
    runtime.hold.touch()
    told = {"killed at": runtime.kill_in_a_seed(runtime.start(T2, **TINY), epochs=1)}
    runtime.hold.unlink()
    told["killed"] = runtime.printed(T2)
    told["again"] = runtime.run_all(T2, **TINY)
    (log,) = runtime.home.glob(".cache/dglib/*/exp_T_spinodal_*/attempts/T2-spinodal-001.jsonl")
    told["attempts"] = read_attempts(log)
    runtime.new_machine()
    copy_project(NOTEBOOKS.parent, runtime.drive / "dual-gradient-learning" / "dglib")
    told["new machine"] = runtime.run_all(T2, **TINY)
    return runtime, told


@pytest.mark.slow
def test_a_fresh_runtime_mounts_drive_and_clones_the_default_branch_where_the_tag_is_not_there(story):
    runtime, told = story
    said, line = told["killed"][0].strip().splitlines()
    assert f"Remote branch v{VERSION} not found" in said
    assert said.endswith(" - taking the default branch instead")
    clone = runtime.content / "dual-gradient-learning"
    assert re.fullmatch(rf"dglib {VERSION}, commit [0-9a-f]{{7}}, from {clone}; nothing was missing", line)


@pytest.mark.slow
def test_after_a_kill_run_all_goes_on_where_the_seed_stood_without_mounting_or_cloning_again(story):
    _, told = story
    assert told["killed at"].startswith("T2 seed 1, epoch ")
    (line,) = told["again"][0].strip().splitlines()
    assert line == told["killed"][0].strip().splitlines()[-1]
    killed, again = told["attempts"]
    assert killed["found_step"] == 0
    assert "how" not in killed
    assert again["found_step"] > 0
    assert again["how"] == "done"


@pytest.mark.slow
def test_results_lie_in_drive_and_are_those_of_an_undisturbed_run(story):
    runtime, _ = story
    (file,) = runtime.results.glob("exp_T_spinodal_*/T2-spinodal_results.json")
    (record,) = json.loads(file.read_bytes())
    spec = build_spec("T2", load_profile("T2", "quick", [f"{name}={value}" for name, value in TINY.items()]))
    whole = run_seed(spec, 1, digits(), Numerics.resolve("auto", 1))
    del record["provenance"]
    assert record | {"time": 0} == json.loads(json.dumps(whole)) | {"time": 0}
    assert list(runtime.results.glob("exp_T_spinodal_*/figures/*.png")) != []


@pytest.mark.slow
def test_a_new_machine_takes_the_copy_in_drive_and_the_finished_seed_from_there(story):
    runtime, told = story
    first, made, answer = told["new machine"][0], told["new machine"][3], told["new machine"][5]
    copy = runtime.content / "drive/MyDrive/dual-gradient-learning/dglib"
    assert first == f"dglib {VERSION}, no commit on record, from {copy}; nothing was missing\n"
    assert "T2: resuming exp_T_spinodal_" in made
    assert f"made by dglib {VERSION}, no commit on record, Python " in made
    assert "\nseed 1: made by dglib" in made, "it was made by a commit, and this copy has none"
    assert answer == told["again"][5]
    assert not (runtime.content / "dual-gradient-learning").exists(), "nothing was cloned"
