"""The package as a whole: what an installation holds, and the direction of its imports."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]


def contract(project):
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as main; main()"]
    return subprocess.run(command, cwd=project, capture_output=True, text=True)


def test_an_import_against_the_direction_of_the_rooms_is_refused(tmp_path):
    shutil.copytree(ROOT / "dglib", tmp_path / "dglib", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    kept = contract(tmp_path)
    assert kept.returncode == 0, kept.stdout
    with (tmp_path / "dglib" / "training" / "step.py").open("a") as step:
        step.write("\nimport dglib.runs.store\n")
    broken = contract(tmp_path)
    assert broken.returncode == 1
    assert "dglib.training.step -> dglib.runs.store" in broken.stdout


def test_an_installation_holds_every_package_and_the_profiles():
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    files = [*(ROOT / "dglib").rglob("*.py"), *(ROOT / "dglib").rglob("*.j2")]
    folders = {".".join(path.parent.relative_to(ROOT).parts) for path in files}
    yaml = ROOT.glob("params/**/*.yaml")
    profiles = {".".join(["dglib", *path.parent.relative_to(ROOT).parts]) for path in yaml}
    assert sorted(packages) == sorted(folders | profiles | {"dglib.params"})


def test_the_test_files_that_ci_names_exist():
    named = re.findall(r"tests/\S+\.py", (ROOT / ".ci" / "run").read_text())
    assert len(named) > 10
    assert [name for name in named if not list(ROOT.glob(name))] == []


# ── the core works where only torch, numpy and filelock are, as on many machines that train ──

BLOCKED = ["pandas", "papermill", "pydantic", "ipywidgets", "matplotlib", "torchvision", "sklearn"]

SCRIPT = f"""
import sys
import tempfile
from pathlib import Path

for name in {BLOCKED}:
    sys.modules[name] = None  # importing it raises ImportError
import dglib
assert "torch" not in sys.modules, "import dglib loads torch"

sys.path.append({str(ROOT / "tests")!r})
from small import CPU, open_store, random_data, small_spec
from dglib.runs.seed import run_experiment

spec, data = small_spec("Td1", batch_size=8), random_data()
record = dglib.run_seed(spec, 0, data, CPU)
assert record["outcome"] in ("trapped_90", "partial_collapse", "ordered"), record["outcome"]
with tempfile.TemporaryDirectory() as base:
    again = run_experiment(open_store(Path(base), spec, data)[0], [0], data, CPU)
    assert [{{**r, "time": 0}} for r in again] == [{{**record, "time": 0}}]
assert [name for name in {BLOCKED} if sys.modules.get(name) is not None] == []
try:
    dglib.load_profile("T1")
except ImportError as error:
    print(error)  # the packages are blocked
"""


def test_the_core_trains_and_stores_a_seed_without_the_rest_of_the_suite(tmp_path):
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("import of pydantic halted")
