"""Every notebook in a stand-in for Colab: from a fresh runtime, after a kill, and on a new machine.

    python tests/colab_campaign.py --place DIRECTORY --json result.json

Makes an environment with the versions of Colab's image as far as they install (kept below --place for the
next time) and says which did not. Then, on one user's Drive: each experiment's notebook is run from a clone
of the last commit at its tag, its kernel is killed in the middle of a seed, and it is run again; the report
and the explorer follow. On a new machine all are run once more, from a copy of the project in Drive. Exits
with status 1 and a line for each promise that is broken. About ten minutes on two cores.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import platform
import shutil
import subprocess
import sys
from datetime import UTC, datetime
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
WIDGET = "application/vnd.jupyter.widget-view+json"  # the bar, or the explorer
WITHOUT_PARAMETERS = ("Hysteresis_report", "Lambda_explorer")


def make_environment(place: Path) -> tuple[Path, list[str]]:
    """An environment like Colab's in `place`, made where it is not there; its interpreter, and what it lacks.

    Where Python 3.13 or torch cannot be had, this environment with Colab's widgets stands in.
    """
    python, asked = place / "bin" / "python", shutil.which(f"python{PYTHON}")
    lacking = place / "lacking.json"
    if lacking.exists():
        return python, json.loads(lacking.read_text())
    shutil.rmtree(place, ignore_errors=True)
    missing = [] if asked else [f"Python {PYTHON}; {platform.python_version()} in its place"]
    done = subprocess.run([asked or sys.executable, "-m", "venv", str(place)])
    for name in IMAGE if done.returncode == 0 else ():
        print("installing", name, flush=True)
        done = subprocess.run([str(python), "-m", "pip", "install", "--quiet", name], capture_output=True)
        if done.returncode != 0:
            missing.append(name)
    if not python.exists() or any(name.startswith("torch") for name in missing):
        from second_environment import make_second_environment

        shutil.rmtree(place, ignore_errors=True)
        make_second_environment(place)
        missing = ["all but ipywidgets, since torch of that version could not be had"]
    lacking.write_text(json.dumps(missing))
    return python, missing


def versions(python: Path) -> dict[str, str]:
    """What is installed there of the image, and papermill, by name."""
    names = [name.partition("=")[0] for name in IMAGE] + ["papermill"]
    code = (
        "import importlib.metadata as m, json, platform, sys\n"
        "found = {d.metadata['Name'].lower(): d.version for d in m.distributions()}\n"
        "told = {name: found.get(name.lower(), 'none') for name in sys.argv[1:]}\n"
        "print(json.dumps({'python': platform.python_version(), **told}))"
    )
    done = subprocess.run([str(python), "-c", code, *names], capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout))


def campaign(python: Path, place: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """What was seen, a row per notebook, and the promises that were broken."""
    repository, checkout = place / "dglib.git", place / "checkout"
    _, version = project()
    for words in (
        ["clone", "--quiet", "--bare", f"file://{ROOT}", str(repository)],
        ["-C", str(repository), "tag", "--force", f"v{version}", "HEAD"],
        ["clone", "--quiet", "--branch", f"v{version}", f"file://{repository}", str(checkout)],
    ):
        subprocess.run(["git", *words], check=True, capture_output=True)
    runtime = Runtime(place / "runtime", f"file://{repository}", python)
    rows, broken = [], []
    for experiment in SHORT:
        print(f"{experiment}: killed in a seed, and run again", flush=True)
        rows.append(killed_and_again(runtime, checkout, experiment))
    for name in WITHOUT_PARAMETERS:
        print(name, flush=True)
        rows.append({"notebook": name, **told(runtime.run_all(notebook(checkout, name)), runtime)})
    for row in rows:
        row["shows"] = runtime.shown(notebook(checkout, row["notebook"]))
        if row["notebook"] != "Hysteresis_report" and WIDGET not in row["shows"]:
            broken.append(f"{row['notebook']}: shows no widget")

    print("a new machine, with a copy of the project in Drive", flush=True)
    before = records(runtime.results)
    copy_project(checkout, runtime.drive / "dual-gradient-learning" / "dglib")
    runtime.new_machine()
    for row, experiment in zip(rows, [*SHORT, None, None], strict=True):
        given = SHORT[experiment] if experiment else {}
        row["on_a_new_machine"] = told(runtime.run_all(notebook(checkout, row["notebook"]), **given), runtime)
        if not row["made_by"]:
            broken.append(f"{row['notebook']}: does not say by what it was made")
        if "from /content/drive/MyDrive/" not in row["on_a_new_machine"]["first_cell"][-1]:
            broken.append(f"{row['notebook']}: not taken from the copy in Drive")
    after = records(runtime.results)
    if after != before:
        broken.append("a new machine changed records, or made them again")

    print("undisturbed, in the same environment", flush=True)
    for row, experiment in zip(rows, SHORT, strict=False):
        alone = undisturbed(python, checkout, place / "undisturbed", experiment)
        row["records_as_undisturbed"] = alone == {
            name: results(record) for name, record in after.items() if name in alone
        }
        row["seeds"] = len(alone)
        if not row["records_as_undisturbed"] or not alone:
            broken.append(f"{experiment}: records differ from those of an undisturbed run")
        if row["went_on_from_step"] in (None, 0):
            broken.append(f"{experiment}: the killed seed began anew")
    return rows, broken


def killed_and_again(runtime: Runtime, checkout: Path, experiment: str) -> dict[str, Any]:
    source, given = notebook(checkout, NAMES[experiment]), SHORT[experiment]
    killed = runtime.kill_in_a_seed(runtime.start(source, **given), epochs=4)
    first = told(runtime.printed(source), runtime)["first_cell"]
    again = told(runtime.run_all(source, **given), runtime)
    seed = int(killed.split()[2].rstrip(","))
    logs = runtime.home.glob(f".cache/dglib/*/exp_*/attempts/{experiment}*{seed}.jsonl")
    steps = [attempt["found_step"] for log in logs for attempt in read_attempts(log)]
    return {
        "notebook": source.stem,
        "first_cell_of_a_fresh_runtime": first,
        "killed_in": killed,
        "went_on_from_step": steps[-1] if len(steps) == 2 else None,
        **again,
    }


def told(printed: list[str], runtime: Runtime) -> dict[str, Any]:
    """The first cell's lines, the line on what it was made by, and the last cell's text."""
    places = {str(runtime.content): "/content", str(runtime.home): "/root"}  # as they are called in Colab
    clean = [functools.reduce(lambda said, place: said.replace(*place), places.items(), t) for t in printed]
    lines = [line for text in clean for line in text.splitlines()]
    made = [line for line in lines if "made by" in line]
    return {"first_cell": clean[0].splitlines(), "made_by": made, "last_cell": clean[-1].strip()}


def notebook(checkout: Path, name: str) -> Path:
    return checkout / "notebooks" / f"{name}.ipynb"


def records(base: Path) -> dict[str, dict[str, Any]]:
    """All records below a base directory, by experiment and seed."""
    found = [r for path in base.glob("exp_*/*_results.json") for r in json.loads(path.read_bytes())]
    return {record["experiment_id"]: record for record in found}


def results(record: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name not in ("time", "provenance")}


def undisturbed(python: Path, checkout: Path, base: Path, experiment: str) -> dict[str, dict[str, Any]]:
    """The results of the same seeds, run from the command line without a kill."""
    file = base.with_name(f"{experiment}.json")
    file.write_text(json.dumps(SHORT[experiment]))
    words = ["run", experiment, "--profile", "quick", "--file", str(file), "--base-dir", str(base)]
    environment = os.environ | {"PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1"}
    done = subprocess.run(
        [str(python), "-m", "dglib", *words], cwd=file.parent, env=environment, capture_output=True, text=True
    )
    if done.returncode != 0:
        raise RuntimeError(f"{experiment}: {done.stderr}")
    of = {name: results(record) for name, record in records(base).items()}
    return {name: record for name, record in of.items() if record["experiment"] == experiment}


def machine() -> str:
    """The machine in words, without its name."""
    model = platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(
            (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), model
        )
    return f"{os.cpu_count()} cores {model}, {platform.system()}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--place", type=Path, required=True, help="an empty directory, or the one of a run before"
    )
    parser.add_argument("--json", type=Path, help="where the result goes")
    options = parser.parse_args()
    place = options.place.absolute()
    python, missing = make_environment(place / "environment")
    pip = python.with_name("pip")
    if pip.exists():  # of its own: the first cell shall bring papermill
        subprocess.run([str(pip), "uninstall", "--quiet", "--yes", "papermill"], check=True)
    before = versions(python)
    shutil.rmtree(place / "work", ignore_errors=True)
    (place / "work").mkdir()
    rows, broken = campaign(python, place / "work")
    git = ["git", "-C", str(place / "work" / "checkout"), "rev-parse", "--short", "HEAD"]
    head = subprocess.run(git, capture_output=True, text=True, check=True)
    found = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine(),
        "command": "python tests/colab_campaign.py",
        "commit": head.stdout.strip(),
        "environment": before,
        "not_as_in_colab": [*missing, "no GPU", "google.colab and Drive are played"],
        "installed_by_the_first_cell": {k: v for k, v in versions(python).items() if before.get(k) != v},
        "notebooks": rows,
        "broken": broken,
    }
    if options.json is not None:
        options.json.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(*(broken or ["every promise held"]), sep="\n")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
