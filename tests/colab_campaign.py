"""Every notebook in a stand-in for Colab: from a fresh runtime, after a kill, and on a new machine.

    python tests/colab_campaign.py --place DIRECTORY

Makes an environment with the versions of Colab's image as far as they install (reused in the same DIRECTORY)
and prints which did not. Then, on one user's Drive: each experiment's notebook is run from a clone of the
last commit, its kernel is killed in the middle of a seed, and it is run again; the report and the explorer
follow. On a new machine all are run once more, from a copy of the project in Drive. Exits with status 1 and a
line for each property that does not hold. About ten minutes on two cores.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from by_name import NAMES

sys.path.insert(0, str(Path(__file__).parent.parent))

from stand_in_colab import ROOT, Runtime, copy_project
from update_notebooks import project

from dglib.runs.progress import read_attempts

PYTHON = "3.13"
# Of the image of August 2026, in the order in which they are installed; papermill is not among them.
IMAGE = (
    "numpy==2.1.*", "pandas==2.2.*", "matplotlib==3.10.*", "ipykernel==6.17.*", "ipython==7.34.*",
    "ipywidgets==7.7.1", "pydantic==2.13.*", "filelock==3.32.*", "tqdm", "jupytext", "scipy", "scikit-learn",
    "psutil", "PyYAML", "Jinja2", "torch==2.11.*", "torchvision==0.26.*",
)  # fmt: skip
COMMON = {"seeds": [0, 1], "checkpoint_epochs": 1, "epochs_per_level": 1}
SHORT: dict[str, dict[str, Any]] = {
    "T1": {**COMMON, "init_epochs": 12, "init_error_max": 1.0, "sweep_lambdas": [0.5, 0.6]},
    "T2": {**COMMON, "init_epochs": 12, "init_error_min": 0.0, "sweep_lambdas": [0.5, 0.4]},
    "V3": {
        **COMMON,
        **{"ordered_epochs": 8, "ordered_error_max": 1.0, "ordered_milestones": [6]},
        **{"collapse_epochs": 4, "collapse_error_min": 0.0, "collapse_milestones": [3]},
        "sweep_lambdas": [0.3, 0.5],
    },
    "Td1": {"seeds": [0, 1], "checkpoint_epochs": 1, "init_epochs": 12, "milestones": [8]},
}
OTHERS = ("Hysteresis_report", "Lambda_explorer")
WIDGET = "application/vnd.jupyter.widget-view+json"  # the bar, or the explorer


def make_environment(place: Path) -> Path:
    """The interpreter of an environment like Colab's in `place`, made where it is not there."""
    python = place / "bin" / "python"
    if not python.exists():
        subprocess.run(
            [shutil.which(f"python{PYTHON}") or sys.executable, "-m", "venv", str(place)], check=True
        )
        for name in IMAGE:
            done = subprocess.run([str(python), "-m", "pip", "install", "--quiet", name], capture_output=True)
            print("installed" if done.returncode == 0 else "NOT installed", name, flush=True)
    # The first cell shall bring papermill.
    subprocess.run([str(python), "-m", "pip", "uninstall", "--quiet", "--yes", "papermill"], check=True)
    return python


def campaign(python: Path, place: Path) -> list[str]:
    """The properties that do not hold."""
    repository, checkout = place / "dglib.git", place / "checkout"
    _, version = project()
    for words in (
        ["clone", "--quiet", "--bare", f"file://{ROOT}", str(repository)],
        ["-C", str(repository), "tag", "--force", f"v{version}", "HEAD"],
        ["clone", "--quiet", "--branch", f"v{version}", f"file://{repository}", str(checkout)],
    ):
        subprocess.run(["git", *words], check=True, capture_output=True)
    runtime = Runtime(place / "runtime", f"file://{repository}", python)
    notebooks = {
        name: checkout / "notebooks" / f"{NAMES.get(name, name)}.ipynb" for name in (*SHORT, *OTHERS)
    }
    broken = []
    for name, notebook in notebooks.items():
        print(name, flush=True)
        if name in SHORT:
            seed = int(
                runtime.kill_in_a_seed(runtime.start(notebook, **SHORT[name]), epochs=4).split()[2][:-1]
            )
        printed = runtime.run_all(notebook, **SHORT.get(name, {}))
        if name in SHORT:
            (log,) = runtime.home.glob(f".cache/dglib/*/exp_*/attempts/{name}*{seed}.jsonl")
            if not read_attempts(log)[-1]["found_step"]:
                broken.append(f"{name}: the killed seed began anew")
        if not any("made by" in text for text in printed):
            broken.append(f"{name}: does not print by what it was made")
        if name != "Hysteresis_report" and WIDGET not in runtime.shown(notebook):
            broken.append(f"{name}: shows no widget")

    print("a new machine, with a copy of the project in Drive", flush=True)
    before = records(runtime.results)
    copy_project(checkout, runtime.drive / "dual-gradient-learning" / "dglib")
    runtime.new_machine()
    for name, notebook in notebooks.items():
        first, *_ = runtime.run_all(notebook, **SHORT.get(name, {}))
        if "/drive/MyDrive/" not in first.splitlines()[-1]:
            broken.append(f"{name}: not taken from the copy in Drive")
    if records(runtime.results) != before:
        broken.append("a new machine changed records, or trained them again")

    print("undisturbed, in the same environment", flush=True)
    for name, given in SHORT.items():
        file = place / f"{name}.json"
        file.write_text(json.dumps(given))
        words = [
            "run",
            name,
            "--profile",
            "quick",
            "--file",
            str(file),
            "--base-dir",
            str(place / "undisturbed"),
        ]
        environment = os.environ | {"PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1"}
        subprocess.run([str(python), "-m", "dglib", *words], cwd=place, env=environment, check=True)
    if records(place / "undisturbed") != before:
        broken.append("records differ from those of undisturbed runs")
    return broken


def records(base: Path) -> dict[str, dict[str, Any]]:
    """The results of all records below a base directory, by experiment and seed."""
    found = [r for path in base.glob("exp_*/*_results.json") for r in json.loads(path.read_bytes())]
    return {r["experiment_id"]: {k: r[k] for k in r.keys() - {"time", "provenance"}} for r in found}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--place", type=Path, required=True, help="an empty directory, or that of a run before"
    )
    place = parser.parse_args().place.absolute()
    python = make_environment(place / "environment")
    shutil.rmtree(place / "work", ignore_errors=True)
    (place / "work").mkdir(parents=True)
    broken = campaign(python, place / "work")
    print(*(broken or ["every property holds"]), sep="\n")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
