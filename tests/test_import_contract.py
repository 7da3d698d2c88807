"""The rooms import in one direction; CI checks it, and this test checks that the check can fail."""

import shutil
import subprocess
import sys
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
