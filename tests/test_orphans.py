"""run_all killed outright: its processes stop all the same, after a checkpoint."""

import json
import subprocess
import sys
from pathlib import Path

import nbformat
import psutil
import pytest
from cluster_cases import PATIENCE, RUN_ALL, TINY, is_gone, wait_for
from held import held_up

COMMAND = [sys.executable, RUN_ALL, "--only", "T2", "--seeds", "0", "--base-dir", "runs", "--set"]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, value in held_up(tmp_path / "hold").items():
        monkeypatch.setenv(name, value)


def status() -> str:
    """The status that another process prints."""
    command = [sys.executable, RUN_ALL, "status", "--base-dir", "runs"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.mark.slow
def test_a_killed_run_all_leaves_no_process_and_a_checkpoint() -> None:
    Path("hold").touch()
    command = [*COMMAND, *TINY, "init_epochs=4"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for(lambda: list(Path("runs").glob("*/heartbeats/T2-spinodal-000.json")), "heartbeat")
    family = psutil.Process(process.pid).children(recursive=True)
    assert any("dglib.campaign.worker" in each.cmdline() for each in family)
    (line,) = [line for line in status().splitlines() if line.startswith("T2 seed 0: ")]
    assert line.startswith("T2 seed 0: running: ")
    process.kill()
    process.wait()
    wait_for(lambda: all(map(is_gone, family)), "end of the processes")
    assert list(Path("runs").glob("*/checkpoints/T2-spinodal-000.ckpt"))
    assert status().splitlines() == [
        "T2 seed 0: lost: the same command resumes",
        "2 jobs: 1 lost, 1 waiting; no campaign runs the waiting ones: the same command resumes",
    ]
    assert list(Path("runs").glob("*/seeds/*")) == []


WORKER_OF_ENDLESS = """
from pathlib import Path
from dglib.campaign import worker
from dglib.experiments import get
from dglib.experiments.profiles import load_profile
worker.NOTEBOOKS, get("T2").notebook = Path.cwd(), "endless"
worker._parameters = lambda job: load_profile("T2", "quick")
raise SystemExit(worker.main())
"""


def test_a_worker_whose_parent_ends_stops_its_kernel() -> None:
    cell = "import pathlib, time; pathlib.Path('begun').touch(); time.sleep(600)"
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell)])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, "endless.ipynb")
    base = Path.cwd() / "runs"
    job = {"kind": "summary", "experiment": "T2", "base": str(base), "key": "", "log": str(base / "log")}
    process = subprocess.Popen(
        [sys.executable, "-c", WORKER_OF_ENDLESS],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    process.stdin.write(json.dumps(job) + "\n")
    process.stdin.flush()
    wait_for((base / "executed" / "begun").exists, "cell that runs")
    (kernel,) = psutil.Process(process.pid).children()
    assert process.poll() is None
    out, err = process.communicate(timeout=PATIENCE)  # closes its stdin, as the end of the parent would
    assert (process.returncode, json.loads(out)) == (130, {"stopped": True, "last": True}), err
    wait_for(lambda: is_gone(kernel), "end of the kernel")
    assert [path.name for path in base.joinpath("executed").glob("*.ipynb")] == ["endless.ipynb"]
