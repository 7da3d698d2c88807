"""run_all killed outright: its processes stop all the same, after a checkpoint."""

import json
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import nbformat
import psutil
import pytest
from held import held_up

from dglib.experiments.profiles import PARAMS

RUN_ALL = PARAMS.parent / "run_all.py"
COMMAND = [sys.executable, RUN_ALL, "--only", "T2", "--seeds", "0", "--base-dir", "runs", "--set"]
TINY = [
    "network_width=0.25",
    "init_epochs=4",
    "epochs_per_level=1",
    "sweep_lambdas=[0.5]",
    "init_error_min=0",
    "network=held:network",
]
PATIENCE = 120  # seconds, on a loaded machine


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, value in held_up(tmp_path / "hold").items():
        monkeypatch.setenv(name, value)


def wait_for(pattern: str) -> Path:
    deadline = time.monotonic() + PATIENCE
    while not (found := list(Path.cwd().glob(pattern))):
        assert time.monotonic() < deadline, f"no {pattern}"
        time.sleep(0.02)
    return found[0]


def is_gone(process: psutil.Process) -> bool:
    """Whether the process has ended, be it that nobody has collected it."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def wait_for_ends(processes: list[psutil.Process]) -> None:
    """Until they are gone: one that was killed takes a moment, longer on a loaded machine."""
    deadline = time.monotonic() + PATIENCE
    while left := [each for each in processes if not is_gone(each)]:
        assert time.monotonic() < deadline, left
        time.sleep(0.05)


def status() -> str:
    """The status that another process prints."""
    command = [sys.executable, RUN_ALL, "status", "--base-dir", "runs"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.mark.slow
def test_a_killed_run_all_leaves_no_process_and_a_checkpoint() -> None:
    Path("hold").touch()
    process = subprocess.Popen([*COMMAND, *TINY], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for("runs/*/heartbeats/T2-spinodal-000.json")
    family = psutil.Process(process.pid).children(recursive=True)
    assert any("dglib.campaign.worker" in each.cmdline() for each in family)
    (line,) = [each for each in status().splitlines() if each.startswith("T2 seed 0: ")]
    assert line.startswith("T2 seed 0: running: ")
    process.kill()
    process.wait()
    wait_for_ends(family)
    assert wait_for("runs/*/checkpoints/T2-spinodal-000.ckpt")
    assert status().splitlines() == [
        "T2 seed 0: lost: the same command resumes",
        "2 jobs: 1 lost, 1 waiting; no campaign runs the waiting ones: the same command resumes",
    ]
    assert list(Path("runs").glob("*/seeds/*")) == []


WORKER_OF_ENDLESS = """
from pathlib import Path
from dglib.campaign import notebooks, worker
from dglib.experiments import get
from dglib.experiments.profiles import load_profile
notebooks.NOTEBOOKS, get("T2").notebook = Path.cwd(), "endless"
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
    wait_for("runs/executed/begun")
    (kernel,) = psutil.Process(process.pid).children()
    assert process.poll() is None
    out, err = process.communicate(timeout=PATIENCE)  # closes its stdin, as our death would
    assert (process.returncode, json.loads(out)) == (130, {"stopped": True, "last": True}), err
    wait_for_ends([kernel])
    assert [path.name for path in base.joinpath("executed").glob("*.ipynb")] == ["endless.ipynb"]


STOPPED = """
import signal, subprocess, sys
from pathlib import Path
from dglib.campaign import notebooks as execute

def papermill(*_, on_cell_execute, **__):
    kernel = subprocess.Popen([sys.executable, "-c", "import time; print(1, flush=True); time.sleep(600)"],
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    kernel.stdout.readline()
    Path("kernel").write_text(str(kernel.pid))
    if sys.argv[1] == "in a cell":
        on_cell_execute(cell=None, cell_index=0)
    signal.raise_signal(signal.SIGTERM)
    print(kernel.wait(), flush=True)
    on_cell_execute(cell=None, cell_index=1)
    print("went on")

execute.papermill.execute_notebook = papermill
try:
    execute.execute(Path("a.ipynb"), Path("b.ipynb"), {})
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.mark.parametrize(
    ("when", "output"),
    [("before any", f"{-signal.SIGKILL}\n"), ("in a cell", f"{-signal.SIGINT}\n")],
    ids=["before any", "in a cell"],
)
def test_a_stop_kills_a_kernel_that_is_just_starting_and_interrupts_a_cell_and_begins_no_other(
    when: str, output: str
) -> None:
    done = subprocess.run([sys.executable, "-c", STOPPED, when], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (130, output), done.stderr
    with suppress(psutil.NoSuchProcess):
        wait_for_ends([psutil.Process(int(Path("kernel").read_text()))])
