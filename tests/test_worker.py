"""One job in the process that calls it: a seed once and again, a notebook, and how it is stopped."""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import nbformat
import psutil
import pytest
from cluster_cases import PATIENCE, is_gone, wait_for
from papermill.exceptions import PapermillExecutionError

import dglib
from dglib.campaign import notebooks, worker
from dglib.campaign.jobs import Plan, anchored
from dglib.control import Control, Interrupted
from dglib.errors import UserError
from dglib.experiments.profiles import load_profile

TINY = [
    "network_width=0.25",
    "init_epochs=2",
    "epochs_per_level=1",
    "sweep_lambdas=[0.5]",
    "init_error_min=0",
]


def job(base):
    given = load_profile("T2", "quick", [*TINY, "seeds=0", f"base_dir={base}"])
    return Plan(anchored(given, base), base).jobs[0].message()


def in_notebook(name, reason):
    return PapermillExecutionError(0, 1, "", name, reason, [])


@pytest.mark.parametrize(
    ("raised", "kind", "line"),
    [
        (None, None, ""),
        (ValueError("first\n  second"), UserError, "ValueError: first second"),
        (in_notebook("RuntimeError", "CUDA\nout of memory"), UserError, "RuntimeError: CUDA out of memory"),
        (in_notebook("UserError", "no such file"), UserError, "no such file"),
        (in_notebook("Interrupted", ""), Interrupted, ""),
    ],
    ids=range(5),
)
def test_an_executed_notebook_appears_whole_and_drafts_go(raised, kind, line, tmp_path, monkeypatch):
    output = tmp_path / "executed" / "T2_spinodal.ipynb"
    output.parent.mkdir()
    output.write_text("the old one")
    (output.parent / ".T2_spinodal.77-abc.ipynb").write_text("torn")

    def papermill(notebook, target, parameters, **_):
        assert Path(notebook).read_bytes()
        assert parameters["seeds"] == [0]
        assert output.read_text() == "the old one"
        Path(target).write_text("the new one")
        if raised:
            raise raised

    monkeypatch.setattr(notebooks.papermill, "execute_notebook", papermill)
    if raised:
        with pytest.raises(kind) as caught:
            worker.execute_notebook(job(tmp_path))
        assert str(caught.value) == line
    else:
        assert worker.execute_notebook(job(tmp_path)) == {"notebook": str(output)}
    assert [path.name for path in output.parent.iterdir()] == [output.name]
    assert output.read_text() == "the new one"


# ── notebooks.execute, with a stand-in for papermill ──


@pytest.fixture
def executed(monkeypatch):
    def run(papermill, *more):
        monkeypatch.setattr(notebooks.papermill, "execute_notebook", papermill)
        notebooks.execute(Path("a.ipynb"), Path("b.ipynb"), {}, *more)

    return run


def test_a_kernel_that_does_not_start_is_started_again_and_fails_after_three(executed, monkeypatch):
    monkeypatch.setattr(notebooks, "START_PAUSES", (0.0, 0.0))
    tries = []

    def dies_before(number):
        def start(*_, **__):
            tries.append(number)
            if tries.count(number) < number:
                raise RuntimeError("Kernel died before replying to kernel_info")

        return start

    executed(dies_before(3))
    with pytest.raises(UserError, match="Kernel died before replying"):
        executed(dies_before(9))
    assert tries == [3] * 3 + [9] * 3


@pytest.mark.parametrize("by", ["signal", "control"])
def test_a_stop_kills_the_kernel(by, executed):
    control, kernels, raised = Control(), [], []
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]

    def papermill(*_, **__):
        assert "DGLIB_HEADLESS" in os.environ, "the first cell would ask for a Drive"
        with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as kernel:
            kernels.append(kernel)
            if by == "signal":
                signal.raise_signal(signal.SIGTERM)
            else:
                control.stop()
            kernel.wait(PATIENCE)
        raise RuntimeError("Kernel died")

    def run():
        with pytest.raises(Interrupted):
            executed(papermill, control)
        raised.append(True)

    if by == "signal":
        run()
    else:  # in another thread, where no signals arrive
        thread = threading.Thread(target=run)
        thread.start()
        thread.join(2 * PATIENCE)
    assert [kernel.returncode for kernel in kernels] == [-signal.SIGKILL]
    assert raised
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def notebook_with(cell, path):
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell)])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, path)


def test_a_notebook_runs_in_our_python_whatever_kernel_a_user_has_installed(tmp_path, monkeypatch):
    foreign = tmp_path / "jupyter" / "kernels" / "python3" / "kernel.json"
    foreign.parent.mkdir(parents=True)
    argv = ["/nowhere/python", "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    foreign.write_text(json.dumps({"argv": argv, "display_name": "Python 3", "language": "python"}))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    notebook_with("import dglib\nprint(dglib.__file__)", tmp_path / "in.ipynb")
    (tmp_path / "out").mkdir()
    notebooks.execute(tmp_path / "in.ipynb", tmp_path / "out" / "out.ipynb", {})
    assert str(Path(dglib.__file__).parent) in (tmp_path / "out" / "out.ipynb").read_text(encoding="utf-8")


# ── the process of `python -m dglib.campaign.worker` ──

WORKER_OF_ENDLESS = """
from pathlib import Path
from dglib.campaign import worker
from dglib.experiments import get
from dglib.experiments.profiles import load_profile
worker.NOTEBOOKS, get("T2").notebook = Path.cwd(), "endless"
worker._parameters = lambda job: load_profile("T2", "quick")
raise SystemExit(worker.main())
"""


def test_a_worker_whose_parent_ends_stops_its_kernel(tmp_path):
    notebook_with(
        "import pathlib, time; pathlib.Path('begun').touch(); time.sleep(600)", tmp_path / "endless.ipynb"
    )
    base = tmp_path / "runs"
    given = {"kind": "summary", "experiment": "T2", "base": str(base), "key": "", "log": str(base / "log")}
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    process = subprocess.Popen([sys.executable, "-c", WORKER_OF_ENDLESS], cwd=tmp_path, text=True, **pipes)
    assert process.stdin is not None
    process.stdin.write(json.dumps(given) + "\n")
    process.stdin.flush()
    wait_for((base / "executed" / "begun").exists, "cell that runs")
    (kernel,) = psutil.Process(process.pid).children()
    assert process.poll() is None
    out, err = process.communicate(timeout=PATIENCE)  # closes its stdin, as the end of the parent would
    assert (process.returncode, json.loads(out)) == (130, {"stopped": True, "last": True}), err
    wait_for(lambda: is_gone(kernel), "end of the kernel")
    assert [path.name for path in base.joinpath("executed").glob("*.ipynb")] == ["endless.ipynb"]
